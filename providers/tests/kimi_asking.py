"""An adapter of one of Kimi's two interfaces, asked over real sockets."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any
from uuid import UUID

from providers import catalogue, registry
from providers.filters.answer_folder import fold_answer
from providers.models import Provider
from providers.network.clients import Clients
from providers.protocol.attempt import Attempt
from providers.protocol.request import ChatRequest, Credential, UpstreamModel
from providers.tests.kimi_site import (
    ALL_DONE,
    Site,
    cmpl,
    framed,
    frames,
    jwt,
    rest_says,
    web_events,
    web_says,
)
from proxysite.testing.upstream import Gate, send_reply, send_stream

KINDS = ("kimi_web", "kimi_rest")
TOKEN_ID = UUID(int=7)
QUESTION = {"role": "user", "content": "How high is it?"}
TURNS = [
    {"role": "developer", "content": "Be brief."},
    {
        "role": "user",
        "content": [{"type": "text", "text": "Hi."}, {"type": "text", "text": "I am June."}],
    },
    {"role": "assistant", "content": "Hello June."},
    {"role": "user", "content": "Who am I?"},
]


def request_of(*messages: dict[str, Any], **fields: Any) -> ChatRequest:
    body = {"model": "m", "messages": list(messages or (QUESTION,))}
    return ChatRequest(
        "0" * 32, fields.pop("endpoint", "chat/completions"), "m", body, stream=True, **fields
    )


def text_of(asked: dict[str, Any]) -> str:
    if "message" in asked:
        return str(asked["message"]["blocks"][0]["text"]["content"])
    [message] = asked["messages"]
    return str(message["content"])


class Asking:
    """An adapter with clients of its own that asks `upstream`; `site` is what answers there."""

    def __init__(self, kind: str, upstream: Any, clients: Clients) -> None:
        self.kind, self.site, self.upstream = kind, Site(kind), upstream
        upstream.set_default_script(self.site)
        row = Provider(pk=1, name="p", kind=kind, base_url=upstream.url, allow_private=True)
        self.adapter = registry.get_adapter_class(kind)(catalogue.make_upstream(row), clients)
        self.secret = jwt()
        self.credential = Credential(TOKEN_ID, self.secret)
        self.attempt = Attempt("p", "m")

    async def batches(
        self, *messages: dict[str, Any], model: dict[str, Any] | None = None, **fields: Any
    ) -> Any:
        self.attempt = Attempt("p", "m")
        asked = UpstreamModel("UPSTREAM", tools="native", **(model or {}))
        request = request_of(*messages, **fields)
        async with aclosing(
            self.adapter.ask_upstream(request, asked, self.credential, self.attempt)
        ) as found:
            async for batch in found:
                yield batch

    async def answer(self, *messages: dict[str, Any], **options: Any) -> dict[str, Any]:
        """The message, folded from the stream, with its finish reason."""
        chunks = [chunk async for batch in self.batches(*messages, **options) for chunk in batch]
        choice = fold_answer(chunks)["choices"][0]
        return {"finish_reason": choice["finish_reason"], **choice["message"]}

    def will(self, *turns: Any) -> None:
        self.site.turns.extend(turns)

    def says(self, *texts: str) -> Any:
        return web_says(*texts) if self.kind == "kimi_web" else rest_says(*texts)

    def begins(self, *pieces: Any) -> Any:
        """An answer that says "Half of" and goes on with `pieces`, which end it."""
        if self.kind == "kimi_web":
            return frames(*map(framed, web_events("Half of")[:-1]), *pieces)
        return send_stream(cmpl("Half of"), *pieces)

    def ends(self, gate: Gate) -> Any:
        """An answer that says "Half of" and all its messages; only the end of the body waits at
        `gate`.
        """
        if self.kind == "kimi_web":
            return frames(*map(framed, web_events("Half of")), framed({}, 2), gate)
        return send_stream(cmpl("Half of"), ALL_DONE, "[DONE]", gate)

    def fails(self, code: str, status: int) -> Any:
        if self.kind == "kimi_web":
            return send_reply({"code": code, "message": "No."}, status)
        return send_reply({"error_type": code, "message": "No."}, status)


@asynccontextmanager
async def asking_of(kind: str, upstream: Any) -> AsyncIterator[Asking]:
    """Asks `upstream`, with clients that live so long."""
    async with Clients() as clients:
        yield Asking(kind, upstream, clients)
