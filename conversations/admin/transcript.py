"""The readable transcript on the page of a conversation.

The page shows the last turns (`TURNS_SHOWN`); a link leads to older ones. The texts come from
strangers, so templates and `format_html` escape them; very long ones are cut by the database.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import orjson
from django.db.models.functions import Left, Length
from django.utils import timezone
from django.utils.safestring import SafeString

from conversations.models import RUNNING_STATUSES, Item, Turn, TurnStatus
from providers.admin.big_tables import render_badge
from providers.integers import parse_integer
from providers.protocol.json_types import JsonObject

TURNS_SHOWN = 50
LAST_NUMBER = 999_999_999  # of a turn
SHOWN_CHARS = 20_000  # of one item
COLOURS = {TurnStatus.COMPLETED: "good", TurnStatus.INCOMPLETE: "wait", TurnStatus.FAILED: "bad"}
Context = dict[str, Any]  # values for the template


class Transcript:
    """Some turns of a conversation for the template, in their order.

    With `before`, they are the turns before the turn of that number.
    """

    def __init__(self, conversation_id: str, before: str) -> None:
        turns = Turn.objects.filter(conversation=conversation_id).order_by("-number")
        before_number = parse_integer(before, 0, LAST_NUMBER)
        if before_number is not None:
            turns = turns.filter(number__lt=before_number)
        newest_first = list(turns[: TURNS_SHOWN + 1])
        shown_turns = newest_first[:TURNS_SHOWN][::-1]
        self.oldest_number: int | None = None  # None when there are no older turns
        if len(newest_first) > TURNS_SHOWN:
            self.oldest_number = shown_turns[0].number
        self.is_newest = not before
        items = list_items_by_turn(shown_turns)
        self.turns = [describe_turn(turn, items[turn.pk]) for turn in shown_turns]


def list_items_by_turn(turns: Iterable[Turn]) -> Mapping[UUID, list[Context]]:
    """Return the turns' items for the template; items without text show their data."""
    rows = Item.objects.filter(turn__in=[turn.pk for turn in turns]).order_by("pk")
    cut_rows = rows.annotate(chars=Length("text"), cut_text=Left("text", SHOWN_CHARS))
    data_by_id = dict(rows.filter(text="").values_list("pk", "data"))
    items_by_turn: defaultdict[UUID, list[Context]] = defaultdict(list)
    for row in cut_rows.defer("text", "data"):
        text = row.cut_text or indent_json(data_by_id.get(row.pk))[:SHOWN_CHARS]
        hidden_chars = max(0, row.chars - SHOWN_CHARS)
        items_by_turn[row.turn_id].append(describe_item(row, text, hidden_chars))
    return items_by_turn


def describe_item(item: Item, text: str, hidden_chars: int) -> Context:
    """Return the values of an item for the template."""
    return {
        "type": item.type,
        "label": item.role if item.type == "message" else item.type.replace("_", " "),
        "text": text,
        "more": hidden_chars,
        "status": render_unusual_status(item.status),
        "side": "output" if item.output else "input",
    }


def describe_turn(turn: Turn, items: list[Context]) -> Context:
    """Return the values of a turn for the template."""
    extra_fields: JsonObject = {**turn.extra_fields, **turn.thinking}
    candidates = wrap_in_list(extra_fields.pop("candidates", None))
    return {
        "turn": turn,
        "request": f"req_{turn.pk.hex}",
        "at": timezone.localtime(turn.created_at),
        "status": render_unusual_status(turn.status),
        "seconds": measure_seconds(turn),
        "tokens": describe_usage(turn.usage),
        "error": turn.error or {},
        "items": items,
        "framework": extra_fields.pop("framework", ""),
        "steps": list_step_objects(extra_fields.pop("steps", None)),
        "candidates": [str(draft)[:SHOWN_CHARS] for draft in candidates],
        "extra_fields": indent_json(extra_fields)[:SHOWN_CHARS],
    }


def measure_seconds(turn: Turn) -> float | None:
    """Return how long the answer of a model took, None when there is none."""
    if turn.finished_at is None or not turn.model:
        return None
    return (turn.finished_at - turn.created_at).total_seconds()


def describe_usage(usage: JsonObject | None) -> str:
    """Return the prompt and completion tokens, empty when they are unknown."""
    if not usage:
        return ""
    return f"{usage.get('prompt_tokens')} / {usage.get('completion_tokens')}"


def list_step_objects(steps: object) -> list[object]:
    """Return the steps as objects with title, content and seconds; anything else as it is."""
    return [
        step if isinstance(step, dict) else {"title": "", "content": step}
        for step in wrap_in_list(steps)
    ]


def wrap_in_list(value: object) -> list[object]:
    """Return the value as a list, whatever it is; an empty one as an empty list."""
    if isinstance(value, list):
        return value
    return [value] if value else []


def render_unusual_status(status: str) -> SafeString | str:
    """Return a badge for a status, and nothing for `completed`, the usual one."""
    if status == TurnStatus.COMPLETED:
        return ""
    colour = COLOURS.get(TurnStatus(status), "off")
    if status in RUNNING_STATUSES:
        colour = "wait"
    return render_badge(colour, TurnStatus(status).label)


def indent_json(data: object) -> str:
    return orjson.dumps(data, option=orjson.OPT_INDENT_2).decode() if data else ""
