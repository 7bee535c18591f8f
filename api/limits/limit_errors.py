"""The refusals of limits: which limit, of whom, how much, and until when."""

from datetime import UTC, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from api.limits.caller_limits import MICRO_USD, Resource, Rule
from providers.exceptions import (
    GatewayError,
    KeyLimitExceeded,
    QuotaExceeded,
    TokenLimitExceeded,
)

LIMIT_TEXTS = {
    Resource.REQUESTS: "{amount} requests per minute",
    Resource.TOKENS: "{amount} tokens per minute",
    Resource.CONCURRENCY: "{amount} requests at the same time",
}
CONCURRENCY_RETRY_SECONDS = 1.0
RESERVED_RETRY_SECONDS = 5.0
SHORTEST_RETRY_SECONDS = 0.05


class Refusal(NamedTuple):
    """A limit that refuses a request, for its usage record and its error."""

    rule: Rule
    error: GatewayError

    @property
    def limit_name(self) -> str:
        """Return the name that the usage record shows, for example `key requests_per_minute`."""
        return f"{self.rule.subject.kind} {self.rule.resource}"


def refuse_rate(rule: Rule, seconds_until_free: float) -> Refusal:
    """Return the refusal of a limit that is counted by the minute, or of running requests."""
    text = LIMIT_TEXTS[rule.resource].format(amount=f"{rule.amount:,}")
    if rule.resource is Resource.CONCURRENCY:
        seconds = CONCURRENCY_RETRY_SECONDS
        advice = "Wait until one of them has ended."
    else:
        seconds = max(seconds_until_free, SHORTEST_RETRY_SECONDS)
        advice = f"Try again in {seconds:.1f} s."
    message = f"Rate limit reached for {rule.subject.text}: {text}. {advice}"
    kind = TokenLimitExceeded if rule.resource is Resource.TOKENS else KeyLimitExceeded
    return Refusal(rule, kind(message, retry_after_seconds=seconds))


def refuse_reserved(rule: Rule, limit: int) -> Refusal:
    """Return the refusal of a budget of which running requests have reserved the rest."""
    message = (
        f"The rest of the {describe_budget(rule, limit)} is reserved by requests that are running. "
        "Try again when some of them have ended."
    )
    return Refusal(rule, KeyLimitExceeded(message, retry_after_seconds=RESERVED_RETRY_SECONDS))


def refuse_spent(rule: Rule, limit: int, now: float) -> Refusal:
    """Return the refusal of a budget that is spent; the text says until when."""
    message = f"The {describe_budget(rule, limit)} is spent; {describe_end(rule, now)}."
    return Refusal(rule, QuotaExceeded(message))


def describe_budget(rule: Rule, limit: int) -> str:
    """Return for example `budget of 5 USD a day of the user alice`."""
    period = rule.resource.removesuffix("_budget_usd")
    unit = "in total" if rule.resource is Resource.TOTAL_BUDGET else f"a {period}"
    return f"budget of {format_usd(limit)} USD {unit} of {rule.subject.text}"


def describe_end(rule: Rule, now: float) -> str:
    """Return when there is money again."""
    period = rule.period
    if period is None or period.unit == "total":
        return "it does not renew itself"
    if period.is_rolling:
        length = "24 hours" if period.unit == "day" else "30 days"
        return f"it counts the last {length}, so money comes back little by little"
    end = datetime.fromtimestamp(period.find_bounds(now)[1], UTC)
    local = end.astimezone(ZoneInfo(period.time_zone))
    return f"it is renewed at {local:%Y-%m-%d %H:%M} ({period.time_zone})"


def format_usd(micro_usd: int) -> str:
    """Return an amount in USD without zeros that say nothing: 5, 0.25, 1.5."""
    return f"{micro_usd / MICRO_USD:.6f}".rstrip("0").rstrip(".")
