"""The adapter contract, and the OpenAI dialect that most upstreams speak.

An adapter knows how to write requests and read answers of one dialect; it has no retries, pool,
database or settings, and logs no content. `ask_upstream` yields lists of the chunks that each read
contained (see `providers/protocol/chat.py`) and raises `providers.exceptions` only: after an error
before the first yield another token may be tried, a later error ends the caller's stream. Sources:
OpenAI's API reference; the errors of similar services as listed in `error_mapping.py`.
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
from providers.filters.answer_folder import fold_answer, fold_text_completion
from providers.filters.filter_pipeline import apply_filters
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
    NewCredential,
    UpstreamModel,
)
from providers.upstream.error_mapping import (
    ERROR_CODES,
    find_error_object,
    map_error_answer,
    require_quota,
)
from providers.upstream.rate_limits import read_limit
from providers.upstream.stream_reader import StreamReader
from providers.wire.json_reader import read_json, read_raw_json

USER_AGENT = "proxysite"
EVENT_SLICE_BYTES = 64 * 2**10  # of a stream's events that are read at a time
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
    hidden_thinking_bytes: int = 2**22


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
    is_official: ClassVar[bool] = True
    has_url: ClassVar[bool] = True
    modes: ClassVar[tuple[str, ...]] = ("user",)  # of choices.Mode
    # True: the upstream is always asked to stream, and whole answers are made of the chunks
    is_stream_only: ClassVar[bool] = False
    has_single_stream: ClassVar[bool] = False  # a token may have one stream at a time
    can_refresh: ClassVar[bool] = False  # has `refresh_credential`
    can_sign_in: ClassVar[bool] = False  # has `sign_in`
    # hosts that list models without a key -> the path of a free call that needs the key
    KEY_CHECK_PATHS: ClassVar[dict[str, str]] = {}
    # an upstream's error code or type -> our error class
    ERRORS: ClassVar[dict[str, type[UpstreamError]]] = ERROR_CODES

    def __init__(self, upstream: Upstream, clients: Clients) -> None:
        self.upstream = upstream
        self.clients = clients
        self._targets: dict[str, Target] = {}

    # --- the request ------------------------------------------------------------------------------
    def get_target(self, path: str) -> Target:
        found = self._targets.get(path)
        if found is None:
            upstream = self.upstream
            found = self._targets[path] = Target.from_base_url(
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

    def build_headers(self, credential: Credential) -> bytes:
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

    def build_payload(self, request: ChatRequest, model: UpstreamModel) -> dict[str, Any]:
        """Return the body for the upstream: the caller's body with the upstream's model name.

        A stream's usage is requested wherever the upstream reports it. File parts and tools are
        rewritten for models that cannot take them.
        """
        body = {**request.body, "model": model.name}
        if request.endpoint == CHAT:
            body = file_parts.rewrite_file_parts(body, model)
        if model.tools != "native" and request.endpoint == CHAT:
            body = tool_request.rewrite_tool_request(body)
        if request.stream and self.upstream.reports_usage:
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        elif not self.upstream.reports_usage:
            body.pop("stream_options", None)
        return body

    # --- the answer -------------------------------------------------------------------------------
    def ask_upstream(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential, attempt: Attempt
    ) -> Batches:
        """Yield lists of chunks while the answer streams, or one list with the whole answer.

        Raises UpstreamError.
        """
        steps = filters.choose_filters(
            request, model, attempt, self.upstream.limits.hidden_thinking_bytes
        )
        relayed = self.relay_answer(request, model, credential, attempt)
        if not steps and (request.stream or not self.is_stream_only):
            return relayed
        return apply_filters(
            relayed,
            steps,
            stream=request.stream,
            most_answer_bytes=self.upstream.limits.answer_bytes,
        )

    async def relay_answer(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential, attempt: Attempt
    ) -> Batches:
        """Yield the answer as the upstream sends it, before any filter.

        A stream-only upstream's answer is yielded as chunks even if the request does not stream.
        Writes status, limit and patience into `attempt`. Raises UpstreamError.
        """
        body = orjson.dumps(self.build_payload(request, model))
        streams = request.stream or self.is_stream_only
        attempt.patience_seconds = attempt.deadline - time.perf_counter()
        if streams:
            attempt.patience_seconds = min(
                attempt.patience_seconds, self.upstream.timeouts.first_byte
            )
        target = self.get_target(request.endpoint)
        with await self.clients.relay.send_request(
            "POST", target, self.build_headers(credential), body, attempt
        ) as response:
            attempt.status = response.status
            attempt.limit = read_limit(response.headers)
            await self.require_answer_head(response, credential)
            content_type = response.get_header(b"content-type")
            if not streams or "json" in content_type or "html" in content_type:
                data = await response.read_body(self.upstream.limits.answer_bytes)
                answer = await self.parse_answer_body(request, data, credential, content_type)
                yield conform.convert_to_chunks(answer) if streams else [answer]
                return
            reader = self.make_stream_reader(request, credential)
            reader.bytes_left = self.upstream.limits.stream_bytes
            try:
                async with aclosing(response.iterate_body(self.upstream.timeouts.gap)) as pieces:
                    async for piece in pieces:
                        if reader.waiting_bytes and reader.ends_large_event(piece):
                            batch = await reader.feed_in_thread(piece)
                        else:
                            batch = reader.feed(piece)
                        if batch:
                            yield batch
                        if reader.is_over:
                            break
                        if reader.is_finished:
                            response.limit_tail(self.upstream.timeouts.tail)
                if batch := reader.read_last_event():
                    yield batch
            except ProviderError:
                if not reader.is_finished:  # else the answer is complete without the stream's end
                    raise
            reader.require_finish()
            if reader.has_done_marker:
                response.mark_finished()

    async def require_answer_head(
        self, response: Response | ApiResponse, credential: Credential
    ) -> None:
        """Raise UpstreamError unless status and headers announce an answer."""
        if response.status != 200:
            answer = await response.read_answer(self.upstream.limits.answer_bytes)
            raise self.read_refusal(answer, credential)
        if response.get_header(b"content-encoding") not in ("", "identity"):
            raise BadResponse("The upstream compressed its answer although asked not to.")

    def make_stream_reader(self, request: ChatRequest, credential: Credential) -> StreamReader:
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
            chunk = read_raw_json(data)
        except ValueError:
            chunk = None
        if not isinstance(chunk, dict):
            logger.warning("%s sent an event that is no JSON object", self.upstream.name)
            return None
        if (chunk.get("error") or "choices" not in chunk) and (error := find_error_object(chunk)):
            raise map_error_answer(
                self.ERRORS, error.get("status_code"), error, {}, secret=credential.secret
            )
        return chunk

    def parse_answer(self, request: ChatRequest, data: bytes, credential: Credential) -> Chunk:
        """Return a whole answer in OpenAI's schema. Raises UpstreamError when the data is none."""
        try:
            answer = read_json(data)
        except ValueError:
            raise BadResponse("The upstream's answer is not JSON.") from None
        if not isinstance(answer, dict):
            raise BadResponse("The upstream's answer is not a JSON object.")
        said = "choices" in answer or "data" in answer
        if (answer.get("error") or not said) and (error := find_error_object(answer)):
            raise map_error_answer(
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
                return conform.conform_embeddings(
                    answer, as_base64=request.body.get("encoding_format") == "base64"
                )
            except (ValueError, OverflowError, struct.error):
                raise BadResponse("The upstream's vectors are not readable.") from None
        if request.endpoint != CHAT:
            return answer
        if not all(isinstance(choice.get("message"), dict) for choice in items):
            raise BadResponse("The upstream's answer has no message.")
        return conform.conform_answer(answer)

    async def parse_answer_body(
        self, request: ChatRequest, data: bytes, credential: Credential, content_type: str
    ) -> Chunk:
        """Return the answer in a whole body, which may be JSON or the events of a stream.

        Raises UpstreamError when the body holds no answer.
        """
        if "html" in content_type:
            raise BadResponse("The upstream answered with a web page.")
        if request.endpoint != EMBEDDINGS and is_event_stream(content_type, data):
            return await self.parse_answer_events(request, data, credential)
        return self.parse_answer(request, data, credential)

    async def parse_answer_events(
        self, request: ChatRequest, data: bytes, credential: Credential
    ) -> Chunk:
        """Return the whole answer that a stream's events make up.

        Raises UpstreamError when they do not make up an answer.
        """
        reader = self.make_stream_reader(request, credential)
        chunks = list[Chunk]()
        for start in range(0, len(data), EVENT_SLICE_BYTES):
            chunks += reader.feed(data[start : start + EVENT_SLICE_BYTES])
            if reader.is_over:
                break
            await asyncio.sleep(0)  # lets other requests run
        chunks += reader.read_last_event()
        reader.require_finish()
        return fold_answer(chunks) if request.endpoint == CHAT else fold_text_completion(chunks)

    def read_refusal(self, answer: HttpAnswer, credential: Credential) -> UpstreamError:
        """Return the error for an answer whose status is not a success."""
        try:
            body = read_json(answer.body)
        except ValueError:
            body = None
        error = find_error_object(body) if isinstance(body, dict) else None
        return map_error_answer(
            self.ERRORS,
            answer.status,
            error,
            answer.headers,
            secret=credential.secret,
        )

    # --- other calls ------------------------------------------------------------------------------
    async def fetch_json(
        self, method: str, path: str, credential: Credential, body: Any = None
    ) -> Any:
        """Make one small call and return the JSON of its answer. Raises UpstreamError."""
        data = b"" if body is None else orjson.dumps(body)
        answer = await self.make_call(
            self.build_call(method, path, credential, body=data), credential
        )
        try:
            return read_json(answer.body)
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
        fields = {"headers": self.build_headers(credential), **self.call_limits, **fields}
        return ApiCall.from_path(method, self.upstream.base_url, path, **fields)

    async def make_call(self, call: ApiCall, credential: Credential) -> HttpAnswer:
        """Make a call that is not a relayed answer.

        Raises UpstreamError unless it succeeds (2xx).
        """
        answer = await self.clients.api.fetch_answer(call)
        if not 200 <= answer.status < 300:
            raise self.read_refusal(answer, credential)
        if answer.get_header(b"content-encoding") not in ("", "identity"):
            raise BadResponse("The upstream compressed its answer although asked not to.")
        return answer

    async def list_model_ids(self, credential: Credential) -> list[str]:
        """Return the ids of the models that the upstream lists, sorted. Raises UpstreamError."""
        body = await self.fetch_json("GET", "models", credential)
        try:
            # Together sends the list without an object around it
            entries = body if isinstance(body, list) else body["data"]
            return sorted(str(entry["id"]) for entry in entries)
        except (KeyError, TypeError):
            raise BadResponse("The upstream's list of models is not readable.") from None

    async def probe_credential(self, credential: Credential) -> None:
        """Check a credential with the cheapest free call that needs it.

        Raises UpstreamError when the credential does not work.
        """
        path = self.KEY_CHECK_PATHS.get(self.get_target("models").origin.host)
        if path is None:
            await self.list_model_ids(credential)
        else:
            require_quota(await self.fetch_json("GET", path, credential))

    async def refresh_credential(self, secret: str) -> NewCredential:
        """Exchange a refresh token for a new credential; the refresh token may be void afterwards.

        Raises UpstreamError.
        """
        raise NotImplementedError

    async def sign_in(self, email: str, password: str) -> NewCredential:
        """Return a new credential for an account. Raises UpstreamError."""
        raise NotImplementedError

    async def delete_chat(self, credential: Credential, chat_id: str) -> None:
        """Delete a chat that the upstream stores. Raises UpstreamError."""
