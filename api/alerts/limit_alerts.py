"""Alerts about limits: a budget that is nearly or wholly spent, a limit that refuses a request."""

import time
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from api.alerts.alert_facts import AlertFacts
from api.alerts.alert_queue import AlertQueue
from api.limits.caller_limits import Rule
from api.models import AlertKind, AlertSubject

BUDGET_SHARES = ((AlertKind.BUDGET_80, 80), (AlertKind.BUDGET_100, 100))  # in per cent
END_USER = "end_user"


def report_budget(alerts: AlertQueue, rule: Rule, spent: int, limit: int) -> None:
    """Report a budget of which 80 % or all is spent; amounts are millionths of a USD."""
    now = time.time()
    for kind, share in BUDGET_SHARES:
        if limit > 0 and spent * 100 >= limit * share:
            period = name_period(rule, now)
            alerts.report(make_limit_alert(rule, kind, period, used=spent, limit=limit))


def report_refusal(alerts: AlertQueue, rule: Rule, limit: int) -> None:
    """Report a limit that refused a request; it is one alert a day."""
    day = datetime.now(UTC).date().isoformat()
    alerts.report(make_limit_alert(rule, AlertKind.LIMIT_HIT, day, used=None, limit=limit))


def make_limit_alert(
    rule: Rule, kind: AlertKind, period: str, *, used: int | None, limit: int
) -> AlertFacts:
    subject = rule.subject
    subject_kind = subject.kind
    subject_id = subject.id
    limit_name = str(rule.resource)
    if subject_kind == END_USER:  # of whom only the key is known
        subject_kind = "key"
        subject_id = subject.key_id or 0
        limit_name = f"{END_USER} {limit_name}"
    return AlertFacts(
        kind,
        AlertSubject(subject_kind),
        str(subject_id),
        period,
        limit_name,
        used,
        limit,
        find_end(rule, time.time()),
    )


def name_period(rule: Rule, now: float) -> str:
    """Return the name of a budget's period at a UNIX time: `2026-12-24`, `2026-12` or `total`."""
    period = rule.period
    if period is None or period.unit == "total":
        return "total"
    local = datetime.fromtimestamp(now, ZoneInfo(period.time_zone))
    if period.unit == "month" and not period.is_rolling:
        return f"{local:%Y-%m}"
    return f"{local:%Y-%m-%d}"


def find_end(rule: Rule, now: float) -> datetime | None:
    """Return when a budget's period ends; None for limits that have no such end."""
    if rule.period is None:
        return None
    end = rule.period.find_bounds(now)[1]
    return None if end == float("inf") else datetime.fromtimestamp(end, UTC)
