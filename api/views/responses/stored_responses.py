"""Stored responses: get, cancel, delete, input items, and the events of a background response.

With `stream=true` and `starting_after`, a caller gets the events after that number, whichever
process answers. In the process that runs the response they come as they are made, elsewhere from
rows. When that process has died, a final event is made from the turn's row.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from django.conf import settings
from django.db import connection
from django.http import HttpResponseBase, StreamingHttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from api import pagination
from api.relay.gateway import Gateway
from api.responses.background.event_log import has_final_event, load_response_object
from api.responses.output.part_events import Event
from api.responses.output.renderer import render_event_lines
from api.views.base import ApiView, owner_id
from api.views.conversations import read_include_values, render_conversation_item
from api.views.responses.background_answer import make_error_events
from api.views.staff.staff_access import find_running_gateway
from conversations.history.conversation_lookup import find_stored_turn
from conversations.history.dead_turns import show_present_status
from conversations.models import RUNNING_STATUSES, Turn
from conversations.models.log import TurnEndpoint
from conversations.stored import stored_completions, stored_items
from providers.exceptions import GatewayError, InvalidRequest, UnknownUrl
from providers.wire.sse import PING

BEFORE_FIRST_EVENT = -1  # below 0, the number of the first event
HIGHEST_EVENT_NUMBER = 999_999_999
POLL_SECONDS = 0.1
CANCEL_WAIT_SHARE = 0.75  # share of DATABASE_TIMEOUT_SECONDS to wait for the running process


class StoredResponse(ApiView):
    def get(self, request: Request, response_id: str) -> HttpResponseBase:
        turn = find_stored_response(owner_id(request), response_id)
        if request.query_params.get("stream") not in ("true", "1"):
            return Response(load_response_object(turn))
        if not turn.background:
            raise InvalidRequest(
                "Only a response in the background has events to come back to.", param="stream"
            )
        after_number = pagination.read_integer(
            request.query_params.get("starting_after", BEFORE_FIRST_EVENT),
            "starting_after",
            BEFORE_FIRST_EVENT,
            HIGHEST_EVENT_NUMBER,
        )
        lines = stream_response_events(find_running_gateway(request), turn.pk.hex, after_number)
        connection.close()  # free for other requests while events are sent
        headers = {"cache-control": "no-cache, no-store", "x-accel-buffering": "no"}
        return StreamingHttpResponse(
            lines, content_type="text/event-stream; charset=utf-8", headers=headers
        )

    def delete(self, request: Request, response_id: str) -> Response:
        stored_completions.delete_completion(find_stored_response(owner_id(request), response_id))
        return Response({"id": response_id, "object": "response", "deleted": True})


class CancelResponse(ApiView):
    def post(self, request: Request, response_id: str) -> Response:
        until = time.monotonic() + CANCEL_WAIT_SHARE * settings.DATABASE_TIMEOUT_SECONDS
        turn = find_stored_response(owner_id(request), response_id)
        if not turn.background:
            raise InvalidRequest(
                "Only a response in the background can be cancelled.", param="response_id"
            )
        if Turn.objects.filter(pk=turn.pk, status__in=RUNNING_STATUSES).update(asked_to_stop=True):
            find_running_gateway(request).background.request_stop(turn.pk.hex)
        while turn.status in RUNNING_STATUSES and time.monotonic() < until:
            connection.close()  # free for other requests during the pause
            time.sleep(POLL_SECONDS)
            turn = find_stored_response(owner_id(request), response_id)
        return Response(load_response_object(turn))


class InputItems(ApiView):
    def get(self, request: Request, response_id: str) -> Response:
        include = read_include_values(request)
        page_query = pagination.parse_page_query(request.query_params)
        turn = find_stored_response(owner_id(request), response_id)
        input_items = turn.items.filter(output=False)
        rows = pagination.find_page_rows(
            input_items,
            page_query,
            lambda item_id: stored_items.find_item_among(input_items, item_id, "after"),
            "id",
        )
        items = [render_conversation_item(item, include) for item in rows]
        return Response(pagination.render_page(items, page_query))


def find_stored_response(user_id: int, response_id: str) -> Turn:
    """Return a user's own stored response.

    Raises UnknownUrl, with the same text for another user's response as for a missing one.
    """
    turn = find_stored_turn(user_id, response_id)
    if turn is None or turn.endpoint != TurnEndpoint.RESPONSE:
        raise UnknownUrl(
            f"There is no response {response_id[:64]!r}.",
            param="response_id",
            code="response_not_found",
        )
    return show_present_status(turn)


async def stream_response_events(
    gateway: Gateway, turn_id: str, after_number: int
) -> AsyncIterator[bytes]:
    """Yield the SSE lines of the events after number `after_number`, up to the last one.

    Yields pings while no event comes.
    """
    try:
        async with aclosing(follow_to_final_event(gateway, turn_id, after_number)) as batches:
            async for events in batches:
                yield render_event_lines(events) or PING
    except GatewayError as error:
        yield render_event_lines(make_error_events(error))


async def follow_to_final_event(
    gateway: Gateway, turn_id: str, after_number: int
) -> AsyncGenerator[list[Event], None]:
    """Yield the events after number `after_number`, up to the final one, as they come.

    Yields an empty list when none came for PING_SECONDS.
    """
    feed = gateway.background.feeds.get(turn_id)
    quiet_seconds = settings.PING_SECONDS
    if feed is not None:
        batches = feed.follow_events(after_number, quiet_seconds)
    else:
        batches = gateway.background_follower.follow_response(turn_id, after_number, quiet_seconds)
    async with aclosing(batches):
        async for events in batches:
            yield events
            if has_final_event(events):
                return
