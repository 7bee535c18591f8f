"""The facts of one alert, as a request or a periodic task reports them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from api.models import AlertKind, AlertSubject
from providers.protocol.json_types import JsonObject

MICRO_USD = Decimal(1_000_000)
USD = "USD"
UNITS = {
    "requests_per_minute": "requests",
    "tokens_per_minute": "tokens",
    "concurrent_requests": "requests",
}
AlertName = tuple[str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class AlertFacts:
    """One alert: kind and subject, and the period in which it is reported once.

    `subject_id` is the id of the key, user or team as text; `make_model_id` makes that of a model.
    `limit_name` is a value of `Resource`, for limits of end users with `end_user ` before it.
    `period` names the budget's period, such as `2026-12` or `total`, and is the day for all other
    alerts.
    `used` and `limit` are millionths of a USD for budgets, else counts. `until` says when the
    period ends; None: never, or it is not known.
    """

    kind: AlertKind
    subject_kind: AlertSubject
    subject_id: str
    period: str
    limit_name: str = ""
    used: int | None = None
    limit: int | None = None
    until: datetime | None = None
    reported_at: datetime = field(default_factory=lambda: datetime.now(UTC), compare=False)

    @property
    def name(self) -> AlertName:
        """Return the values that no two alerts share."""
        return (self.subject_id, self.subject_kind, self.kind, self.limit_name, self.period)

    def as_json(self) -> JsonObject:
        """Return the facts beside the name, as a row stores them and a webhook sends them.

        Amounts of money are decimal texts, so that no receiver rounds them.
        """
        unit = find_unit(self.limit_name)
        return {
            "used": format_amount(self.used, unit),
            "limit": format_amount(self.limit, unit),
            "unit": unit,
            "until": self.until.isoformat() if self.until else None,
        }


def find_unit(limit_name: str) -> str:
    """Return the unit of a limit's amounts; empty for alerts about no limit."""
    column = limit_name.split(" ")[-1]
    if column.endswith("_usd"):
        return USD
    return UNITS.get(column, "")


def format_amount(amount: int | None, unit: str) -> int | str | None:
    """Return a count as it is, and millionths of a USD as a decimal text in USD."""
    if amount is None or unit != USD:
        return amount
    return f"{amount / MICRO_USD:f}"


def make_model_id(provider_id: int, upstream_model: str) -> str:
    """Return the subject's id of a model of a provider."""
    return f"{provider_id}:{upstream_model}"


def split_model_id(subject_id: str) -> tuple[int, str]:
    """Return the provider's id and the upstream model of such an id."""
    provider_id, _, upstream_model = subject_id.partition(":")
    return int(provider_id), upstream_model
