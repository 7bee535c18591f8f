"""The chunks that come up the request path, and constructors for them.

A chunk is a plain dict in OpenAI's official schema (`chat.completion.chunk`, or one whole
`chat.completion` when the request does not stream). An async generator yields lists of the chunks
that one read contained. Adapters whose upstream does not speak OpenAI make their chunks here.
Source of the schema: OpenAI's API reference, "Chat completions".
"""

import time
from collections.abc import AsyncGenerator
from typing import Any

from providers.protocol.json_types import JsonObject
from providers.protocol.request import ChatRequest

Chunk = JsonObject
# The upstream's own words, for a request whose `original` body was sent: of a streamed chunk a list
# of its events, of a whole answer the answer itself. The renderer of the same dialect passes them
# on unchanged; everybody else reads the chunk, which says the same in OpenAI's schema.
NATIVE = "native"
# A tool that the gateway runs: {"key", "item", "status"}, with an item of a response. The chunk has
# no choices; it comes once when the call begins and, with the same key, once when it has ended.
# Only the log and the Responses renderer read it.
SERVER_ITEM = "server_item"
# Of a whole answer that several upstream calls made: the chunks of its stream, in their order,
# because one message cannot say where between its texts the tools were called.
ANSWER_PIECES = "answer_pieces"
Batches = AsyncGenerator[list[Chunk], None]


def make_delta(request: ChatRequest, *, finish_reason: str | None = None, **fields: Any) -> Chunk:
    """Make one streamed chunk.

    `fields` are those of the delta: role, content, reasoning_content, tool_calls.
    """
    choice = {"index": 0, "delta": fields, "logprobs": None, "finish_reason": finish_reason}
    return {
        "id": f"chatcmpl-{request.id}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": request.model,
        "choices": [choice],
    }


def make_usage_chunk(request: ChatRequest, usage: JsonObject) -> Chunk:
    """Make the chunk with the usage that follows the last delta: it has no choices."""
    return make_delta(request) | {"choices": [], "usage": usage}


def make_completion(
    request: ChatRequest,
    message: JsonObject,
    usage: JsonObject | None,
    finish_reason: str = "stop",
) -> Chunk:
    """Make one whole answer of `message` ({"content": …} and any further fields)."""
    full_message = {"role": "assistant", "content": None, "refusal": None} | message
    choice = {"index": 0, "message": full_message, "logprobs": None, "finish_reason": finish_reason}
    return {
        "id": f"chatcmpl-{request.id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": request.model,
        "choices": [choice],
        "usage": usage,
    }


def make_item_chunk(request: ChatRequest, key: str, item: JsonObject, status: str) -> Chunk:
    """Make the chunk of a tool that the gateway runs; `status` is that of the item."""
    fields = {"key": key, "item": item, "status": status}
    return make_delta(request) | {"choices": [], SERVER_ITEM: fields}
