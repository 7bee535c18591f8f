"""The adapter contract, and the OpenAI dialect that most upstreams speak.

An adapter knows how to write requests and read answers of one dialect; it has no retries, pool,
database or settings, and logs no content. `ask` yields lists of the chunks that each read contained
(see `providers/protocol/chat.py`) and raises `providers.exceptions` only: after an error before the
first yield another token may be tried, a later error ends the caller's stream. Sources: OpenAI's
API reference; the errors of similar services as listed in `error_mapping.py`.
"""

import asyncio
import logging
import struct
import time
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, ClassVar

import orjson

from providers import filters
from providers.exceptions import BadResponse, ProviderError, UpstreamError
from providers.filters import conform, file_parts
from providers.filters.filter_pipeline import fold, fold_text, shaped
from providers.filters.prompted_tools import tool_request
from providers.network.api_client import ApiCall, ApiResponse
from providers.network.clients import Clients
from providers.network.http_client import HttpAnswer, Response, Target, Timeouts
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Batches, Chunk
from providers.protocol.request import (
    CHAT,
    EMBEDDINGS,
    ChatRequest,
    Credential,
    Fresh,
    UpstreamModel,
)
from providers.upstream.error_mapping import CODES, error_in, refusal, require_quota
from providers.upstream.rate_limits import read_limit
from providers.upstream.stream_reader import StreamReader
from providers.wire.json_reader import loads, loads_raw

USER_AGENT = "proxysite"
FOLD_BYTES = 64 * 2**10  # of a stream's events that are read at a time
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """The most bytes that are read or kept.

    They limit a whole answer, one event of a stream, a whole stream, and the thinking that is kept
    for counting its tokens although the caller does not get it.
    """

    answer_bytes: int
    event_bytes: int
    stream_bytes: int = 2**29
    kept_bytes: int = 2**22


@dataclass(frozen=True, slots=True)
class Upstream:
    """A provider as requests use it: the frozen values of its row."""

    id: int
    name: str
    kind: str
    base_url: str
    headers: tuple[tuple[str, str], ...]
    mode: str
    rotation: str
    needs_token: bool
    native_tools: bool
    reports_usage: bool
    allow_private: bool
    timeouts: Timeouts
    limits: Limits


def is_event_stream(content_type: str, data: bytes) -> bool:
    """Return whether a body holds the events of a stream, by its content type or its beginning."""
    return "event-stream" in content_type or data[:64].lstrip().startswith(b"data:")


