"""A user's requests as CSV, read page by page, so that no download is whole in memory."""

import csv
import io
from collections.abc import AsyncIterator, Iterable, Iterator

from django.conf import settings
from django.db.models import QuerySet

from api.models import UsageRecord
from api.usage.usage_report import format_moment, format_usd, make_csv_cell
from providers.database.database_threads import LONG

ROWS_AT_ONCE = 1_000
COLUMNS = (
    "request",
    "started_at",
    "endpoint",
    "model",
    "key",
    "status",
    "http_status",
    "error_code",
    "refused_by",
    "request_count",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "cost_usd",
    "first_byte_ms",
    "total_ms",
)


def make_cells(record: UsageRecord) -> list[object]:
    """Return the cells of one request, as COLUMNS names them."""
    cost = record.cost_micro_usd
    values: list[object] = [
        str(record),
        format_moment(record.started_at),
        record.endpoint,
        record.model,
        record.key.prefix if record.key is not None else "",
        record.status,
        record.http_status,
        record.error_code,
        record.refused_by,
        record.request_count,
        record.prompt_tokens,
        record.completion_tokens,
        record.reasoning_tokens,
        record.cached_tokens,
        None if cost is None else format_usd(cost),
        record.first_byte_ms,
        record.total_ms,
    ]
    return [make_csv_cell(value) for value in values]


def render_csv_pieces(records: "QuerySet[UsageRecord]") -> Iterator[bytes]:
    """Yield the file in pieces; PORTAL_CSV_ROWS lines at most. For a database thread."""
    yield render_lines([COLUMNS])
    rows_left = settings.PORTAL_CSV_ROWS
    page = read_page(records, rows_left)
    while page:
        yield render_lines(map(make_cells, page))
        rows_left -= len(page)
        if len(page) < ROWS_AT_ONCE or not rows_left:
            return
        page = read_page(records.filter(pk__lt=page[-1].pk), rows_left)


def read_page(records: "QuerySet[UsageRecord]", most_rows: int) -> list[UsageRecord]:
    return list(records.select_related("key")[: min(ROWS_AT_ONCE, most_rows)])


def render_lines(lines: "Iterable[Iterable[object]]") -> bytes:
    file = io.StringIO()
    csv.writer(file).writerows(lines)
    return file.getvalue().encode()


async def stream_csv(records: "QuerySet[UsageRecord]") -> AsyncIterator[bytes]:
    """Yield the same pieces, for the event loop."""
    pieces = render_csv_pieces(records)
    while (piece := await LONG.run_work(next, pieces, None)) is not None:
        yield piece
