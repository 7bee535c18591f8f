"""An adapter of Anthropic's kind that asks an upstream over real sockets."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any
from uuid import UUID

from providers.adapters.anthropic.messages_adapter import Adapter
from providers.adapters.anthropic.request_body import build_messages_body
from providers.catalogue import make_upstream
from providers.dialects import find_dialect
from providers.models import Provider
from providers.network.clients import Clients
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Chunk
from providers.protocol.json_types import JsonObject
from providers.protocol.request import (
    ANTHROPIC,
    CHAT,
    ChatRequest,
    Credential,
    OriginalBody,
    UpstreamModel,
)

USER: JsonObject = {"role": "user", "content": "Hi"}
KEY = Credential(UUID(int=7), "sk-ant-api03-key")
ACCOUNT = Credential(UUID(int=8), "sk-ant-oat01-token")
OPUS = "claude-opus-4-8"


def make_request(*messages: JsonObject, stream: bool = False, **body: Any) -> ChatRequest:
    """Return a chat request with these messages and further fields of the body."""
    chat_body = {"model": "m", "messages": list(messages or (USER,)), **body}
    return ChatRequest("0" * 32, CHAT, "m", chat_body, stream=stream)


def make_original(
    body: JsonObject, headers: tuple[tuple[str, str], ...] = (), *, stream: bool = False
) -> ChatRequest:
    """Return the request of a caller who wrote a Messages body."""
    original = OriginalBody(ANTHROPIC, body, headers)
    chat_body = {"model": "m", "messages": [USER]}
    return ChatRequest("0" * 32, CHAT, "m", chat_body, stream=stream, original=original)


def build_body(
    *messages: JsonObject, model: str = OPUS, options: JsonObject | None = None, **body: Any
) -> JsonObject:
    """Return the Messages body for a chat body, as a model takes it."""
    row = UpstreamModel(model, options=options or {}, files=True)
    return build_messages_body(make_request(*messages, **body), row)


def build_messages(*messages: JsonObject, model: str = OPUS, **body: Any) -> list[JsonObject]:
    """Return the messages of the Messages body for these messages."""
    sent: list[JsonObject] = build_body(*messages, model=model, **body)["messages"]
    return sent


@asynccontextmanager
async def open_adapter(url: str, **fields: Any) -> AsyncIterator[Adapter]:
    """Yield an adapter for a provider at this URL; `fields` are those of its row."""
    row = Provider(pk=1, name="p", kind="anthropic", base_url=url, allow_private=True, **fields)
    async with Clients() as clients:
        yield Adapter(make_upstream(row), clients)


async def collect_chunks(
    adapter: Adapter, request: ChatRequest, *, model: str = OPUS, credential: Credential = KEY
) -> list[Chunk]:
    """Return all chunks of the answer to a request."""
    dialect = find_dialect(adapter.profile_name, adapter.upstream.base_url, model)
    row = UpstreamModel(model, dialect=dialect)
    asking = adapter.ask_upstream(request, row, credential, Attempt("p", "m"))
    async with aclosing(asking) as batches:
        return [chunk async for batch in batches for chunk in batch]