class BaseAdapter:
    """The adapter of OpenAI's dialect; adapters of other dialects override the differences."""

    label: ClassVar[str] = "OpenAI dialect"
    official: ClassVar[bool] = True
    has_url: ClassVar[bool] = True
    modes: ClassVar[tuple[str, ...]] = ("user",)  # of choices.Mode
    # True: the upstream is always asked to stream, and whole answers are made of the chunks
    stream_only: ClassVar[bool] = False
    one_at_a_time: ClassVar[bool] = False  # a token may have one stream at a time
    refreshes: ClassVar[bool] = False  # has `refresh`
    signs_in: ClassVar[bool] = False  # has `sign_in`
    # hosts that list models without a key -> the path of a free call that needs the key
    KEY_CALLS: ClassVar[dict[str, str]] = {}
    # an upstream's error code or type -> our error class
    ERRORS: ClassVar[dict[str, type[UpstreamError]]] = CODES

    def __init__(self, upstream: Upstream, clients: Clients) -> None:
        self.upstream = upstream
        self.clients = clients
        self._targets: dict[str, Target] = {}

    # --- the request ------------------------------------------------------------------------------
    def target(self, path: str) -> Target:
        found = self._targets.get(path)
        if found is None:
            upstream = self.upstream
            found = self._targets[path] = Target.of(
                upstream.base_url, path, upstream.allow_private, upstream.timeouts
            )
        return found

    @cached_property
    def extra_headers(self) -> bytes:
        """Return the row's headers, and a User-Agent unless the row has one."""
        headers = self.upstream.headers
        if not any(name.lower() == "user-agent" for name, _ in headers):
            headers = (("User-Agent", USER_AGENT), *headers)
        return "".join(f"{name}: {value}\r\n" for name, value in headers).encode("ascii")

    def headers(self, credential: Credential) -> bytes:
        """Return the header lines of one request.

        Raises BadResponse on a secret that no header can carry.
        """
        if not credential.secret:
            return self.extra_headers
        if not (credential.secret.isascii() and credential.secret.isprintable()):
            raise BadResponse("The token has characters that no header can carry.")
        return b"Authorization: Bearer %b\r\n%b" % (
            credential.secret.encode("ascii"),
            self.extra_headers,
        )

    def payload(self, request: ChatRequest, model: UpstreamModel) -> dict[str, Any]:
        """Return the body for the upstream: the caller's body with the upstream's model name.

        A stream's usage is requested wherever the upstream reports it. File parts and tools are
        rewritten for models that cannot take them.
        """
        body = {**request.body, "model": model.name}
        if request.endpoint == CHAT:
            body = file_parts.rewrite(body, model)
        if model.tools != "native" and request.endpoint == CHAT:
            body = tool_request.rewrite(body)
        if request.stream and self.upstream.reports_usage:
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        elif not self.upstream.reports_usage:
            body.pop("stream_options", None)
        return body

    # --- the answer -------------------------------------------------------------------------------
    def ask(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential, attempt: Attempt
    ) -> Batches:
        """Yield lists of chunks while the answer streams, or one list with the whole answer.

        Raises UpstreamError.
        """
        steps = filters.needed(request, model, attempt, self.upstream.limits.kept_bytes)
        relayed = self.relay(request, model, credential, attempt)
        if not steps and (request.stream or not self.stream_only):
            return relayed
        return shaped(
            relayed, steps, stream=request.stream, most_bytes=self.upstream.limits.answer_bytes
        )

    async def relay(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential, attempt: Attempt
    ) -> Batches:
        """Yield the answer as the upstream sends it, before any filter.

        A stream-only upstream's answer is yielded as chunks even if the request does not stream.
        Writes status, limit and patience into `attempt`. Raises UpstreamError.
        """
        body = orjson.dumps(self.payload(request, model))
        streams = request.stream or self.stream_only
        attempt.patience = attempt.deadline - time.perf_counter()
        if streams:
            attempt.patience = min(attempt.patience, self.upstream.timeouts.first_byte)
        target = self.target(request.endpoint)
        with await self.clients.relay.send(
            "POST", target, self.headers(credential), body, attempt
        ) as response:
            attempt.status = response.status
            attempt.limit = read_limit(response.headers)
            await self.accept(response, credential)
            content_type = response.header(b"content-type")
            if not streams or "json" in content_type or "html" in content_type:
                data = await response.read(self.upstream.limits.answer_bytes)
                answer = await self.whole_answer(request, data, credential, content_type)
                yield conform.as_stream(answer) if streams else [answer]
                return
            reader = self.reader(request, credential)
            reader.bytes_left = self.upstream.limits.stream_bytes
            try:
                async with aclosing(response.pieces(self.upstream.timeouts.gap)) as pieces:
                    async for piece in pieces:
                        if reader.waiting_bytes and reader.ends_large_event(piece):
                            batch = await reader.feed_beside_loop(piece)
                        else:
                            batch = reader.feed(piece)
                        if batch:
                            yield batch
                        if reader.over:
                            break
                        if reader.finished:
                            response.hurry(self.upstream.timeouts.tail)
                if batch := reader.finish():
                    yield batch
            except ProviderError:
                if not reader.finished:  # else the answer is complete without the stream's end
                    raise
            reader.judge()
            if reader.done:
                response.finish()

    async def accept(self, response: Response | ApiResponse, credential: Credential) -> None:
        """Raise UpstreamError unless status and headers announce an answer."""
        if response.status != 200:
            answer = await response.read_answer(self.upstream.limits.answer_bytes)
            raise self.read_refusal(answer, credential)
        if response.header(b"content-encoding") not in ("", "identity"):
            raise BadResponse("The upstream compressed its answer although asked not to.")

    def reader(self, request: ChatRequest, credential: Credential) -> StreamReader:
        """Return a reader that makes chunks of a stream's bytes."""
        read_event = partial(self.read_event, credential=credential)
        choices = request.body.get("n") or 1
        event_bytes = self.upstream.limits.event_bytes
        return StreamReader(read_event, event_bytes, chat=request.endpoint == CHAT, choices=choices)

    def read_event(self, data: bytes, credential: Credential) -> Chunk | None:
        """Return one event's JSON object; None when the data is not a JSON object.

        Raises UpstreamError when the event reports an error.
        """
        try:
            chunk = loads_raw(data)
        except ValueError:
            chunk = None
        if not isinstance(chunk, dict):
            logger.warning("%s sent an event that is no JSON object", self.upstream.name)
            return None
        if (chunk.get("error") or "choices" not in chunk) and (error := error_in(chunk)):
            raise refusal(
                self.ERRORS, error.get("status_code"), error, {}, secret=credential.secret
            )
        return chunk

    def answer(self, request: ChatRequest, data: bytes, credential: Credential) -> Chunk:
        """Return a whole answer in OpenAI's schema. Raises UpstreamError when the data is none."""
        try:
            answer = loads(data)
        except ValueError:
            raise BadResponse("The upstream's answer is not JSON.") from None
        if not isinstance(answer, dict):
            raise BadResponse("The upstream's answer is not a JSON object.")
        said = "choices" in answer or "data" in answer
        if (answer.get("error") or not said) and (error := error_in(answer)):
            raise refusal(
                self.ERRORS, error.get("status_code"), error, {}, secret=credential.secret
            )
        items = answer.get("data" if request.endpoint == EMBEDDINGS else "choices")
        if (
            not isinstance(items, list)
            or not items
            or not all(isinstance(item, dict) for item in items)
        ):
            raise BadResponse("The upstream's answer has no content.")
        if request.endpoint == EMBEDDINGS:
            try:
                return conform.embeddings(
                    answer, as_base64=request.body.get("encoding_format") == "base64"
                )
            except (ValueError, OverflowError, struct.error):
                raise BadResponse("The upstream's vectors are not readable.") from None
        if request.endpoint != CHAT:
            return answer
        if not all(isinstance(choice.get("message"), dict) for choice in items):
            raise BadResponse("The upstream's answer has no message.")
        return conform.whole(answer)

    async def whole_answer(
        self, request: ChatRequest, data: bytes, credential: Credential, content_type: str
    ) -> Chunk:
        """Return the answer in a whole body, which may be JSON or the events of a stream.

        Raises UpstreamError when the body holds no answer.
        """
        if "html" in content_type:
            raise BadResponse("The upstream answered with a web page.")
        if request.endpoint != EMBEDDINGS and is_event_stream(content_type, data):
            return await self.answer_of_events(request, data, credential)
        return self.answer(request, data, credential)

    async def answer_of_events(
        self, request: ChatRequest, data: bytes, credential: Credential
    ) -> Chunk:
        """Return the whole answer that a stream's events make up.

        Raises UpstreamError when they do not make up an answer.
        """
        reader = self.reader(request, credential)
        chunks = list[Chunk]()
        for start in range(0, len(data), FOLD_BYTES):
            chunks += reader.feed(data[start : start + FOLD_BYTES])
            if reader.over:
                break
            await asyncio.sleep(0)  # lets other requests run
        chunks += reader.finish()
        reader.judge()
        return fold(chunks) if request.endpoint == CHAT else fold_text(chunks)

    def read_refusal(self, answer: HttpAnswer, credential: Credential) -> UpstreamError:
        """Return the error for an answer whose status is not a success."""
        try:
            body = loads(answer.body)
        except ValueError:
            body = None
        error = error_in(body) if isinstance(body, dict) else None
        return refusal(
            self.ERRORS,
            answer.status,
            error,
            answer.headers,
            secret=credential.secret,
        )

    # --- other calls ------------------------------------------------------------------------------
    async def call(self, method: str, path: str, credential: Credential, body: Any = None) -> Any:
        """Make one small call and return the JSON of its answer. Raises UpstreamError."""
        data = b"" if body is None else orjson.dumps(body)
        answer = await self.make_call(
            self.build_call(method, path, credential, body=data), credential
        )
        try:
            return loads(answer.body)
        except ValueError:
            raise BadResponse("The upstream's answer is not JSON.") from None

    @property
    def call_limits(self) -> dict[str, Any]:
        """Return the fields of an `ApiCall` that limit where it goes, its time and its answer."""
        upstream = self.upstream
        return {
            "allow_private": upstream.allow_private,
            "timeouts": upstream.timeouts,
            "total_seconds": upstream.timeouts.connect + upstream.timeouts.first_byte,
            "answer_bytes": upstream.limits.answer_bytes,
        }

    def build_call(self, method: str, path: str, credential: Credential, **fields: Any) -> ApiCall:
        """Build a call that is not a relayed answer, to a path below the base URL.

        `fields` are further fields of `ApiCall`, such as its body. Raises BadResponse on an invalid
        address or a secret that no header can carry.
        """
        fields = {"headers": self.headers(credential), **self.call_limits, **fields}
        return ApiCall.create(method, self.upstream.base_url, path, **fields)

    async def make_call(self, call: ApiCall, credential: Credential) -> HttpAnswer:
        """Make a call that is not a relayed answer.

        Raises UpstreamError unless it succeeds (2xx).
        """
        answer = await self.clients.api.call(call)
        if not 200 <= answer.status < 300:
            raise self.read_refusal(answer, credential)
        if answer.header(b"content-encoding") not in ("", "identity"):
            raise BadResponse("The upstream compressed its answer although asked not to.")
        return answer

    async def models(self, credential: Credential) -> list[str]:
        """Return the ids of the models that the upstream lists, sorted. Raises UpstreamError."""
        body = await self.call("GET", "models", credential)
        try:
            # Together sends the list without an object around it
            entries = body if isinstance(body, list) else body["data"]
            return sorted(str(entry["id"]) for entry in entries)
        except (KeyError, TypeError):
            raise BadResponse("The upstream's list of models is not readable.") from None

    async def check(self, credential: Credential) -> None:
        """Check a credential with the cheapest free call that needs it.

        Raises UpstreamError when the credential does not work.
        """
        path = self.KEY_CALLS.get(self.target("models").origin.host)
        if path is None:
            await self.models(credential)
        else:
            require_quota(await self.call("GET", path, credential))

    async def refresh(self, secret: str) -> Fresh:
        """Exchange a refresh token for a new credential; the refresh token may be void afterwards.

        Raises UpstreamError.
        """
        raise NotImplementedError

    async def sign_in(self, email: str, password: str) -> Fresh:
        """Return a new credential for an account. Raises UpstreamError."""
        raise NotImplementedError

    async def forget(self, credential: Credential, chat_id: str) -> None:
        """Delete a chat that the upstream stores. Raises UpstreamError."""
