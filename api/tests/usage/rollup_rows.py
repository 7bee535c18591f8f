"""Roll-ups as the tests read them, and the sums of the records that they should equal."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from api.models import (
    AnswerTimes,
    Spend,
    Team,
    UsageDay,
    UsageHour,
    UsageHourTotal,
    UsageRecord,
    UsageSlot,
)
from api.models.usage_rollup import NIL_UUID, ROLLUP_KEYS
from api.usage import reconciliation
from api.usage.error_origins import find_origin
from api.usage.rollup_sql import SUMS, TOTAL_SLOT
from api.usage.spans.time_buckets import find_bucket

Sums = dict[tuple[Any, ...], Counter[str]]
TOTAL = datetime.fromisoformat(TOTAL_SLOT).replace(tzinfo=UTC)


def read_rollups(model: type[UsageHour] | type[UsageDay]) -> Sums:
    """Return the rows of hours or days that are not all zero."""
    rows: Sums = {}
    for row in model.objects.values(*ROLLUP_KEYS, *SUMS):
        sums = Counter({name: row[name] for name in SUMS})
        if any(sums.values()):
            rows[tuple(row[name] for name in ROLLUP_KEYS)] = sums
    return rows


def sum_records(records: list[UsageRecord], *, by_day: bool = False) -> Sums:
    """Return the sums of records in plain Python."""
    rows: Sums = {}
    for record in records:
        begin = record.started_at.replace(minute=0, second=0, microsecond=0)
        key = (
            begin.date() if by_day else begin,
            record.key_id or 0,
            record.user_id or 0,
            record.team_id or 0,
            record.model,
            record.provider_id or 0,
            record.token_id or NIL_UUID,
            record.status,
        )
        rows.setdefault(key, Counter()).update(list_values(record))
    return rows


def list_values(record: UsageRecord) -> dict[str, int]:
    """Return the values of one record for each of SUMS."""
    is_unknown = record.cost_micro_usd is None and record.status != "refused"
    return {
        "requests": record.request_count,
        "prompt_tokens": record.prompt_tokens,
        "completion_tokens": record.completion_tokens,
        "reasoning_tokens": record.reasoning_tokens,
        "cached_tokens": record.cached_tokens,
        "cache_write_tokens": record.cache_write_tokens,
        "cost_micro_usd": record.cost_micro_usd or 0,
        "unknown_cost_requests": record.request_count * is_unknown,
    }


def read_slots() -> Sums:
    """Return the sums of five minutes, those of all shards together."""
    rows: Sums = {}
    for row in UsageSlot.objects.values("slot", "status", "origin", *SUMS):
        sums = {name: row[name] for name in SUMS}
        key = (row["slot"], row["status"], row["origin"])
        rows.setdefault(key, Counter()).update(sums)
    return {key: sums for key, sums in rows.items() if any(sums.values())}


def sum_slots(records: list[UsageRecord]) -> Sums:
    rows: Sums = {}
    for record in records:
        minute = record.started_at.minute // 5 * 5
        slot = record.started_at.replace(minute=minute, second=0, microsecond=0)
        origin = find_origin(record.status, record.http_status, record.error_code)
        rows.setdefault((slot, record.status, origin), Counter()).update(list_values(record))
    return rows


def read_answer_times() -> Counter[tuple[datetime, str, int]]:
    counts: Counter[tuple[datetime, str, int]] = Counter()
    for slot, measure, bucket, requests in AnswerTimes.objects.values_list(
        "slot", "measure", "bucket", "requests"
    ):
        counts[slot, measure, bucket] += requests
    return +counts


def count_answer_times(records: list[UsageRecord]) -> Counter[tuple[datetime, str, int]]:
    counts: Counter[tuple[datetime, str, int]] = Counter()
    for record in records:
        slot = record.started_at.replace(minute=0, second=0, microsecond=0)
        times = {"first_byte": record.first_byte_ms, "total": record.total_ms}
        for measure, milliseconds in times.items():
            if record.status == "complete" and milliseconds is not None:
                counts[slot, measure, find_bucket(milliseconds)] += record.request_count
    return counts


def read_spend() -> dict[tuple[str, int, datetime], int]:
    rows = Spend.objects.values_list("subject_kind", "subject_id", "slot", "micro_usd")
    return {(kind, subject, slot): micro for kind, subject, slot, micro in rows if micro}


def sum_spend(records: list[UsageRecord]) -> dict[tuple[str, int, datetime], int]:
    """Return what each subject spent, in plain Python."""
    parents = dict(Team.objects.values_list("pk", "parent_id"))
    spent: Counter[tuple[str, int, datetime]] = Counter()
    for record in records:
        minute = record.started_at.minute // 15 * 15
        slot = record.started_at.replace(minute=minute, second=0, microsecond=0)
        subjects = [("key", record.key_id), ("user", record.user_id)]
        subjects.append(("end_user", record.end_user_id))
        team = record.team_id
        while team is not None:
            subjects.append(("team", team))
            team = parents.get(team)
        for kind, subject in subjects:
            if subject is not None:
                spent[kind, subject, slot] += record.cost_micro_usd or 0
                spent[kind, subject, TOTAL] += record.cost_micro_usd or 0
    return {key: micro for key, micro in spent.items() if micro}


def read_hour_totals() -> Sums:
    rows: Sums = {}
    for row in UsageHourTotal.objects.values("slot", "status", *SUMS):
        sums = {name: row[name] for name in SUMS}
        rows.setdefault((row["slot"], row["status"]), Counter()).update(sums)
    return {key: sums for key, sums in rows.items() if any(sums.values())}


def total_hours(hours: Sums) -> Sums:
    rows: Sums = {}
    for (slot, *_, status), sums in hours.items():
        rows.setdefault((slot, status), Counter()).update(sums)
    return rows


def check_rollups(records: list[UsageRecord] | None = None) -> None:
    """Fail unless the roll-ups equal the sums of the records: of all there are, or of these."""
    if records is None:
        records = list(UsageRecord.objects.all())
        differences = reconciliation.compare_rollups(*reconciliation.find_records_span())
        assert differences.count == 0, differences
    assert read_rollups(UsageHour) == sum_records(records)
    assert read_hour_totals() == total_hours(sum_records(records))
    assert read_rollups(UsageDay) == sum_records(records, by_day=True)
    assert read_spend() == sum_spend(records)
    assert read_slots() == sum_slots(records)
    assert read_answer_times() == count_answer_times(records)
