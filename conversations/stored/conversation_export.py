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
from typing import TypeVar

import orjson
from django.db.models import QuerySet

from conversations.models import Conversation, Item, Turn, TurnStatus
from providers.database.database_threads import LONG
from providers.protocol.json_types import JsonObject

CONVERSATIONS_AT_ONCE = 200
ROWS_AT_ONCE = 20  # an item may hold images
PIECE_BYTES = 65_536
# columns that a turn's record has as they are
TURN_COLUMNS = (
    "number",
    "endpoint",
    "status",
    "model",
    "stored",
    "metadata",
    "settings",
    "extra_fields",
    "usage",
    "error",
)
Row = Conversation | Turn | Item
RowT = TypeVar("RowT", Conversation, Turn, Item)


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A format of exports; `render_row` returns the bytes of one row."""

    content_type: str
    suffix: str
    render_row: Callable[[Row], bytes]


def render_export(
    conversations: QuerySet[Conversation], export_format: ExportFormat
) -> Iterator[bytes]:
    """Yield the file of these conversations, in pieces of about PIECE_BYTES.

    For a database thread.
    """
    piece = bytearray()
    for row in iterate_export_rows(conversations):
        piece += export_format.render_row(row)
        if len(piece) >= PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece)


async def stream_export(
    conversations: QuerySet[Conversation], export_format: ExportFormat
) -> AsyncIterator[bytes]:
    """Yield the same pieces as `render_export`, for the event loop."""
    pieces = render_export(conversations, export_format)
    while (piece := await LONG.run_work(next, pieces, None)) is not None:
        yield piece


# --- rows -----------------------------------------------------------------------------------------
def iterate_export_rows(conversations: QuerySet[Conversation]) -> Iterator[Row]:
    """Yield each conversation, followed by each of its turns, each followed by its items."""
    for conversation in iterate_in_pages(conversations, "pk", CONVERSATIONS_AT_ONCE):
        yield conversation
        turns = list[Turn]()
        for turn in iterate_in_pages(conversation.turns.all(), "number"):
            turns.append(turn)
            if len(turns) == ROWS_AT_ONCE:
                yield from iterate_turns_with_items(turns)
                turns = []
        yield from iterate_turns_with_items(turns)


def iterate_turns_with_items(turns: Iterable[Turn]) -> Iterator[Row]:
    """Yield each turn followed by its items.

    Item ids follow the order of the turns, because a conversation has one turn at a time.
    """
    remaining_turns = {turn.pk: turn for turn in turns}
    items = Item.objects.filter(turn__in=list(remaining_turns))
    for item in iterate_in_pages(items, "pk"):
        while item.turn_id in remaining_turns:
            yield remaining_turns.pop(next(iter(remaining_turns)))
        yield item
    yield from remaining_turns.values()


def iterate_in_pages(
    queryset: QuerySet[RowT], key: str, page_size: int = ROWS_AT_ONCE
) -> Iterator[RowT]:
    """Yield the rows in the order of the unique `key`, read page by page."""
    queryset = queryset.order_by(key)
    page = list(queryset[:page_size])
    while page:
        yield from page
        if len(page) < page_size:
            return
        page = list(queryset.filter(**{f"{key}__gt": getattr(page[-1], key)})[:page_size])


# --- JSON lines -----------------------------------------------------------------------------------
def render_json_line(row: Row) -> bytes:
    if isinstance(row, Item):
        record = make_item_record(row)
    elif isinstance(row, Turn):
        record = make_turn_record(row)
    else:
        record = make_conversation_record(row)
    return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def make_item_record(row: Item) -> JsonObject:
    return {
        "object": "item",
        "conversation_id": row.conversation_id,
        "turn_id": row.turn_id.hex,
        "output": row.output,
        "created_at": to_unix_seconds(row.created_at),
        "item": row.as_openai(),
    }


def make_conversation_record(row: Conversation) -> JsonObject:
    base_turn_id = (
        row.base_turn_id.hex if row.base_turn_id else None
    )  # the turn after which it branches off
    return row.as_openai() | {
        "kind": row.kind,
        "name": row.name or None,
        "title": row.title or None,
        "base_turn_id": base_turn_id,
        "last_used_at": to_unix_seconds(row.used_at),
        "expires_at": to_unix_seconds(row.expires_at),
    }


def make_turn_record(row: Turn) -> JsonObject:
    return {
        "object": "turn",
        "id": row.pk.hex,
        "conversation_id": row.conversation_id,
        **{name: getattr(row, name) for name in TURN_COLUMNS},
        "finish_reason": row.finish_reason or None,
        "created_at": to_unix_seconds(row.created_at),
        "finished_at": to_unix_seconds(row.finished_at),
    }


def to_unix_seconds(time: datetime | None) -> int | None:
    return int(time.timestamp()) if time else None


# --- Markdown -------------------------------------------------------------------------------------
def render_markdown(row: Row) -> bytes:
    if isinstance(row, Item):
        text = render_item_section(row)
    elif isinstance(row, Turn):
        text = render_turn_heading(row)
    else:
        text = render_conversation_heading(row)
    return f"{text}\n\n".encode()


def render_conversation_heading(row: Conversation) -> str:
    title = " ".join((row.title or row.name or row.pk).split())
    created = format_minute(row.created_at)
    used = format_minute(row.used_at)
    return f"# {title}\n\n`{row.pk}`, begun {created}, last used {used}"


def render_turn_heading(row: Turn) -> str:
    facts = [format_minute(row.created_at)]
    if row.model:
        facts.append(f"`{row.model}`")
    if row.status != TurnStatus.COMPLETED:
        facts.append(f"**{row.get_status_display()}**")
    return f"## {row.number}\n\n{', '.join(facts)}"


def render_item_section(row: Item) -> str:
    status = ""
    if row.status != TurnStatus.COMPLETED:
        status = f" ({row.get_status_display()})"
    text = row.text.strip()
    if row.type == "message" and text:
        return f"### {row.role or 'message'}{status}\n\n{text}"
    if row.type == "reasoning" and text:
        return f"<details><summary>reasoning{status}</summary>\n\n{text}\n\n</details>"
    whole = orjson.dumps(row.data, option=orjson.OPT_INDENT_2).decode()
    return f"### {row.type.replace('_', ' ')}{status}\n\n{fence_text(text or whole)}"


def fence_text(text: str) -> str:
    """Return the text in a code fence that the text cannot close."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"


def format_minute(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC")


EXPORT_FORMATS = {
    "jsonl": ExportFormat("application/jsonl", "jsonl", render_json_line),
    "markdown": ExportFormat("text/markdown; charset=utf-8", "md", render_markdown),
}
