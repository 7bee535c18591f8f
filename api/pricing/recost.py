"""Compute the costs of recorded requests anew, with the prices that are in the database now."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from api.models import UsageRecord
from api.models.usage_record import BATCH_CLIENT
from api.pricing import recorded_calls
from api.pricing.cost_changes import CostChange, apply_cost_changes
from api.pricing.price_directory import PriceDirectory, read_directory
from api.pricing.request_cost import AnsweredCall, sum_call_costs
from api.request_ids import first_id_at

SLICE_ROWS = 1_000
# a request gets its id a moment before it begins, and clocks of machines differ
ID_MARGIN = timedelta(minutes=5)
COLUMNS = (
    "id",
    "started_at",
    "model",
    "client",
    "cost_micro_usd",
    "price_id",
    *recorded_calls.COLUMNS,
)


@dataclass(frozen=True, slots=True)
class RecostRange:
    """The records to look at: begun from `start` on and before `end`.

    With `provider_id`, those that this provider answered. With `model`, those whose caller named
    it, or with a call of an upstream model of this name.
    """

    start: datetime
    end: datetime
    provider_id: int | None = None
    model: str = ""

    def has_model(self, record: Mapping[str, Any], calls: list[AnsweredCall]) -> bool:
        """Return whether a record of this range is about the model."""
        names = (record["model"], *(call.upstream_model for call in calls))
        return not self.model or self.model in names


@dataclass(slots=True)
class RecostReport:
    """The numbers of a run; `untold_records` do not say which call took which tokens."""

    read_records: int = 0
    changed_records: int = 0
    untold_records: int = 0
    difference_micro_usd: int = 0


def update_costs(wanted: RecostRange, *, dry_run: bool = False) -> RecostReport:
    """Write the costs that differ from those computed now, in slices; with `dry_run` write none."""
    prices = read_directory()
    report = RecostReport()
    for records in read_slices(wanted):
        changes = find_changes(records, wanted, prices, report)
        if not dry_run:
            changes = apply_cost_changes(changes)
        report.changed_records += len(changes)
        report.difference_micro_usd += sum(change.difference_micro_usd for change in changes)
    return report


def read_slices(wanted: RecostRange) -> Iterator[list[dict[str, Any]]]:
    """Yield the records of a range in slices, as COLUMNS, in the order of their ids."""
    records = UsageRecord.objects.filter(
        started_at__gte=wanted.start,
        started_at__lt=wanted.end,
        pk__lt=first_id_at(wanted.end + ID_MARGIN),
    )
    if wanted.provider_id is not None:
        records = records.filter(provider_id=wanted.provider_id)
    rest = records.filter(pk__gte=first_id_at(wanted.start - ID_MARGIN))
    while rows := list(rest.order_by("pk").values(*COLUMNS)[:SLICE_ROWS]):
        yield rows
        rest = records.filter(pk__gt=rows[-1]["id"])


def find_changes(
    records: list[dict[str, Any]],
    wanted: RecostRange,
    prices: PriceDirectory,
    report: RecostReport,
) -> list[CostChange]:
    """Return the changes of a slice of records; add to the report what was read."""
    changes = []
    for record in records:
        calls = recorded_calls.read_answered_calls(record)
        if not wanted.has_model(record, calls or []):
            continue
        report.read_records += 1
        if calls is None:
            report.untold_records += 1
            continue
        cost = sum_call_costs(
            calls, prices, record["started_at"], is_batch=record["client"] == BATCH_CLIENT
        )
        if cost != (record["cost_micro_usd"], record["price_id"]):
            changes.append(CostChange(record["id"], record["cost_micro_usd"], *cost))
    return changes
