"""Alerts in words, for e-mails, webhooks and the admin."""

from collections.abc import Callable
from datetime import datetime

from django.contrib.auth import get_user_model

from api.alerts.alert_facts import split_model_id
from api.models import AlertEvent, AlertKind, AlertSubject, ApiKey, Team
from providers.models import Provider

LIMIT_WORDS = {
    "requests_per_minute": "requests a minute",
    "tokens_per_minute": "tokens a minute",
    "concurrent_requests": "concurrent requests",
    "day_budget_usd": "budget of a day",
    "month_budget_usd": "budget of a month",
    "total_budget_usd": "budget in total",
}


def describe_subject(event: AlertEvent) -> str:
    """Return the name of the alert's subject, such as `the API key sk-ps-Ab12Cd34Ef (alice)`.

    A row that was deleted since is named by its id.
    """
    find_name = NAME_FINDERS.get(event.subject_kind)
    if find_name is None:
        return "this gateway"
    label = AlertSubject(event.subject_kind).label
    return f"the {label} {find_name(event.subject_id) or f'{event.subject_id} (deleted)'}"


def find_key_name(subject_id: str) -> str:
    key = ApiKey.objects.select_related("user").filter(pk=subject_id).first()
    return f"{key} ({key.user})" if key else ""


def find_user_name(subject_id: str) -> str:
    user = get_user_model().objects.filter(pk=subject_id).first()
    return str(user) if user else ""


def find_team_name(subject_id: str) -> str:
    team = Team.objects.filter(pk=subject_id).first()
    return str(team) if team else ""


def find_model_name(subject_id: str) -> str:
    provider_id, upstream_model = split_model_id(subject_id)
    provider = Provider.objects.filter(pk=provider_id).first()
    return f"{upstream_model} of {provider or 'a deleted provider'}"


NAME_FINDERS: dict[str, Callable[[str], str]] = {
    AlertSubject.KEY: find_key_name,
    AlertSubject.USER: find_user_name,
    AlertSubject.TEAM: find_team_name,
    AlertSubject.MODEL: find_model_name,
}


def describe_limit(limit_name: str) -> str:
    """Return a limit in words: `budget of a day`, `requests a minute of an end user`."""
    column = limit_name.removeprefix("end_user ")
    words = LIMIT_WORDS.get(column, column.replace("_", " "))
    return f"{words} of an end user" if column != limit_name else words


def describe_alert(event: AlertEvent) -> str:
    """Return the alert as one sentence: which limit, of whom, how much, until when."""
    subject = describe_subject(event)
    limit = describe_limit(event.limit_name)
    match event.kind:
        case AlertKind.BUDGET_80:
            text = f"80 % of the {limit} of {subject} is spent"
        case AlertKind.BUDGET_100:
            text = f"The {limit} of {subject} is spent"
        case AlertKind.LIMIT_HIT:
            text = f"The limit “{limit}” of {subject} was hit"
        case AlertKind.UNKNOWN_PRICE:
            text = f"{subject[:1].upper()}{subject[1:]} is used, but its price is unknown"
        case _:
            text = "This is a test of the alerts"
    return f"{text}{describe_amounts(event)}."


def describe_amounts(event: AlertEvent) -> str:
    """Return the amounts of an alert as the end of a sentence; empty when there are none."""
    facts = event.facts
    text = ""
    if facts.get("limit") is not None:
        text = f": the limit is {facts['limit']} {facts['unit']}".rstrip()
        if facts.get("used") is not None:
            text = f": {facts['used']} of {facts['limit']} {facts['unit']}".rstrip()
    if facts.get("until"):
        text += f", until {datetime.fromisoformat(facts['until']):%Y-%m-%d %H:%M %Z}"
    return text
