"""The adapter contract, and the OpenAI dialect that most upstreams speak.

An adapter knows how to write requests and read answers of one dialect; it has no retries, pool,
database or settings, and logs no content. `ask_upstream` yields lists of the chunks that each read
contained (see `providers/protocol/chunks.py`) and raises `providers.exceptions` only: after an
error before the first yield another token may be tried, a later error ends the caller's stream.
Sources: OpenAI's API reference; the errors of similar services as listed in `error_mapping.py`.
"""

import logging
import time
from functools import partial
from typing import ClassVar

import orjson

from providers import dialects, filters
from providers.choices import Search
from providers.exceptions import BadResponse, Rejected
from providers.filters import conform, file_parts
from providers.filters.filter_pipeline import apply_filters
from providers.filters.finish_reasons import is_call_forced
from providers.filters.leaked_calls import read_leaked_calls
from providers.filters.prompted_tools import tool_request
from providers.network.clients import Clients
from providers.network.response import Response
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Batches, Chunk
from providers.protocol.json_types import FrozenJsonObject, JsonObject
from providers.protocol.relayed_request import REALTIME, RELAYED_CAPABILITIES
from providers.protocol.request import (
    CHAT,
    EMBEDDINGS,
    MESSAGES,
    ChatRequest,
    Credential,
    UpstreamModel,
)
from providers.relayed.relay_request import RequestRelay
from providers.upstream.answer_stream import AnswerStream
from providers.upstream.credential_calls import CredentialCalls
from providers.upstream.error_mapping import find_error_object, map_error_answer
from providers.upstream.rate_limits import read_limit
from providers.upstream.stream_reader import StreamReader
from providers.upstream.token_calls import TokenCalls
from providers.upstream.upstream_client import Limits, Upstream
from providers.upstream.whole_answer import (
    conform_whole_answer,
    fold_answer_events,
    has_whole_body,
    is_event_stream,
    read_answer_object,
)
from providers.wire.json_reader import read_raw_json

__all__ = ["BaseAdapter", "Limits", "Upstream"]
logger = logging.getLogger(__name__)


