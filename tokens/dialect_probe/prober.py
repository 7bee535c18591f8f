"""Ask an upstream one tiny question, through its adapter and with one of its credentials."""

import dataclasses
import time
from collections.abc import AsyncIterator, Mapping
from uuid import uuid4

import orjson

from providers import catalogue, registry
from providers.exceptions import Rejected
from providers.models import Provider
from providers.network.clients import Clients
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Batches, Chunk
from providers.protocol.dialect import Dialect
from providers.protocol.json_types import JsonObject
from providers.protocol.request import CHAT, ChatRequest, Credential, UpstreamModel
from providers.upstream.base_adapter import BaseAdapter

MOST_ANSWER_TOKENS = 16
PATIENCE_SECONDS = 60.0  # for one answer: a local server may have to load the model first
HI = {"role": "user", "content": "Say OK."}
# a dialect that changes nothing, so that the upstream sees each question as it is
PLAIN_DIALECT = Dialect(knows_developer=True, leaked_forms=frozenset())
# words of upstreams whose model thought until the limit and so has no answer
LIMIT_REACHED = ("limit was reached", "max_tokens reached", "output limit")


class Prober:
    """The questions to one model of an upstream.

    `limit` is the field that limits each answer; it is added to every question. `adapter` speaks
    the provider's kind, but without the dialect settings of its row.
    """

    def __init__(self, adapter: BaseAdapter, credential: Credential, model_name: str) -> None:
        self.adapter = adapter
        self.credential = credential
        self.model_name = model_name
        self.limit: JsonObject = {}
        self.first_answer: JsonObject = {}  # as the upstream sent it

    async def ask(self, messages: list[JsonObject] | None = None, **fields: object) -> JsonObject:
        """Return the whole answer to a question, as the upstream sent it. Raises UpstreamError."""
        request = self._build_request(messages, fields)
        adapter = self.adapter
        if adapter.is_stream_only or adapter.has_own_dialect or not adapter.has_url:
            (answer,) = await self._collect_chunks(request, PLAIN_DIALECT)
            return answer
        model = UpstreamModel(self.model_name, dialect=PLAIN_DIALECT)
        payload = self.adapter.build_payload(request, model)
        answer = await self.adapter.fetch_json("POST", CHAT, self.credential, payload)
        # raises an error if this is none of an answer's forms; it would also change the answer
        self.adapter.parse_answer(request, orjson.dumps(answer), self.credential)
        return dict(answer)

    async def ask_stream(self, *, asks_usage: bool) -> list[Chunk]:
        """Return the chunks of a streamed answer. Raises UpstreamError."""
        dialect = Dialect(knows_developer=True, takes_stream_options=asks_usage)
        return await self._collect_chunks(self._build_request(None, {"stream": True}), dialect)

    async def is_taken(self, messages: list[JsonObject] | None = None, **fields: object) -> bool:
        """Return whether the upstream takes this question.

        Raises UpstreamError when that cannot be found out.
        """
        try:
            await self.ask(messages, **fields)
        except Rejected as error:
            return is_about_limit(error)
        return True

    def _build_request(
        self, messages: list[JsonObject] | None, fields: Mapping[str, object]
    ) -> ChatRequest:
        body: JsonObject = {"model": self.model_name, "messages": messages or [HI]}
        body |= self.limit | dict(fields)
        streams = bool(fields.get("stream"))
        return ChatRequest(uuid4().hex, CHAT, self.model_name, body, stream=streams)

    async def iterate_stream(self) -> AsyncIterator[Chunk]:
        """Yield the chunks of a streamed answer as they come. Raises UpstreamError."""
        dialect = Dialect(knows_developer=True, takes_stream_options=False)
        request = self._build_request(None, {"stream": True})
        async for batch in self._open_stream(request, dialect):
            for chunk in batch:
                yield chunk

    async def _collect_chunks(self, request: ChatRequest, dialect: Dialect) -> list[Chunk]:
        batches = self._open_stream(request, dialect)
        return [chunk async for batch in batches for chunk in batch]

    def _open_stream(self, request: ChatRequest, dialect: Dialect) -> Batches:
        attempt = Attempt(self.adapter.upstream.name, self.model_name)
        attempt.deadline = time.perf_counter() + PATIENCE_SECONDS
        model = UpstreamModel(self.model_name, dialect=dialect)
        return self.adapter.ask_upstream(request, model, self.credential, attempt)


def build_probing_adapter(provider: Provider, clients: Clients) -> BaseAdapter:
    """Return an adapter of the provider's kind that leaves out the dialect settings of its row.

    Raises KeyError if there is none of that kind; ProviderDown if the provider is set aside.
    """
    upstream = dataclasses.replace(
        catalogue.make_upstream(provider), native_tools=True, reports_usage=True
    )
    return registry.get_adapter_class(provider.kind)(upstream, clients)


def is_about_limit(error: Rejected) -> bool:
    """Return whether an upstream only says that the answer did not fit into its limit."""
    return any(words in error.message.lower() for words in LIMIT_REACHED)


def read_message(answer: JsonObject) -> JsonObject:
    """Return the message of an answer's first choice."""
    message: JsonObject = answer["choices"][0]["message"]
    return message


def is_cut(answer: JsonObject) -> bool:
    """Return whether an answer ended at its limit."""
    finish_reason: object = answer["choices"][0].get("finish_reason")
    return finish_reason == "length"
