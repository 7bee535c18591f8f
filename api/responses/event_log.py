"""The rows of a response: its object, its events, and a final event where none was stored.

The functions here run in a database thread.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import reduce
from itertools import islice
from operator import or_
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Max, Q
from django.utils import timezone

from api.responses.objects import of_turn
from api.responses.part_events import Event
from conversations.history.conversation_lookup import as_it_stands
from conversations.models import RUNNING, EventBatch, Item, Turn

ENDS = ("response.completed", "response.incomplete", "response.failed")
LATE_SECONDS = 1.0  # after it, the last events of an ended turn are rows or lost
AT_ONCE = 100  # rows and turns read with one statement


class News(NamedTuple):
    """The new events of a response; `over` means that no more will come."""

    events: list[Event]
    over: bool


def whole(turn: Turn) -> dict[str, Any]:
    """Return the response object in its present state."""
    return of_turn(turn, Item.objects.filter(turn=turn, output=True).order_by("id"))


def end_of(turn: Turn, number: int) -> Event:
    """Return the final event of a response that has ended, made from its turn's row."""
    response = whole(turn)
    name = response["status"] if f"response.{response['status']}" in ENDS else "incomplete"
    return {"type": f"response.{name}", "response": response, "sequence_number": number}


def ending(turn_id: UUID, number: int) -> News:
    """Return the final event of a response, made from its turn's row.

    There is none while the turn runs, and none for a turn that was deleted.
    """
    turn = Turn.objects.select_related("conversation").filter(pk=turn_id).first()
    if turn is None:
        return News([], over=True)
    return (
        News([], over=False) if turn.status in RUNNING else News([end_of(turn, number)], over=True)
    )


def write(fresh: Sequence[tuple[UUID, list[Event]]]) -> None:
    """Write events, one row for each response; those of deleted responses are left out."""
    there = set(
        Turn.objects.filter(pk__in=[turn_id for turn_id, _ in fresh]).values_list("pk", flat=True)
    )
    EventBatch.objects.bulk_create(
        (
            EventBatch(
                turn_id=turn_id,
                first=events[0]["sequence_number"],
                last=events[-1]["sequence_number"],
                events=events,
            )
            for turn_id, events in fresh
            if turn_id in there
        ),
        update_conflicts=True,  # an earlier write may have succeeded without an answer
        unique_fields=["turn", "first"],
        update_fields=["last", "events"],
    )


# --- read -----------------------------------------------------------------------------------------
def following(turn_id: UUID, number: int) -> list[Event]:
    """Return the events from a number on, as many as AT_ONCE rows hold."""
    rows = EventBatch.objects.filter(turn_id=turn_id, last__gte=number).order_by("first")
    return since(number, rows.values_list("events", flat=True)[:AT_ONCE])


def since(number: int, batches: Iterable[list[Event]]) -> list[Event]:
    return [event for events in batches for event in events if event["sequence_number"] >= number]


def next_number(turn_id: UUID) -> int:
    """Return the number after the highest event that is a row."""
    highest = EventBatch.objects.filter(turn_id=turn_id).aggregate(highest=Max("last"))["highest"]
    return 0 if highest is None else highest + 1


def news(wanted: Mapping[UUID, int]) -> dict[UUID, News]:
    """Return the new events of many responses.

    `wanted` has for each turn the number after its highest known event.
    """
    left = iter(wanted.items())
    found = dict[UUID, News]()
    while some := dict(islice(left, AT_ONCE)):
        turns = {
            turn.pk: as_it_stands(turn) for turn in Turn.objects.filter(pk__in=some)
        }  # read before their events
        asked = reduce(
            or_, (Q(turn_id=turn_id, last__gte=number) for turn_id, number in some.items())
        )
        batches: dict[UUID, list[list[Event]]] = {}
        for turn_id, events in (
            EventBatch.objects.filter(asked).order_by("first").values_list("turn_id", "events")
        ):
            batches.setdefault(turn_id, []).append(events)
        for turn_id, number in some.items():
            fresh = since(number, batches.get(turn_id, ()))
            found[turn_id] = as_far_as_known(turns.get(turn_id), fresh, number)
    return found


def as_far_as_known(turn: Turn | None, fresh: list[Event], number: int) -> News:
    """Return the new events, with a final event added when the turn ended without a stored one.

    The final event is added only LATE_SECONDS after the turn has ended.
    """
    if turn is None or (fresh and fresh[-1]["type"] in ENDS):
        return News(fresh, over=True)
    if turn.status in RUNNING:
        return News(fresh, over=False)
    last = (
        fresh
        or EventBatch.objects.filter(turn=turn)
        .order_by("-first")
        .values_list("events", flat=True)
        .first()
    )
    if last and last[-1]["type"] in ENDS:
        return News(fresh, over=True)
    late = turn.finished_at is None or timezone.now() - turn.finished_at > timedelta(
        seconds=LATE_SECONDS
    )
    if not late:
        return News(fresh, over=False)
    return News(
        [*fresh, end_of(turn, fresh[-1]["sequence_number"] + 1 if fresh else number)], over=True
    )
