"""Export conversations as a file: JSON lines for programs, or Markdown for people.

JSON lines: each line is one object, and its `object` names its type. A `conversation` comes first,
then each of its turns (`turn`), each followed by its items, one line each: {"object": "item",
"conversation_id", "turn_id", "output", "created_at", "item"}, where `item` has OpenAI's form. Times
are UNIX times. Rows are read in small pages by their keys, never all at once and without a cursor,
so that an export may take as long as its reader needs.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from django.db.models import QuerySet

from conversations.models import Conversation, Item, Turn, TurnStatus
from providers.database.database_threads import LONG

CONVERSATIONS_AT_ONCE = 200
ROWS_AT_ONCE = 20  # an item may hold images
PIECE_BYTES = 65_536
Row = Conversation | Turn | Item


@dataclass(frozen=True, slots=True)
class Form:
    """A format of exports; `write` returns the bytes of one row."""

    content_type: str
    suffix: str
    write: Callable[[Row], bytes]


def pieces(conversations: QuerySet[Conversation], form: Form) -> Iterator[bytes]:
    """Yield the file of these conversations, in pieces of about PIECE_BYTES.

    For a database thread.
    """
    held: list[bytes] = []
    size = 0
    for row in rows(conversations):
        held.append(form.write(row))
        size += len(held[-1])
        if size >= PIECE_BYTES:
            yield b"".join(held)
            held = []
            size = 0
    yield b"".join(held)


async def streamed(conversations: QuerySet[Conversation], form: Form) -> AsyncIterator[bytes]:
    """Yield the same pieces as `pieces`, for the event loop."""
    made = pieces(conversations, form)
    while (piece := await LONG.run(next, made, None)) is not None:
        yield piece


# --- rows -----------------------------------------------------------------------------------------
def rows(conversations: QuerySet[Conversation]) -> Iterator[Row]:
    """Yield each conversation, followed by each of its turns, each followed by its items."""
    for conversation in kept(conversations, "pk", CONVERSATIONS_AT_ONCE):
        yield conversation
        turns = list[Turn]()
        for turn in kept(conversation.turns.all(), "number"):
            turns.append(turn)
            if len(turns) == ROWS_AT_ONCE:
                yield from with_items(turns)
                turns = []
        yield from with_items(turns)


def with_items(turns: Iterable[Turn]) -> Iterator[Row]:
    """Yield each turn followed by its items.

    Item ids follow the order of the turns, because a conversation has one turn at a time.
    """
    left = {turn.pk: turn for turn in turns}
    for item in kept(Item.objects.filter(turn__in=list(left)), "pk"):
        while item.turn_id in left:
            yield left.pop(next(iter(left)))
        yield item
    yield from left.values()


def kept(found: QuerySet[Any], key: str, at_once: int = ROWS_AT_ONCE) -> Iterator[Any]:
    """Yield the rows in the order of the unique `key`, read page by page."""
    found = found.order_by(key)
    page = list(found[:at_once])
    while page:
        yield from page
        if len(page) < at_once:
            return
        page = list(found.filter(**{f"{key}__gt": getattr(page[-1], key)})[:at_once])


# --- JSON lines -----------------------------------------------------------------------------------
def json_line(row: Row) -> bytes:
    if isinstance(row, Item):
        record: dict[str, Any] = {
            "object": "item",
            "conversation_id": row.conversation_id,
            "turn_id": row.turn_id.hex,
            "output": row.output,
            "created_at": unix(row.created_at),
            "item": row.as_openai(),
        }
    else:
        record = of_turn(row) if isinstance(row, Turn) else of_conversation(row)
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def of_conversation(row: Conversation) -> dict[str, Any]:
    return row.as_openai() | {
        "kind": row.kind,
        "name": row.name or None,
        "title": row.title or None,
        "base_turn_id": row.base_id.hex
        if row.base_id
        else None,  # the turn after which it branches off
        "last_used_at": unix(row.used_at),
        "expires_at": unix(row.expires_at),
    }


def of_turn(row: Turn) -> dict[str, Any]:
    plain = (
        "number",
        "door",
        "status",
        "model",
        "stored",
        "metadata",
        "settings",
        "extras",
        "usage",
        "error",
    )
    return {
        "object": "turn",
        "id": row.pk.hex,
        "conversation_id": row.conversation_id,
        **{name: getattr(row, name) for name in plain},
        "finish_reason": row.finish_reason or None,
        "created_at": unix(row.created_at),
        "finished_at": unix(row.finished_at),
    }


def unix(at: datetime | None) -> int | None:
    return int(at.timestamp()) if at else None


# --- Markdown -------------------------------------------------------------------------------------
def markdown(row: Row) -> bytes:
    text = (
        told(row)
        if isinstance(row, Item)
        else headed(row)
        if isinstance(row, Turn)
        else titled(row)
    )
    return f"{text}\n\n".encode()


def titled(row: Conversation) -> str:
    title = " ".join((row.title or row.name or row.pk).split())
    return f"# {title}\n\n`{row.pk}`, begun {when(row.created_at)}, last used {when(row.used_at)}"


def headed(row: Turn) -> str:
    facts = [when(row.created_at), *([f"`{row.model}`"] if row.model else [])]
    if row.status != TurnStatus.COMPLETED:
        facts.append(f"**{row.get_status_display()}**")
    return f"## {row.number}\n\n{', '.join(facts)}"


def told(row: Item) -> str:
    cut = "" if row.status == TurnStatus.COMPLETED else f" ({row.get_status_display()})"
    text = row.text.strip()
    if row.type == "message" and text:
        return f"### {row.role or 'message'}{cut}\n\n{text}"
    if row.type == "reasoning" and text:
        return f"<details><summary>reasoning{cut}</summary>\n\n{text}\n\n</details>"
    whole = orjson.dumps(row.data, option=orjson.OPT_INDENT_2).decode()
    return f"### {row.type.replace('_', ' ')}{cut}\n\n{fenced(text or whole)}"


def fenced(text: str) -> str:
    """Return the text in a code fence that the text cannot close."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"


def when(at: datetime) -> str:
    return at.strftime("%Y-%m-%d %H:%M UTC")


FORMS = {
    "jsonl": Form("application/jsonl", "jsonl", json_line),
    "markdown": Form("text/markdown; charset=utf-8", "md", markdown),
}
