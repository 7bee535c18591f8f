"""The limits of the user and of the user's keys, and how much of each is left.

The facts are those of `/v1/key`. They come from the gateway of this process.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asgiref.sync import async_to_sync
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from api.limits.caller_limits import Resource, Rule
from api.relay.gateway import GATEWAY_SCOPE_KEY, Gateway
from api.views.account.key_status import render_limit
from providers.exceptions import DatabaseUnavailable
from providers.protocol.json_types import JsonObject

LABELS = {
    Resource.REQUESTS: _("Requests per minute"),
    Resource.TOKENS: _("Tokens per minute"),
    Resource.CONCURRENCY: _("Requests at the same time"),
    Resource.DAY_BUDGET: _("Budget per day"),
    Resource.MONTH_BUDGET: _("Budget per month"),
    Resource.TOTAL_BUDGET: _("Budget altogether"),
}
SUBJECTS = {"key": _("this key"), "user": _("you"), "team": _("your team")}


@dataclass(frozen=True, slots=True)
class LimitLine:
    """One limit for the template; `left` and `used` are None when nobody knows them now."""

    label: Any
    subject: Any
    unit: str  # USD, tokens or requests
    amount: Any
    used: Any = None
    left: Any = None
    resets_at: datetime | None = None

    @property
    def used_percent(self) -> int:
        """Return how much is used, from 0 to 100."""
        if not self.amount:
            return 100
        return min(100, int(100 * (self.used or 0) / self.amount))


def look_up_limits(request: HttpRequest, rules: Sequence[Rule]) -> list[LimitLine]:
    """Return these limits in their order, each with the rest that is left of it."""
    facts = look_up_facts(request, rules)
    if facts is None:
        return [describe_rule(rule) for rule in rules]
    return [
        LimitLine(
            LABELS[rule.resource],
            SUBJECTS.get(rule.subject.kind, rule.subject.text),
            fact["unit"],
            fact["amount"],
            fact["used"],
            fact["left"],
            parse_moment(fact.get("resets_at")),
        )
        for rule, fact in zip(rules, facts, strict=True)
    ]


def look_up_facts(request: HttpRequest, rules: Sequence[Rule]) -> list[JsonObject] | None:
    """Return the facts of `/v1/key` about these limits; None while they are unknown."""
    gateway: Gateway | None = getattr(request, "scope", {}).get(GATEWAY_SCOPE_KEY)
    if gateway is None or not rules:
        return None
    try:
        allowances = async_to_sync(gateway.limits.look_up)(rules)
    except DatabaseUnavailable:
        return None
    return [render_limit(*pair) for pair in zip(rules, allowances, strict=True)]


def parse_moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def describe_rule(rule: Rule) -> LimitLine:
    """Return the line of a limit without the rest that is left of it, which is unknown."""
    is_money = rule.resource.endswith("_usd")
    return LimitLine(
        LABELS[rule.resource],
        SUBJECTS.get(rule.subject.kind, rule.subject.text),
        "USD" if is_money else "",
        rule.amount / 1_000_000 if is_money else rule.amount,
    )
