"""All requests that filters ask for as CSV, the newest first, made piece by piece."""

import csv
import io
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

from api.models import UsageRecord
from api.request_search.record_search import search_records
from api.request_search.request_filters import RequestFilters
from api.usage.error_origins import find_origin
from api.usage.subject_names import load_names
from api.usage.usage_report import format_moment, format_usd, make_csv_cell
from providers.database.database_threads import LONG

ROWS_OF_A_PIECE = 1_000
SECONDS_OF_A_PIECE = 0.5  # one search of the database; then other work has its turn
NAMED = ("key", "user", "team", "provider", "token")
PLAIN_COLUMNS = (
    "endpoint",
    "model",
    "client",
    "stream",
    "status",
    "http_status",
    "error_code",
    "refused_by",
    "request_count",
    "end_user_id",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "estimated",
    "price_id",
    "queue_ms",
    "connect_ms",
    "first_byte_ms",
    "total_ms",
)
HEAD = (
    "id",
    "started_at",
    *(column for kind in NAMED for column in (f"{kind}_id", kind)),
    *PLAIN_COLUMNS,
    "error_origin",
    "cost_usd",
    "reported_cost_usd",
    "attempts",
)


async def stream_export(filters: RequestFilters, most_rows: int) -> AsyncIterator[bytes]:
    """Yield the same pieces as `render_export`, for the event loop."""
    pieces = render_export(filters, most_rows)
    while (piece := await LONG.run_work(next, pieces, None)) is not None:
        yield piece.encode()


def render_export(filters: RequestFilters, most_rows: int) -> Iterator[str]:
    """Yield the lines of the newest `most_rows` requests; a last line says if there are more."""
    yield render_lines([list(HEAD)])
    before: UUID | None = None
    count = 0
    while True:
        wanted = min(ROWS_OF_A_PIECE, most_rows - count)
        found = search_records(filters, wanted, SECONDS_OF_A_PIECE, before)
        count += len(found.ids)
        yield render_lines(list_rows(found.ids))
        if found.has_more and count >= most_rows:
            yield render_lines([[f"(only the newest {most_rows} requests are in this file)"]])
            return
        if not found.has_more and found.stopped_at is None:
            return
        before = found.ids[-1] if found.has_more else found.stopped_at


def render_lines(rows: list[list[object]]) -> str:
    file = io.StringIO()
    csv.writer(file).writerows([make_csv_cell(value) for value in row] for row in rows)
    return file.getvalue()


def list_rows(ids: list[UUID]) -> list[list[object]]:
    """Return the cells of records in the order of HEAD; names are loaded together."""
    records = UsageRecord.objects.in_bulk(ids)
    names = {
        kind: load_names(kind, {getattr(one, f"{kind}_id") for one in records.values()} - {None})
        for kind in NAMED
    }
    return [list_cells(records[pk], names) for pk in ids if pk in records]


def list_cells(record: UsageRecord, names: dict[str, dict[object, str]]) -> list[object]:
    cells: list[object] = [str(record), format_moment(record.started_at)]
    for kind in NAMED:
        row_id = getattr(record, f"{kind}_id")
        cells += ["", ""] if row_id is None else [str(row_id), names[kind].get(row_id, "")]
    cells += [getattr(record, column) for column in PLAIN_COLUMNS]
    cells.append(find_origin(record.status, record.http_status, record.error_code))
    for micro_usd in (record.cost_micro_usd, record.reported_cost_micro_usd):
        cells.append("" if micro_usd is None else format_usd(micro_usd))
    return [*cells, len(record.attempts)]
