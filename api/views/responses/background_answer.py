"""The answer to a response request in the background: its events, or its state.

The caller gets the state at once, or the events when it streams. The response runs on when the
caller leaves.
"""

from collections.abc import Iterator
from contextlib import aclosing

import orjson
from django.http import HttpResponse, HttpResponseBase

from api import exceptions
from api.relay.lean_request import LeanRequest
from api.relay.pipeline import StartedAnswer
from api.responses.background.feed import Feed
from api.responses.background.response_slots import ResponseSlot
from api.responses.output.events import ResponseEvents
from api.responses.output.objects import ResponseHead, ResponseOutcome, build_response_object
from api.responses.output.part_events import Event
from api.responses.output.renderer import render_event_lines
from api.streaming.stream_answer import JsonAnswer, StreamAnswer
from conversations.history.recorder import RecalledTurn
from providers.exceptions import GatewayError
from providers.protocol.chunks import Batches
from providers.wire.sse import PING


def start_background(
    request: LeanRequest,
    turn: RecalledTurn,
    answer: StartedAnswer,
    head: ResponseHead,
    slot: ResponseSlot,
) -> Feed:
    """Start a task that makes the answer, and return the feed of its events."""
    events = ResponseEvents(head, turn.turn.answer)
    return request.gateway.background.start_response(
        turn.turn,
        answer.trace,
        (answer.batches, events),
        slot.hold_response_slot(),
        request.hold_body_memory(),
    )


def render_background_answer(
    request: LeanRequest, feed: Feed, head: ResponseHead, start_time: float, *, wants_stream: bool
) -> HttpResponseBase:
    """Return the answer to a background request: its events, or its state "queued"."""
    if wants_stream:
        return StreamAnswer(
            stream_feed(feed), FeedRenderer(), request.gateway.heartbeat, request.request_id
        )
    queued = build_response_object(head, ResponseOutcome(status="queued"))
    return JsonAnswer(orjson.dumps(queued), request.request_id, start_time)


async def stream_feed(feed: Feed) -> Batches:
    async with aclosing(feed.follow_events()) as batches:
        async for batch in batches:
            yield batch


class FeedRenderer:
    """A renderer of events that the background task has made."""

    @staticmethod
    def render_batch(batch: list[Event]) -> bytes:
        return render_event_lines(batch)

    @staticmethod
    def render_error(error: GatewayError, request_id: str) -> HttpResponse:
        return exceptions.render_error(error, request_id)

    @staticmethod
    def render_ping() -> bytes:
        return PING

    @staticmethod
    def render_end() -> bytes:
        return b""

    @staticmethod
    def render_failure(error: GatewayError) -> bytes:
        return render_event_lines(make_error_events(error))


def make_error_events(error: GatewayError) -> Iterator[Event]:
    """Yield the error event of a request that has no response object."""
    fields = {"code": error.shown_code, "message": error.message, "param": error.param}
    yield {"type": "error", **fields, "sequence_number": 0}
