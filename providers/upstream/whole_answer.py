"""Check a whole answer of an upstream and bring it into OpenAI's schema. No I/O."""

import asyncio
import struct

from providers.exceptions import BadResponse
from providers.filters import conform
from providers.filters.answer_folder import fold_answer, fold_text_completion
from providers.filters.finish_reasons import is_call_forced, normalize_final_reason
from providers.network.response import Response
from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.request import CHAT, EMBEDDINGS, ChatRequest
from providers.upstream.stream_reader import StreamReader
from providers.wire.json_reader import read_json

EVENT_SLICE_BYTES = 64 * 2**10  # of a stream's events that are read at a time


def read_answer_object(data: bytes) -> JsonObject:
    """Return the JSON object of a whole answer. Raises BadResponse when the data is none."""
    try:
        answer = read_json(data)
    except ValueError:
        raise BadResponse("The upstream's answer is not JSON.") from None
    if not isinstance(answer, dict):
        raise BadResponse("The upstream's answer is not a JSON object.")
    return answer


async def fold_answer_events(request: ChatRequest, reader: StreamReader, data: bytes) -> Chunk:
    """Return the whole answer that a stream's events make up; the event loop gets its turns.

    Raises UpstreamError when they do not make up an answer.
    """
    chunks: list[Chunk] = []
    for start in range(0, len(data), EVENT_SLICE_BYTES):
        chunks += reader.feed(data[start : start + EVENT_SLICE_BYTES])
        if reader.is_over:
            break
        await asyncio.sleep(0)  # lets other requests run
    chunks += reader.read_last_event()
    reader.require_finish()
    if request.endpoint == CHAT:
        return fold_answer(chunks)
    return fold_text_completion(chunks)


def conform_whole_answer(request: ChatRequest, answer: JsonObject) -> Chunk:
    """Return a whole answer in OpenAI's schema. Raises BadResponse when it has no content."""
    if request.endpoint == EMBEDDINGS:
        require_objects(answer.get("data"))
        as_base64 = request.body.get("encoding_format") == "base64"
        return conform_vectors(answer, as_base64=as_base64)
    choices = require_objects(answer.get("choices"))
    if request.endpoint != CHAT:
        return conform_text_completion(answer)
    for choice in choices:
        if not isinstance(choice.get("message"), dict):
            raise BadResponse("The upstream's answer has no message.")
    allows_stop = is_call_forced(request.body)
    return conform.conform_answer(answer, allows_stop_with_calls=allows_stop)


def require_objects(items: object) -> list[JsonObject]:
    """Return the items of an answer. Raises BadResponse unless they are a list of objects."""
    if not isinstance(items, list) or not items:
        raise BadResponse("The upstream's answer has no content.")
    for item in items:
        if not isinstance(item, dict):
            raise BadResponse("The upstream's answer has no content.")
    return items


def conform_text_completion(answer: JsonObject) -> Chunk:
    """Return a legacy completion whose choices have all fields that OpenAI's have."""
    for position, choice in enumerate(answer["choices"]):
        choice["index"] = conform.as_index(choice.get("index"), position)
        choice["text"] = conform.as_text(choice.get("text") or "")
        choice["finish_reason"] = normalize_final_reason(choice.get("finish_reason"))
        choice.setdefault("logprobs", None)
    return answer


def conform_vectors(answer: JsonObject, *, as_base64: bool) -> Chunk:
    """Return the embeddings in the encoding that the caller wants. Raises BadResponse."""
    for position, item in enumerate(answer["data"]):
        item.setdefault("object", "embedding")
        item.setdefault("index", position)
    try:
        return conform.conform_embeddings(answer, as_base64=as_base64)
    except (ValueError, OverflowError, struct.error):
        raise BadResponse("The upstream's vectors are not readable.") from None


def is_event_stream(content_type: str, data: bytes) -> bool:
    """Return whether a body holds the events of a stream, by its content type or its beginning."""
    return "event-stream" in content_type or data[:64].lstrip().startswith(b"data:")


def has_whole_body(response: Response) -> bool:
    """Return whether an upstream that should stream has sent one JSON object or a web page."""
    content_type = response.get_header(b"content-type")
    return "json" in content_type or "html" in content_type
