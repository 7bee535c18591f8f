"""Stored responses: get, cancel, delete, input items, and the events of a background response.

With `stream=true` and `starting_after`, a caller gets the events after that number, whichever
process answers. In the process that runs the response they come as they are made, elsewhere from
rows. When that process has died, a final event is made from the turn's row.
"""

import time
from collections.abc import AsyncIterator
from contextlib import aclosing

from django.conf import settings
from django.db import connection
from django.http import HttpResponseBase, StreamingHttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from api import pagination
from api.relay.gateway import Gateway
from api.responses.event_log import ENDS, whole
from api.responses.renderer import lines
from api.streaming.chat_renderer import PING
from api.views.base import Door, owner_id
from api.views.conversations import included, shown
from api.views.responses import failure
from api.views.staff.staff_access import running
from conversations.history.conversation_lookup import as_it_stands, turn_of
from conversations.models import RUNNING, Turn
from conversations.models.log import Door as By
from conversations.stored import stored_resources
from providers.exceptions import GatewayError, InvalidRequest, UnknownUrl

NO_EVENT = -1  # below 0, the number of the first event
LAST_EVENT = 999_999_999
POLL_SECONDS = 0.1
CANCEL_SHARE = 0.75  # share of DATABASE_TIMEOUT_SECONDS to wait for the running process


class StoredResponse(Door):
    def get(self, request: Request, response_id: str) -> HttpResponseBase:
        turn = find(owner_id(request), response_id)
        if request.query_params.get("stream") not in ("true", "1"):
            return Response(whole(turn))
        if not turn.background:
            raise InvalidRequest(
                "Only a response in the background has events to come back to.", param="stream"
            )
        given = request.query_params.get("starting_after", NO_EVENT)
        after = pagination.read_integer(given, "starting_after", NO_EVENT, LAST_EVENT)
        told = followed(running(request), turn.pk.hex, after)
        connection.close()  # free for other requests while events are sent
        headers = {"cache-control": "no-cache, no-store", "x-accel-buffering": "no"}
        return StreamingHttpResponse(
            told, content_type="text/event-stream; charset=utf-8", headers=headers
        )

    def delete(self, request: Request, response_id: str) -> Response:
        stored_resources.forget_completion(find(owner_id(request), response_id))
        return Response({"id": response_id, "object": "response", "deleted": True})


class Cancel(Door):
    def post(self, request: Request, response_id: str) -> Response:
        until = time.monotonic() + CANCEL_SHARE * settings.DATABASE_TIMEOUT_SECONDS
        turn = find(owner_id(request), response_id)
        if not turn.background:
            raise InvalidRequest(
                "Only a response in the background can be cancelled.", param="response_id"
            )
        if Turn.objects.filter(pk=turn.pk, status__in=RUNNING).update(asked_to_stop=True):
            running(request).background.end_soon(turn.pk.hex)
        while turn.status in RUNNING and time.monotonic() < until:
            connection.close()  # free for other requests during the pause
            time.sleep(POLL_SECONDS)
            turn = find(owner_id(request), response_id)
        return Response(whole(turn))


class InputItems(Door):
    def get(self, request: Request, response_id: str) -> Response:
        include = included(request)
        asked = pagination.window(request.query_params)
        given = find(owner_id(request), response_id).items.filter(output=False)
        last = (
            stored_resources.find_item_among(given, asked.after, "after") if asked.after else None
        )
        found = pagination.rows(given, asked, last, "id")
        return Response(pagination.page([shown(item, include) for item in found], asked))


def find(user_id: int, response_id: str) -> Turn:
    """Return a user's own stored response.

    Raises UnknownUrl, with the same text for another user's response as for a missing one.
    """
    found = turn_of(user_id, response_id)
    if found is None or found.door != By.RESPONSE:
        raise UnknownUrl(
            f"There is no response {response_id[:64]!r}.",
            param="response_id",
            code="response_not_found",
        )
    return as_it_stands(found)


async def followed(gateway: Gateway, turn_id: str, after: int) -> AsyncIterator[bytes]:
    """Yield the SSE lines of the events after number `after`, up to the last one.

    Yields pings while no event comes.
    """
    feed = gateway.background.feeds.get(turn_id)
    quiet = settings.PING_SECONDS
    told = feed.since(after, quiet) if feed else gateway.elsewhere.follow(turn_id, after, quiet)
    try:
        async with aclosing(told) as news:
            async for events in news:
                yield lines(events) if events else PING
                if events and events[-1]["type"] in ENDS:
                    return
    except GatewayError as error:
        yield lines(failure(error))
