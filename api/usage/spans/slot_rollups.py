"""The statements that add usage records to the sums of five minutes and to the answer times."""

from api.models.usage_record import Status
from api.usage.error_origins import render_origin
from api.usage.rollup_sql import Dialect, render_grouped_sums, render_sum, render_upsert
from api.usage.spans.time_buckets import render_bucket

SLOTS = "api_usageslot"
ANSWER_TIMES = "api_answertimes"
SLOT_KEYS = ("slot", "status", "origin")
TIME_KEYS = ("slot", "measure", "bucket")
FIRST_BYTE = "first_byte"
TOTAL = "total"
# how long an answered request took, by measure: the column of usage records
MEASURES = {FIRST_BYTE: "first_byte_ms", TOTAL: "total_ms"}
SLOT_EXPRESSIONS = {
    "sqlite": (
        "substr(started_at, 1, 14) || "
        "substr('0' || (CAST(substr(started_at, 15, 2) AS INTEGER) / 5 * 5), -2) || ':00'"
    ),
    "postgresql": "to_timestamp(floor(extract(epoch FROM started_at) / 300) * 300)",
}


def render_slot_values(dialect: Dialect) -> dict[str, str]:
    """Return the value of a record for each of SLOT_KEYS."""
    values = (SLOT_EXPRESSIONS[dialect.vendor], "status", render_origin())
    return dict(zip(SLOT_KEYS, values, strict=True))


def render_shard_values(dialect: Dialect) -> dict[str, str]:
    """Return the value of a record for each column of the key of slots."""
    return render_slot_values(dialect) | {"shard": dialect.shard}


def render_slots(dialect: Dialect, source: str) -> str:
    """Return the query for the slots that records should have, without shards."""
    return render_grouped_sums(dialect, render_slot_values(dialect), source)


def render_times(dialect: Dialect, source: str, sign: str = "") -> str:
    """Return the query for the answer times of records, grouped by TIME_KEYS."""
    weight = f"{sign} * request_count" if sign else "request_count"
    pieces = " UNION ALL ".join(
        f"SELECT {dialect.hour} AS slot, '{measure}' AS measure, "
        f"{render_bucket(dialect.vendor, column)} AS bucket, {weight} AS weight "
        f"FROM {source} AS records "
        f"WHERE status = '{Status.COMPLETE.value}' AND {column} IS NOT NULL"
        for measure, column in MEASURES.items()
    )
    requests = render_sum(dialect, "weight")
    query = f"SELECT slot, measure, bucket, {requests} AS requests FROM ({pieces}) AS times"
    return f"{query} GROUP BY 1, 2, 3 HAVING SUM(weight) <> 0"


def render_add_times(dialect: Dialect, source: str, sign: str = "") -> str:
    """Return the statement that adds records to the answer times."""
    query = (
        f"SELECT slot, measure, bucket, {dialect.shard}, requests "
        f"FROM ({render_times(dialect, source, sign)}) AS counted WHERE true"
    )
    return render_upsert(ANSWER_TIMES, (*TIME_KEYS, "shard"), ("requests",), query)
