"""Read how long answered requests took, for spans of time.

Long spans are read from the counts of whole hours: an hour belongs to the span in which it begins.
For short spans the latest requests of each are looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import connection

from api.models.usage_record import Status
from api.request_ids import first_id_at
from api.usage import rollup_sql
from api.usage.rollup_sql import FOLDED_ROWID, RECORDS
from api.usage.spans import slot_rollups, span_sums
from api.usage.spans.slot_rollups import ANSWER_TIMES, FIRST_BYTE, MEASURES, TOTAL
from api.usage.spans.span_sums import Span
from api.usage.spans.time_buckets import compute_percentile, find_bucket

SAMPLED_REQUESTS = 1_000  # the latest of each short span


@dataclass(slots=True)
class SpanTimes:
    """The answered requests of one span by the bucket of their times."""

    first_byte: dict[int, int] = field(default_factory=dict)
    total: dict[int, int] = field(default_factory=dict)

    def add_count(self, measure: str, bucket: int, requests: int) -> None:
        """Add requests to a bucket."""
        counts = self.first_byte if measure == FIRST_BYTE else self.total
        counts[bucket] = counts.get(bucket, 0) + requests

    def compute_percentile(self, measure: str, share: float) -> float | None:
        """Return the milliseconds that a share of the requests does not exceed, or None."""
        counts = self.first_byte if measure == FIRST_BYTE else self.total
        return compute_percentile(counts, share)


def total_times(parts: Sequence[SpanTimes]) -> SpanTimes:
    """Return the counts of several spans together."""
    sum_of_all = SpanTimes()
    for part in parts:
        for measure, counts in ((FIRST_BYTE, part.first_byte), (TOTAL, part.total)):
            for bucket, requests in counts.items():
                sum_of_all.add_count(measure, bucket, requests)
    return sum_of_all


def read_span_times(spans: Sequence[Span]) -> list[SpanTimes]:
    """Return the answer times of each span from the counts of hours; one statement."""
    found = [SpanTimes() for _ in spans]
    if not spans:
        return found
    dialect = rollup_sql.get_dialect(connection.vendor)
    statement = (
        f"{span_sums.render_spans(dialect, len(spans))} "
        f"SELECT number, measure, bucket, SUM(requests) FROM spans JOIN {ANSWER_TIMES} AS times "
        "ON times.slot >= begin_at AND times.slot < end_at GROUP BY 1, 2, 3"
    )
    if dialect.vendor == "sqlite":
        source = f"(SELECT * FROM {RECORDS} WHERE rowid > {FOLDED_ROWID})"
        statement += (
            " UNION ALL SELECT number, measure, bucket, SUM(requests) "
            f"FROM ({slot_rollups.render_times(dialect, source)}) AS newer "
            "JOIN spans ON newer.slot >= begin_at AND newer.slot < end_at GROUP BY 1, 2, 3"
        )
    with connection.cursor() as cursor:
        cursor.execute(statement, span_sums.list_values(dialect, spans))
        for number, measure, bucket, requests in cursor.fetchall():
            found[number].add_count(measure, bucket, int(requests))
    return found


def read_latest_times(spans: Sequence[Span]) -> list[SpanTimes]:
    """Return the answer times of the latest SAMPLED_REQUESTS requests of each span."""
    return [read_latest_of_span(begin, end) for begin, end in spans]


def read_latest_of_span(begin: datetime, end: datetime) -> SpanTimes:
    """Return the answer times of the latest requests of one span, found by their ids."""
    from api.models import UsageRecord

    records = UsageRecord.objects.filter(
        pk__gte=first_id_at(begin), pk__lt=first_id_at(end), status=Status.COMPLETE
    )
    columns = (*MEASURES.values(), "request_count")
    times = SpanTimes()
    for first_byte_ms, total_ms, count in records.order_by("-pk").values_list(*columns)[
        :SAMPLED_REQUESTS
    ]:
        for measure, milliseconds in ((FIRST_BYTE, first_byte_ms), (TOTAL, total_ms)):
            if milliseconds is not None:
                times.add_count(measure, find_bucket(milliseconds), count)
    return times
