"""Send a request's body to the upstream as it is, and yield its answer as it comes.

An answer is JSON or a text (read whole), events, or bytes of any kind such as audio. Until the
first chunk is yielded an error may be answered by another token.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

import orjson
from msgspec import structs

from providers.exceptions import BadResponse
from providers.network.response import Response
from providers.network.target import Target
from providers.network.upload import Upload
from providers.protocol.attempt import Attempt
from providers.protocol.billed_units import BilledUnits
from providers.protocol.chunks import Batches, Chunk
from providers.protocol.relayed_request import (
    IMAGE_ENDPOINTS,
    MODERATIONS,
    RERANK,
    SPEECH,
    make_relayed_chunk,
)
from providers.protocol.request import ChatRequest, Credential, UpstreamModel
from providers.relayed.answer_events import EventRelay, RelayedEvent, render_event
from providers.relayed.answer_facts import (
    AnswerFacts,
    count_units,
    read_answer_facts,
    read_token_usage,
)
from providers.relayed.requested_units import count_requested_units
from providers.upstream.error_mapping import map_error_answer
from providers.upstream.rate_limits import read_limit

if TYPE_CHECKING:
    from providers.upstream.base_adapter import BaseAdapter

EVENT_TYPE = "text/event-stream"
JSON_TYPE = "application/json"
BYTES_TYPE = "application/octet-stream"
NAMED_ENDPOINTS = (MODERATIONS, RERANK)  # their answers name the model
NO_ANSWER = "The upstream's answer is not JSON."


class RequestRelay:
    """One relayed request at one upstream."""

    def __init__(
        self,
        adapter: "BaseAdapter",
        request: ChatRequest,
        credential: Credential,
        attempt: Attempt,
    ) -> None:
        self._adapter = adapter
        self._request = request
        self._credential = credential
        self._attempt = attempt
        self._requested = count_requested_units(request)

    async def relay_answer(self, model: UpstreamModel) -> Batches:
        """Yield the chunks of the answer (`make_relayed_chunk`). Raises UpstreamError.

        Writes status, limit, patience and units into the attempt.
        """
        adapter = self._adapter
        attempt = self._attempt
        attempt.patience_seconds = attempt.deadline - time.perf_counter()
        if self._request.stream:
            attempt.patience_seconds = min(
                attempt.patience_seconds, adapter.upstream.timeouts.first_byte
            )
        attempt.units = self._requested or None  # also of a caller who leaves before the answer
        target, body = self.build_body(model)
        headers = adapter.build_headers(self._credential)
        with await adapter.clients.relay.send_request(
            "POST", target, headers, body, attempt
        ) as response:
            attempt.status = response.status
            attempt.limit = read_limit(response.headers)
            await adapter.require_answer_head(response, self._credential)
            content_type = response.get_header(b"content-type")
            if "html" in content_type:
                raise BadResponse("The upstream answered with a web page.")
            async with aclosing(self.choose_reader(response, content_type)) as chunks:
                async for chunk in chunks:
                    yield [chunk]

    def build_body(self, model: UpstreamModel) -> tuple[Target, bytes | Upload]:
        """Return the target and the body of the request, with the upstream's model name."""
        request = self._request
        target = self._adapter.get_target(request.endpoint)
        form = request.form
        if form is None:
            return target, orjson.dumps({**request.body, "model": model.name})
        upload = Upload(form.file, form.size_bytes, form.make_start(model.name), form.make_end())
        return target.with_content_type(form.content_type), upload

    def choose_reader(self, response: Response, content_type: str) -> AsyncGenerator[Chunk, None]:
        """Return the reader for an answer of this type. Raises BadResponse."""
        is_speech = self._request.endpoint == SPEECH
        if EVENT_TYPE in content_type:
            if not (self._request.stream or is_speech):
                raise BadResponse("The upstream streamed an answer that should be whole.")
            return self.relay_events(response)
        if is_speech and "json" not in content_type:
            return self.relay_bytes(response, content_type or BYTES_TYPE)
        return self.relay_whole(response, content_type)

    # --- whole answers ----------------------------------------------------------------------------
    async def relay_whole(
        self, response: Response, content_type: str
    ) -> AsyncGenerator[Chunk, None]:
        """Yield one chunk with the whole answer."""
        data = await response.read_body(self._adapter.upstream.limits.answer_bytes)
        if content_type and "json" not in content_type and not self.has_json_answer:
            yield make_relayed_chunk(data, content_type)  # a transcript as a text
            return
        facts = read_answer_facts(data)
        if facts is None:
            raise BadResponse(NO_ANSWER)
        self.require_no_error(facts)
        self.record_units(facts)
        data = self.rename_model(data)
        yield make_relayed_chunk(data, content_type or JSON_TYPE, usage=read_token_usage(facts))

    @property
    def has_json_answer(self) -> bool:
        """Return whether the endpoint's whole answers are JSON objects; audio may become a text."""
        endpoint = self._request.endpoint
        return endpoint in NAMED_ENDPOINTS or endpoint in IMAGE_ENDPOINTS

    def require_no_error(self, facts: AnswerFacts) -> None:
        """Raise UpstreamError when an answer with the status of a success reports an error."""
        error = facts.error
        if not error:
            return
        if not isinstance(error, dict):
            error = {"message": str(error)}
        raise self.map_error(error)

    def map_error(self, error: Chunk) -> Exception:
        """Return the UpstreamError for the error object of an answer."""
        return map_error_answer(
            self._adapter.ERRORS,
            error.get("status_code"),
            error,
            {},
            secret=self._credential.secret,
        )

    def rename_model(self, data: bytes) -> bytes:
        """Return an answer with the caller's name of the model, where the answer names one."""
        if self._request.endpoint not in NAMED_ENDPOINTS:
            return data
        answer = orjson.loads(data)
        if "model" not in answer:
            return data
        return orjson.dumps({**answer, "model": self._request.model})

    def record_units(self, facts: AnswerFacts) -> None:
        """Write the units of the answer into the attempt."""
        units = count_units(facts, self._request.endpoint, self._requested)
        self._attempt.units = units or None

    # --- answers in pieces ------------------------------------------------------------------------
    async def relay_bytes(
        self, response: Response, content_type: str
    ) -> AsyncGenerator[Chunk, None]:
        """Yield the bytes of the answer as they come; the first chunk has their type."""
        async with aclosing(self.iterate_pieces(response)) as pieces:
            async for piece in pieces:
                yield make_relayed_chunk(piece, content_type)
                content_type = ""
        if content_type:
            raise BadResponse("The upstream's answer is empty.")

    async def relay_events(self, response: Response) -> AsyncGenerator[Chunk, None]:
        """Yield the events of a stream as they come, those of one piece in one chunk."""
        relay = EventRelay(self._request.model, self._adapter.upstream.limits.event_bytes)
        content_type = EVENT_TYPE
        async with aclosing(self.iterate_pieces(response)) as pieces:
            async for piece in pieces:
                if events := relay.feed(piece):
                    yield self.make_events_chunk(relay, events, content_type)
                    content_type = ""
        if events := relay.read_end():
            yield self.make_events_chunk(relay, events, content_type)

    def make_events_chunk(
        self, relay: EventRelay, events: list[RelayedEvent], content_type: str
    ) -> Chunk:
        """Return the chunk of these events. Raises UpstreamError when one reports an error.

        Writes the units that the events name into the attempt.
        """
        fields: Chunk = {}
        for event in events:
            if event.error is not None:
                raise self.map_error(event.error)
            if event.facts is not None and event.facts.usage is not None:
                fields["usage"] = read_token_usage(event.facts)
                self.record_units(event.facts)
        if relay.image_count:
            units = self._attempt.units or BilledUnits()
            self._attempt.units = structs.replace(units, images=relay.image_count)
        return make_relayed_chunk(b"".join(map(render_event, events)), content_type, **fields)

    async def iterate_pieces(self, response: Response) -> AsyncGenerator[bytes, None]:
        """Yield the pieces of a body as they come.

        Raises UpstreamError when it breaks off, stalls, or is larger than a stream may be.
        """
        connection = response.connection
        upstream = self._adapter.upstream
        bytes_left = upstream.limits.stream_bytes
        while True:
            while not connection.pieces:
                if connection.error is not None:
                    raise connection.error
                if connection.has_ended:
                    return
                await connection.wait_for_change()
            piece = connection.take_piece(upstream.timeouts.gap)
            bytes_left -= len(piece)
            if bytes_left < 0:
                raise BadResponse("The upstream's answer is too long.")
            yield piece
            if connection.pieces:
                await asyncio.sleep(0)  # a large read comes in slices: others get their turn