class BaseAdapter(TokenCalls, CredentialCalls):
    """The adapter of OpenAI's dialect; adapters of other dialects override the differences."""

    label: ClassVar[str] = "OpenAI dialect"
    is_official: ClassVar[bool] = True
    has_url: ClassVar[bool] = True
    modes: ClassVar[tuple[str, ...]] = ("user",)  # of choices.Mode
    # False: it has a dialect of its own, so its differences from OpenAI's are not looked for
    speaks_openai: ClassVar[bool] = True
    # True: the upstream is always asked to stream, and whole answers are made of the chunks
    is_stream_only: ClassVar[bool] = False
    has_single_stream: ClassVar[bool] = False  # a token may have one stream at a time
    # content types of files that models with the capability `files` take; None: all. Of other files
    # their parts have the text too
    whole_file_types: ClassVar[frozenset[str] | None] = None
    profile_name: ClassVar[str] = ""  # of its dialect; empty: the host of the base URL decides
    # the dialect of an OriginalBody that it sends as it is, such as ANTHROPIC; empty: none
    original_dialect: ClassVar[str] = ""
    can_search: ClassVar[bool] = False  # its models can search the web when a request wants it
    # of choices.Capability: those of a model whose row names none; empty: not known
    capabilities: ClassVar[tuple[str, ...]] = ()
    # True: the upstream may have the endpoints of `relayed_request`: images, audio, rerank, …
    relays_bodies: ClassVar[bool] = False

    def __init__(self, upstream: Upstream, clients: Clients) -> None:
        super().__init__(upstream, clients)
        self.refused_fields = dialects.RefusedFields()

    # --- the request ------------------------------------------------------------------------------
    def find_problem(self, body: FrozenJsonObject, model: UpstreamModel) -> tuple[str, str] | None:
        """Return why the upstream cannot take a chat body, as (param, sentence), or None.

        Another provider of the model may take it then. Every chat request passes here.
        """
        return None

    def build_payload(self, request: ChatRequest, model: UpstreamModel) -> JsonObject:
        """Return the body for the upstream: the caller's body with the upstream's model name.

        A stream's usage is requested wherever the upstream reports it. File parts and tools are
        rewritten for models that cannot take them.
        """
        body = {**request.body, "model": model.name}
        if request.endpoint == CHAT:
            if request.caller_endpoint == MESSAGES:
                dialects.rewrite_marked_body(body, model.dialect)
            if model.search == Search.OFF:
                body.pop("web_search_options", None)
            body = file_parts.rewrite_file_parts(body, model)
            if model.tools != "native":
                body = tool_request.rewrite_tool_request(body)
            dialects.rewrite_chat_body(body, model.dialect)
        reports_usage = self.upstream.reports_usage and model.dialect.takes_stream_options
        if request.stream and reports_usage:
            body["stream_options"] = {**(body.get("stream_options") or {}), "include_usage": True}
        elif not reports_usage:
            body.pop("stream_options", None)
        if self.refused_fields.by_model:
            self.refused_fields.rewrite_body(model.name, body)
        return body

    def find_omitted_fields(self, request: ChatRequest, payload: JsonObject) -> list[str]:
        """Return the fields of the caller's body that the upstream does not get, sorted."""
        return dialects.find_omitted_fields(request.body, payload)

    def build_request_headers(self, request: ChatRequest, credential: Credential) -> bytes:
        """Return the header lines of a relayed request."""
        return self.build_headers(credential)

    def learn_refusal(self, request: ChatRequest, model: UpstreamModel, error: Rejected) -> str:
        """Learn which field of the body a refusal is about, and return it.

        Empty when asking again would not help. From now on the field is left out, or has its other
        name.
        """
        if request.endpoint != CHAT:
            return ""
        body = self.build_payload(request, model)
        return self.refused_fields.learn_refusal(model.name, body, error)

    async def count_prompt_tokens(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential
    ) -> int | None:
        """Return how many tokens the upstream says the prompt has; None if it cannot say.

        Raises UpstreamError.
        """
        return None

    # --- the answer -------------------------------------------------------------------------------
    def ask_upstream(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential, attempt: Attempt
    ) -> Batches:
        """Yield lists of chunks while the answer streams, or one list with the whole answer.

        Raises UpstreamError.
        """
        if request.endpoint in RELAYED_CAPABILITIES:
            return self.relay_request(request, model, credential, attempt)
        limits = self.upstream.limits
        chosen_filters = filters.choose_filters(
            request, model, attempt, limits.hidden_thinking_bytes
        )
        relayed = self.relay_answer(request, model, credential, attempt)
        if not chosen_filters and (reader := filters.choose_leak_reader(request, model, attempt)):
            relayed = read_leaked_calls(relayed, reader, limits.answer_bytes)
        if not chosen_filters and (request.stream or not self.is_stream_only):
            return relayed
        return apply_filters(
            relayed,
            chosen_filters,
            stream=request.stream,
            most_answer_bytes=limits.answer_bytes,
        )

    def relay_request(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential, attempt: Attempt
    ) -> Batches:
        """Yield the answer to a request whose body is passed on as it is. Raises UpstreamError."""
        if request.endpoint == REALTIME:
            # its library is loaded with the first session
            from providers.relayed.realtime_session import relay_session

            return relay_session(self, request, model, credential, attempt)
        return RequestRelay(self, request, credential, attempt).relay_answer(model)

    async def relay_answer(
        self, request: ChatRequest, model: UpstreamModel, credential: Credential, attempt: Attempt
    ) -> Batches:
        """Yield the answer as the upstream sends it, before any filter.

        A stream-only upstream's answer is yielded as chunks even if the request does not stream.
        Writes status, limit and patience into `attempt`. Raises UpstreamError.
        """
        payload = self.build_payload(request, model)
        if not payload.keys() >= request.body.keys():
            attempt.omitted_fields = self.find_omitted_fields(request, payload)
        body = orjson.dumps(payload)
        wants_stream = request.stream or self.is_stream_only
        attempt.patience_seconds = self._find_patience(attempt, wants_stream)
        target = self.get_target(request.endpoint)
        headers = self.build_request_headers(request, credential)
        with await self.clients.relay.send_request(
            "POST", target, headers, body, attempt
        ) as response:
            attempt.status = response.status
            attempt.limit = read_limit(response.headers)
            await self.require_answer_head(response, credential)
            if not wants_stream:
                yield [await self._read_whole_answer(request, response, credential)]
            elif has_whole_body(response):
                answer = await self._read_whole_answer(request, response, credential)
                yield conform.convert_to_chunks(answer)
            else:
                reader = self.make_stream_reader(request, credential)
                stream = self.open_stream(response, reader)
                while batch := await stream.read_batch():
                    yield batch
                reader.require_finish()
                stream.keep_connection()

    def _find_patience(self, attempt: Attempt, wants_stream: bool) -> float:
        """Return the seconds until the first byte must be there; a whole answer may take longer."""
        seconds_left = attempt.deadline - time.perf_counter()
        if wants_stream:
            return min(seconds_left, self.upstream.timeouts.first_byte)
        return seconds_left

    def open_stream(self, response: Response, reader: StreamReader) -> AnswerStream:
        """Return the stream of an answer whose head has arrived, limited in bytes and silence."""
        reader.bytes_left = self.upstream.limits.stream_bytes
        return AnswerStream(response, reader, self.upstream.timeouts)

    def make_stream_reader(self, request: ChatRequest, credential: Credential) -> StreamReader:
        """Return a reader that makes chunks of a stream's bytes."""
        read_event = partial(self.read_event, credential=credential)
        event_bytes = self.upstream.limits.event_bytes
        return StreamReader(
            read_event,
            event_bytes,
            chat=request.endpoint == CHAT,
            choices=request.choice_count,
            allows_stop_with_calls=is_call_forced(request.body),
        )

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
        if "choices" not in chunk or chunk.get("error"):
            self._require_no_error(chunk, credential)
        return chunk

    def _require_no_error(self, answer: JsonObject, credential: Credential) -> None:
        """Raise UpstreamError when an answer with the status of a success reports an error."""
        error = find_error_object(answer)
        if error is not None:
            raise map_error_answer(
                self.ERRORS, error.get("status_code"), error, {}, secret=credential.secret
            )

    async def _read_whole_answer(
        self, request: ChatRequest, response: Response, credential: Credential
    ) -> Chunk:
        """Return the answer in a whole body, which may be JSON or the events of a stream.

        Raises UpstreamError when the body holds no answer.
        """
        content_type = response.get_header(b"content-type")
        data = await response.read_body(self.upstream.limits.answer_bytes)
        if "html" in content_type:
            raise BadResponse("The upstream answered with a web page.")
        if request.endpoint != EMBEDDINGS and is_event_stream(content_type, data):
            reader = self.make_stream_reader(request, credential)
            return await fold_answer_events(request, reader, data)
        return self.parse_answer(request, data, credential)

    def parse_answer(self, request: ChatRequest, data: bytes, credential: Credential) -> Chunk:
        """Return a whole answer in OpenAI's schema. Raises UpstreamError when the data is none."""
        answer = read_answer_object(data)
        has_content = "choices" in answer or "data" in answer
        if answer.get("error") or not has_content:
            self._require_no_error(answer, credential)
        return conform_whole_answer(request, answer)
