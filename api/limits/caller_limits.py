"""The limits that hold for a caller, read with its API key.

They are those of the key, of its user, of the user's team and of the teams above it. A caller whom
nothing limits has no `CallerLimits`, and its requests pay nothing for limits.
"""

import ipaddress
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from django.db.models import Q

from api.limits.budget_periods import BudgetPeriod
from api.models import BudgetWindow, LimitSet, Team
from api.models.team import list_parents

MICRO_USD = 1_000_000  # per USD
HIGHEST_COUNT = 10**12  # of a limit; nobody reaches it, and sums of it fit into 64 bits
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Resource(StrEnum):
    """A limited quantity; the values are columns of LimitSet, which refusals and records show."""

    REQUESTS = "requests_per_minute"
    TOKENS = "tokens_per_minute"
    CONCURRENCY = "concurrent_requests"
    DAY_BUDGET = "day_budget_usd"
    MONTH_BUDGET = "month_budget_usd"
    TOTAL_BUDGET = "total_budget_usd"


BUDGETS = (Resource.DAY_BUDGET, Resource.MONTH_BUDGET, Resource.TOTAL_BUDGET)
WINDOWED = (Resource.REQUESTS, Resource.TOKENS)  # counted in the last 60 seconds


@dataclass(frozen=True, slots=True)
class Subject:
    """Somebody with limits: `kind` is key, user, team or end_user; `text` names it to callers."""

    kind: str
    id: int
    text: str
    key_id: int | None = None  # of an end user


@dataclass(frozen=True, slots=True, eq=False)
class Rule:
    """One limit of a subject: at most `amount` of a resource; money is in millionths of a USD.

    A rule equals itself only, so that looking one up is cheap.
    """

    subject: Subject
    resource: Resource
    amount: int
    period: BudgetPeriod | None = None  # of budgets
    raise_amount: int = 0
    raise_until: float = 0.0  # UNIX time

    def current_amount(self, now: float) -> int:
        """Return the amount at a UNIX time, with the raise while it lasts."""
        if self.raise_until > now:
            return self.amount + self.raise_amount
        return self.amount


@dataclass(frozen=True, slots=True)
class AccessRules:
    """The models, endpoints and addresses that a subject may use, and until when; empty: all."""

    subject: Subject
    models: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()
    expires_timestamp: float = float("inf")

    @property
    def is_open(self) -> bool:
        """Return whether nothing is forbidden."""
        narrows = self.models or self.endpoints or self.networks
        return not narrows and self.expires_timestamp == float("inf")


@dataclass(frozen=True, slots=True)
class CallerLimits:
    """All limits of a caller. `end_user` are those that each end user of the key has."""

    rules: tuple[Rule, ...] = ()
    access: tuple[AccessRules, ...] = ()
    end_user: LimitSet | None = field(default=None, compare=False)
    windowed: tuple[tuple[Rule, ...], ...] = field(init=False)  # by resource, as in WINDOWED

    def __post_init__(self) -> None:
        windowed = tuple(
            tuple(rule for rule in self.rules if rule.resource is resource) for resource in WINDOWED
        )
        object.__setattr__(self, "windowed", windowed)

    def list_end_user_rules(self, end_user_id: int, key_id: int) -> tuple[Rule, ...]:
        """Return the rules of one end user of the key; `end_user_id` comes from `end_users.py`."""
        if self.end_user is None:
            return ()
        subject = Subject("end_user", end_user_id, "this end user of the API key", key_id=key_id)
        return tuple(make_rules(self.end_user, subject))


def load_caller_limits(
    key_id: int, user_id: int, prefix: str, username: str, team_id: int | None
) -> CallerLimits | None:
    """Return the limits of a key's caller, or None when there are none; runs in a database thread.

    `team_id` is the team of the user.
    """
    teams = list_team_chain(team_id)
    rows = LimitSet.objects.filter(
        Q(key=key_id) | Q(user=user_id) | Q(team__in=[team.pk for team in teams])
    )
    names = {team.pk: team.name for team in teams}
    rules: list[Rule] = []
    access: list[AccessRules] = []
    end_user = None
    for row in rows:
        if row.for_each_end_user:
            end_user = row
            continue
        subject = find_subject(row, prefix, username, names)
        rules += make_rules(row, subject)
        access_rules = make_access_rules(row, subject)
        if not access_rules.is_open:
            access.append(access_rules)
    if not rules and not access and end_user is None:
        return None
    return CallerLimits(tuple(rules), tuple(access), end_user)


def list_team_chain(team_id: int | None) -> list[Team]:
    """Return a team and the teams above it."""
    if team_id is None:
        return []
    team = Team.objects.filter(pk=team_id).first()
    return [] if team is None else [team, *list_parents(team)]


def find_subject(row: LimitSet, prefix: str, username: str, teams: dict[int, str]) -> Subject:
    """Return the subject of a row that limits a key, its user or one of these teams."""
    if row.team_id is not None:
        return Subject("team", row.team_id, f"the team {teams[row.team_id]}")
    if row.user_id is not None:
        return Subject("user", row.user_id, f"the user {username}")
    return Subject("key", row.key_id or 0, f"the API key {prefix}…")


def make_rules(row: LimitSet, subject: Subject) -> Iterable[Rule]:
    """Yield the rules of a row: one for each quantity that it limits."""
    counts = (
        (Resource.REQUESTS, row.requests_per_minute),
        (Resource.TOKENS, row.tokens_per_minute),
        (Resource.CONCURRENCY, row.concurrent_requests),
    )
    for resource, count in counts:
        if count is not None:
            yield Rule(subject, resource, min(count, HIGHEST_COUNT))
    budgets: Sequence[tuple[Resource, Decimal | None]] = (
        (Resource.DAY_BUDGET, row.day_budget_usd),
        (Resource.MONTH_BUDGET, row.month_budget_usd),
        (Resource.TOTAL_BUDGET, row.total_budget_usd),
    )
    is_rolling = row.budget_window == BudgetWindow.ROLLING
    for resource, usd in budgets:
        if usd is not None:
            yield Rule(
                subject,
                resource,
                to_micro_usd(usd),
                BudgetPeriod(resource.removesuffix("_budget_usd"), row.time_zone, is_rolling),
                to_micro_usd(row.raise_usd or Decimal(0)),
                row.raise_until.timestamp() if row.raise_until else 0.0,
            )


def make_access_rules(row: LimitSet, subject: Subject) -> AccessRules:
    return AccessRules(
        subject,
        tuple(row.allowed_models),
        tuple(row.allowed_endpoints),
        tuple(map(ipaddress.ip_network, row.ip_ranges)),
        row.expires_at.timestamp() if row.expires_at else float("inf"),
    )


def to_micro_usd(usd: Decimal) -> int:
    """Return an amount of USD, which has at most six decimals, in millionths."""
    return int(usd * MICRO_USD)


def is_expired(rules: AccessRules) -> bool:
    return rules.expires_timestamp <= time.time()
