"""The rows of a response: its object, its events, and a final event where none was stored.

The functions here run in a database thread.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from itertools import islice
from operator import or_
from typing import NamedTuple
from uuid import UUID

from django.db.models import Max, Q
from django.utils import timezone

from api.responses.output.objects import build_turn_response
from api.responses.output.part_events import FINAL_EVENT_TYPES, Event
from conversations.history.dead_turns import show_present_status
from conversations.models import RUNNING_STATUSES, EventBatch, Item, Turn
from providers.protocol.json_types import JsonObject

FINAL_EVENT_WAIT_SECONDS = 1.0  # after it, the last events of an ended turn are rows or lost
ROWS_AT_ONCE = 100  # rows and turns read with one statement


class NewEvents(NamedTuple):
    """The new events of a response; `is_over` means that no more will come."""

    events: list[Event]
    is_over: bool


def load_response_object(turn: Turn) -> JsonObject:
    """Return the response object in its present state."""
    return build_turn_response(turn, Item.objects.filter(turn=turn, output=True).order_by("id"))


def build_final_event(turn: Turn, sequence_number: int) -> Event:
    """Return the final event of a response that has ended, made from its turn's row."""
    response = load_response_object(turn)
    event_type = f"response.{response['status']}"
    if event_type not in FINAL_EVENT_TYPES:
        event_type = "response.incomplete"
    return {"type": event_type, "response": response, "sequence_number": sequence_number}


def load_final_event(turn_id: UUID, sequence_number: int) -> NewEvents:
    """Return the final event of a response, made from its turn's row.

    There is none while the turn runs, and none for a turn that was deleted.
    """
    turn = Turn.objects.select_related("conversation").filter(pk=turn_id).first()
    if turn is None:
        return NewEvents([], is_over=True)
    if turn.status in RUNNING_STATUSES:
        return NewEvents([], is_over=False)
    return NewEvents([build_final_event(turn, sequence_number)], is_over=True)


def write_event_batches(events_by_turn: Sequence[tuple[UUID, list[Event]]]) -> None:
    """Write events, one row for each response; those of deleted responses are left out."""
    turns = Turn.objects.filter(pk__in=[turn_id for turn_id, _ in events_by_turn])
    existing_ids = set(turns.values_list("pk", flat=True))
    EventBatch.objects.bulk_create(
        (
            EventBatch(
                turn_id=turn_id,
                first_number=events[0]["sequence_number"],
                last_number=events[-1]["sequence_number"],
                events=events,
            )
            for turn_id, events in events_by_turn
            if turn_id in existing_ids
        ),
        update_conflicts=True,  # an earlier write may have succeeded without an answer
        unique_fields=["turn", "first_number"],
        update_fields=["last_number", "events"],
    )


# --- read -----------------------------------------------------------------------------------------
def load_events_from(turn_id: UUID, first_number: int) -> list[Event]:
    """Return the events from a number on, as many as ROWS_AT_ONCE rows hold."""
    rows = EventBatch.objects.filter(turn_id=turn_id, last_number__gte=first_number).order_by(
        "first_number"
    )
    return select_events_from(first_number, rows.values_list("events", flat=True)[:ROWS_AT_ONCE])


def select_events_from(first_number: int, batches: Iterable[list[Event]]) -> list[Event]:
    return [
        event for events in batches for event in events if event["sequence_number"] >= first_number
    ]


def find_next_number(turn_id: UUID) -> int:
    """Return the number after the highest event that is a row."""
    highest = EventBatch.objects.filter(turn_id=turn_id).aggregate(highest=Max("last_number"))[
        "highest"
    ]
    return 0 if highest is None else highest + 1


def load_new_events(next_numbers: Mapping[UUID, int]) -> dict[UUID, NewEvents]:
    """Return the new events of many responses.

    `next_numbers` has for each turn the number after its highest known event.
    """
    numbers = iter(next_numbers.items())
    new_events: dict[UUID, NewEvents] = {}
    while some_numbers := dict(islice(numbers, ROWS_AT_ONCE)):
        new_events |= load_some_new_events(some_numbers)
    return new_events


def load_some_new_events(next_numbers: Mapping[UUID, int]) -> dict[UUID, NewEvents]:
    """Return the new events of as many responses as one statement may name.

    Turns are read before their events, so that no event is missed that came just before the end.
    """
    turns = {
        turn.pk: show_present_status(turn) for turn in Turn.objects.filter(pk__in=next_numbers)
    }
    has_new_events = reduce(
        or_,
        (Q(turn_id=turn_id, last_number__gte=number) for turn_id, number in next_numbers.items()),
    )
    rows = EventBatch.objects.filter(has_new_events).order_by("first_number")
    batches: dict[UUID, list[list[Event]]] = {}
    for turn_id, events in rows.values_list("turn_id", "events"):
        batches.setdefault(turn_id, []).append(events)
    return {
        turn_id: complete_new_events(
            turns.get(turn_id), select_events_from(number, batches.get(turn_id, ())), number
        )
        for turn_id, number in next_numbers.items()
    }


def complete_new_events(turn: Turn | None, new_events: list[Event], first_number: int) -> NewEvents:
    """Return the new events, with a final event added when the turn ended without a stored one.

    The final event is added only FINAL_EVENT_WAIT_SECONDS after the turn has ended.
    """
    if turn is None or has_final_event(new_events):
        return NewEvents(new_events, is_over=True)
    if turn.status in RUNNING_STATUSES:
        return NewEvents(new_events, is_over=False)
    if not new_events and has_final_event(load_last_events(turn)):
        return NewEvents([], is_over=True)
    if turn.finished_at is not None:
        seconds_since = (timezone.now() - turn.finished_at).total_seconds()
        if seconds_since <= FINAL_EVENT_WAIT_SECONDS:
            return NewEvents(new_events, is_over=False)
    next_number = first_number
    if new_events:
        next_number = new_events[-1]["sequence_number"] + 1
    return NewEvents([*new_events, build_final_event(turn, next_number)], is_over=True)


def has_final_event(events: list[Event]) -> bool:
    return bool(events) and events[-1]["type"] in FINAL_EVENT_TYPES


def load_last_events(turn: Turn) -> list[Event]:
    """Return the events of a turn's last row."""
    batches = EventBatch.objects.filter(turn=turn).order_by("-first_number")
    return batches.values_list("events", flat=True).first() or []
