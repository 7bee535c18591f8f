"""Changes of costs that are recorded already: the only place that writes them.

Triggers on an UPDATE of `cost_micro_usd` change the roll-ups in the same transaction
(`api/usage/rollup_triggers.py`). A transaction has one such statement, so that it takes the locks
of the roll-ups in the order in which the ledger takes them.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from api.models import UsageRecord

CHANGES_AT_ONCE = 250  # records that one statement changes


class CostChange(NamedTuple):
    """The cost of a record in micro-USD, before and after; None is unknown."""

    record_id: UUID
    old_micro_usd: int | None
    micro_usd: int | None
    price_id: int | None  # of the new cost

    @property
    def difference_micro_usd(self) -> int:
        """Return how much more it costs; an unknown cost counts as none."""
        return (self.micro_usd or 0) - (self.old_micro_usd or 0)


def apply_cost_changes(changes: Sequence[CostChange]) -> list[CostChange]:
    """Write costs to usage records, and return the changes that were made.

    A record whose cost is not the old one any more is left as it is: another process has just
    changed it.
    """
    made: list[CostChange] = []
    for start in range(0, len(changes), CHANGES_AT_ONCE):
        made += _apply_at_once(changes[start : start + CHANGES_AT_ONCE])
    return made


@transaction.atomic
def _apply_at_once(changes: Sequence[CostChange]) -> list[CostChange]:
    records = UsageRecord.objects.select_for_update().only("id", "cost_micro_usd", "price_id")
    rows = records.in_bulk([change.record_id for change in changes])
    made = [
        change
        for change in changes
        if change.record_id in rows
        and rows[change.record_id].cost_micro_usd == change.old_micro_usd
    ]
    for change in made:
        row = rows[change.record_id]
        row.cost_micro_usd = change.micro_usd
        row.price_id = change.price_id
    UsageRecord.objects.bulk_update(
        [rows[change.record_id] for change in made], ["cost_micro_usd", "price"]
    )
    return made
