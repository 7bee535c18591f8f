"""Roll-ups as the tests read them, and the sums of the records that they should equal."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from api.models import Spend, Team, UsageDay, UsageHour, UsageHourTotal, UsageRecord
from api.models.usage_rollup import NIL_UUID, ROLLUP_KEYS
from api.usage import reconciliation
from api.usage.rollup_sql import SUMS, TOTAL_SLOT

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
        is_unknown = record.cost_micro_usd is None and record.status != "refused"
        rows.setdefault(key, Counter()).update(
            requests=record.request_count,
            prompt_tokens=record.prompt_tokens,
            completion_tokens=record.completion_tokens,
            reasoning_tokens=record.reasoning_tokens,
            cached_tokens=record.cached_tokens,
            cache_write_tokens=record.cache_write_tokens,
            cost_micro_usd=record.cost_micro_usd or 0,
            unknown_cost_requests=record.request_count * is_unknown,
        )
    return rows


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
