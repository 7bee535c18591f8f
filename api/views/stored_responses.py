"""Responses that are there: /v1/responses/{id}, its input items, cancel, delete; the events of one in the background.

Who comes back with `stream=true` and `starting_after` gets the events after that number, from rows, whichever process
answers; when that process has died, an end that is made of the row.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.http import HttpResponseBase, StreamingHttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from api import pages
from api.background import ENDS
from api.openai import PING
from api.responses.objects import of_turn
from api.responses.parts import Event
from api.responses.rendering import lines
from api.views.conversations import included, owner, shown
from api.views.door import Door
from conversations import keeping
from conversations.models import RUNNING, EventBatch, Item, Turn
from conversations.models.log import Door as By
from conversations.places import as_it_stands, turn_of
from providers.exceptions import InvalidRequest, UnknownUrl
from providers.offloop import off_loop

POLL_SECONDS = 0.1
CANCEL_SECONDS = 5.0  # for the process that answers to hear of it
LATE_SECONDS = 1.0  # the last events of a turn that has ended are rows after that, or never


class StoredResponse(Door):
    def get(self, request: Request, response_id: str) -> HttpResponseBase:
        turn = find(owner(request), response_id)
        if request.query_params.get("stream") not in ("true", "1"):
            return Response(whole(turn))
        if not turn.background:
            raise InvalidRequest("Only a response in the background has events to come back to.", param="stream")
        after = number(request.query_params.get("starting_after", "-1"))
        told = followed(turn.pk, after)
        headers = {"cache-control": "no-cache, no-store", "x-accel-buffering": "no"}
        return StreamingHttpResponse(told, content_type="text/event-stream; charset=utf-8", headers=headers)

    def delete(self, request: Request, response_id: str) -> Response:
        keeping.forget_completion(find(owner(request), response_id))
        return Response({"id": response_id, "object": "response", "deleted": True})


class Cancel(Door):
    def post(self, request: Request, response_id: str) -> Response:
        turn = find(owner(request), response_id)
        if not turn.background:
            raise InvalidRequest("Only a response in the background can be cancelled.", param="response_id")
        Turn.objects.filter(pk=turn.pk, status__in=RUNNING).update(asked_to_stop=True)
        until = time.monotonic() + CANCEL_SECONDS
        while turn.status in RUNNING and time.monotonic() < until:
            connection.close()  # others need it meanwhile
            time.sleep(POLL_SECONDS)
            turn = find(owner(request), response_id)
        return Response(whole(turn))


class InputItems(Door):
    def get(self, request: Request, response_id: str) -> Response:
        include, asked = included(request), pages.window(request.query_params)
        given = find(owner(request), response_id).items.filter(output=False)
        last = None
        if asked.after:
            last = given.filter(public_id=asked.after).first() if "\0" not in asked.after else None
            if last is None:
                raise UnknownUrl(f"There is no item {asked.after[:64]!r}.", param="after", code="item_not_found")
        found = pages.rows(given, asked, last, "id")
        return Response(pages.page([shown(item, include) for item in found], asked))


def find(user_id: int, response_id: str) -> Turn:
    """A user's own stored response. Raises UnknownUrl, the same for somebody else's and for none."""
    found = turn_of(user_id, response_id)
    if found is None or found.door != By.RESPONSE:
        raise UnknownUrl(f"There is no response {response_id[:64]!r}.", param="response_id", code="response_not_found")
    return as_it_stands(found)


def whole(turn: Turn) -> dict[str, Any]:
    """The response object as it stands."""
    return of_turn(turn, Item.objects.filter(turn=turn, output=True).order_by("id"))


def number(text: str) -> int:
    """A sequence number, or -1 for none. Raises InvalidRequest."""
    if text != "-1" and not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InvalidRequest("starting_after is the number of an event.", param="starting_after")
    return int(text)


# --- events -----------------------------------------------------------------------------------------------------------
async def followed(turn_id: UUID, after: int) -> AsyncIterator[bytes]:
    """The events with higher numbers than `after`, as they become rows, to the last one; pings while none comes."""
    ended_at: float | None = None
    said_at = time.monotonic()
    while True:
        events, turn = await off_loop(since, turn_id, after)
        if events:
            after, said_at = events[-1]["sequence_number"], time.monotonic()
            yield lines(events)
            if events[-1]["type"] in ENDS:
                return
        if turn is None:
            return  # it was deleted
        if turn.status not in RUNNING:
            ended_at = ended_at or time.monotonic()
            if time.monotonic() - ended_at > LATE_SECONDS:
                yield lines([await off_loop(end_of, turn, after + 1)])
                return
        if time.monotonic() - said_at > settings.PING_SECONDS:
            said_at = time.monotonic()
            yield PING
        await asyncio.sleep(POLL_SECONDS)


def since(turn_id: UUID, after: int) -> tuple[list[Event], Turn | None]:
    """Events after a number, and the turn as it stood before they were read; in a database thread."""
    turn = Turn.objects.select_related("conversation").filter(pk=turn_id).first()
    if turn is not None:
        turn = as_it_stands(turn)
    rows = EventBatch.objects.filter(turn_id=turn_id, last__gt=after).order_by("first").values_list("events", flat=True)
    return [event for events in rows for event in events if event["sequence_number"] > after], turn


def end_of(turn: Turn, sequence_number: int) -> Event:
    """The last event of a response that has ended, made of its row."""
    response = whole(turn)
    name = response["status"] if f"response.{response['status']}" in ENDS else "incomplete"
    return {"type": f"response.{name}", "response": response, "sequence_number": sequence_number}
