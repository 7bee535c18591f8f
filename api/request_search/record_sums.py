"""The sums of the requests that filters ask for.

Where the roll-ups have them, whole hours come from there and the rest of the span from the records,
so that the sums are exact. Else the records are looked through, as many as may be, and the sums
say from when on they are.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from api.models import Status
from api.request_search.record_search import (
    find_floor,
    has_incomplete_rollups,
    read_time,
    render_scan,
)
from api.request_search.request_filters import RequestFilters, join_conditions, list_conditions
from api.usage import rollup_sql
from api.usage.usage_parameters import ceil_to_hour, floor_to_hour
from api.usage.usage_query import UsageQuery, read_usage

SUMMED_AT_ONCE = 1_000  # records of one step
LATEST_SPAN = timedelta(days=7)  # added up where no begin is asked for
MOST_STATUSES = len(Status.values)
FAILED = (Status.ERROR, Status.TRUNCATED, Status.INTERRUPTED)
# the columns that conditions and sums need
SCANNED_COLUMNS = (
    "id, started_at, key_id, user_id, team_id, provider_id, token_id, endpoint, model, stream, "
    "status, http_status, error_code, client, prompt_tokens, completion_tokens, reasoning_tokens, "
    "cached_tokens, cache_write_tokens, cost_micro_usd, request_count"
)


@dataclass(slots=True)
class RequestSums:
    """The sums of requests; cost in millionths of a USD.

    `begin` is since when they are added up. `is_partial` means that older requests of the span
    were not looked through.
    """

    begin: datetime | None
    end: datetime | None = None
    is_partial: bool = False
    requests: int = 0
    failed: int = 0
    refused: int = 0
    abandoned: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_micro_usd: int = 0
    unknown_cost_requests: int = 0

    def add_status(self, status: str, sums: dict[str, int]) -> None:
        """Add the sums of the requests that ended with this status."""
        self.requests += sums["requests"]
        self.prompt_tokens += sums["prompt_tokens"]
        self.completion_tokens += sums["completion_tokens"]
        self.cost_micro_usd += sums["cost_micro_usd"]
        self.unknown_cost_requests += sums["unknown_cost_requests"]
        if status in FAILED:
            self.failed += sums["requests"]
        elif status == Status.REFUSED:
            self.refused += sums["requests"]
        elif status == Status.ABANDONED:
            self.abandoned += sums["requests"]


def sum_requests(filters: RequestFilters, seconds: float, now: datetime) -> RequestSums:
    """Return the sums of the filters' span; without a begin, of LATEST_SPAN before the end."""
    end = filters.end or ceil_to_hour(now + timedelta(seconds=1))
    spanned = replace(filters, begin=filters.begin or end - LATEST_SPAN, end=end)
    sums = RequestSums(spanned.begin, filters.end)
    if not filters.is_in_rollups or has_incomplete_rollups():
        add_records(sums, spanned, seconds)
        return sums
    begin = spanned.begin or end
    first, last = ceil_to_hour(begin), floor_to_hour(end)
    if first >= last:
        add_records(sums, spanned, seconds)
        return sums
    add_rollups(sums, filters, first, last)
    for edge_begin, edge_end in ((begin, first), (last, end)):
        if edge_begin < edge_end:
            add_records(sums, replace(filters, begin=edge_begin, end=edge_end), seconds)
    sums.begin = spanned.begin
    return sums


def add_rollups(sums: RequestSums, filters: RequestFilters, begin: datetime, end: datetime) -> None:
    """Add the sums of whole hours from the roll-ups."""
    chosen: dict[str, Sequence[Any]] = {column: (value,) for column, value in filters.equal.items()}
    if filters.statuses:
        chosen["status"] = filters.statuses
    query = UsageQuery(("status",), begin, end, MOST_STATUSES, chosen=chosen)
    for group in read_usage(query).groups:
        sums.add_status(str(group.values[0]), group.sums)


def add_records(sums: RequestSums, filters: RequestFilters, seconds: float) -> None:
    """Add the sums of the newest records, and note when time is up before the oldest."""
    until = time.monotonic() + seconds
    cursor: UUID | None = None
    while True:
        add_step(sums, filters, cursor)
        cursor = find_floor(filters, SUMMED_AT_ONCE, before=cursor)
        if cursor is None:
            return
        if time.monotonic() >= until:
            sums.is_partial = True
            sums.begin = read_time(cursor)
            return


def add_step(sums: RequestSums, filters: RequestFilters, before: UUID | None) -> None:
    """Add the sums of the next SUMMED_AT_ONCE records before an id."""
    dialect = rollup_sql.get_dialect(connection.vendor)
    scan = render_scan(filters, (SCANNED_COLUMNS,), SUMMED_AT_ONCE, before=before)
    match = join_conditions(list_conditions(filters))
    columns = ", ".join(
        rollup_sql.render_sum(dialect, value) for value in rollup_sql.SUMMED_VALUES.values()
    )
    statement = (
        f"SELECT status, {columns} FROM ({scan.sql}) AS scanned WHERE {match.sql} GROUP BY status"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, (*scan.values, *match.values))
        for status, *values in cursor.fetchall():
            sums.add_status(status, dict(zip(rollup_sql.SUMS, values, strict=True)))
