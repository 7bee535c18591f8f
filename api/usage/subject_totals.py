"""The usage of one API key, user or team in the last days, for its page in the admin."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Sum

from api.models import Status, Team, UsageDay
from api.models.team import DEEPEST_TEAM

SPANS = (("today", 0), ("last 7 days", 6), ("last 30 days", 29))  # days before today, in UTC
SUMMED = ("requests", "prompt_tokens", "completion_tokens", "cost_micro_usd")


@dataclass(frozen=True, slots=True)
class SubjectTotals:
    """The sums of a span of days; `unknown_cost_requests` are not in the cost."""

    span: str
    requests: int
    refused_requests: int
    tokens: int
    cost_micro_usd: int
    unknown_cost_requests: int


def read_subject_totals(column: str, ids: Collection[int]) -> list[SubjectTotals]:
    """Return the sums of SPANS of these keys, users or teams; `column` is that of the roll-ups."""
    return [read_span(column, ids, span, days) for span, days in SPANS]


def read_span(column: str, ids: Collection[int], span: str, days: int) -> SubjectTotals:
    begin = datetime.now(UTC).date() - timedelta(days=days)
    rows = UsageDay.objects.filter(**{f"{column}__in": ids}, slot__gte=begin)
    answered = rows.exclude(status=Status.REFUSED)
    sums = answered.aggregate(
        **{name: Sum(name, default=0) for name in (*SUMMED, "unknown_cost_requests")}
    )
    refused = rows.filter(status=Status.REFUSED).aggregate(sum=Sum("requests", default=0))
    return SubjectTotals(
        span,
        sums["requests"],
        refused["sum"],
        sums["prompt_tokens"] + sums["completion_tokens"],
        sums["cost_micro_usd"],
        sums["unknown_cost_requests"],
    )


def list_teams_within(team: Team) -> list[int]:
    """Return the ids of a team and of all teams that are part of it."""
    found = [team.pk]
    level = [team.pk]
    for _ in range(DEEPEST_TEAM):
        level = list(Team.objects.filter(parent__in=level).values_list("pk", flat=True))
        found += level
    return found
