"""Budgets of a key, a user or a team: how much is spent and left, for a page."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import QuerySet

from api.limits.caller_limits import Rule, Subject, make_rules
from api.limits.stores.limit_store import Counter
from api.limits.stores.spent_money import ALL_TIME_SLOT, sum_spent
from api.models import LimitSet, Spend, SubjectKind


@dataclass(frozen=True, slots=True)
class BudgetLeft:
    """One budget in millionths of a USD; `resets_at` is None for one without a fixed end."""

    unit: str  # day, month or total
    is_rolling: bool
    amount: int
    spent: int
    resets_at: datetime | None

    @property
    def left(self) -> int:
        return max(0, self.amount - self.spent)

    @property
    def percent(self) -> int:
        """Return how much of the budget is spent, at most 100."""
        return min(100, self.spent * 100 // self.amount) if self.amount else 100


def read_budgets(limits: QuerySet[LimitSet]) -> list[BudgetLeft]:
    """Return the budgets of these limits that are for the subject itself."""
    budgets = []
    for row in limits:
        if row.for_each_end_user:
            continue
        budgets += [read_budget(rule) for rule in make_rules(row, find_subject(row)) if rule.period]
    return budgets


def find_subject(row: LimitSet) -> Subject:
    kinds = ((SubjectKind.KEY, row.key_id), (SubjectKind.USER, row.user_id))
    for kind, subject_id in kinds:
        if subject_id is not None:
            return Subject(kind, subject_id, "")
    return Subject(SubjectKind.TEAM, row.team_id or 0, "")


def read_budget(rule: Rule) -> BudgetLeft:
    """Return one budget with the amount spent of it until now."""
    now = time.time()
    period = rule.period
    if period is None:
        raise ValueError("the rule is about no budget")
    begin, end = period.find_bounds(now)
    counter = Counter(
        rule.subject.kind, rule.subject.id, rule.resource, begin, period.rolling_seconds
    )
    return BudgetLeft(
        period.unit,
        period.is_rolling,
        rule.current_amount(now),
        sum_spent(counter),
        None if end == float("inf") else datetime.fromtimestamp(end, UTC),
    )


def read_total_spend(kind: SubjectKind, ids: Sequence[int]) -> dict[int, int]:
    """Return the amount that each of these subjects has spent in all, in millionths of a USD."""
    rows = Spend.objects.filter(subject_kind=kind, subject_id__in=ids, slot=ALL_TIME_SLOT)
    return dict(rows.values_list("subject_id", "micro_usd")[: len(ids)])
