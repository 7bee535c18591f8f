"""The values of a row as the audit log shows them: short texts, and no secrets."""

import json
import re
from datetime import date, datetime
from typing import Any

from django.db.models import ForeignKey, Model

SECRET_TEXT = "(secret)"  # noqa: S105 - shown in place of one
SECRET_NAMES = ("password", "secret", "digest", "sealed", "fingerprint", "headers", "cookie")
# bookkeeping that no person changes
UNTOLD_FIELDS = frozenset(
    "changed last_used_at last_login last_seen_at date_joined created_at changed_at".split()
)
LONGEST_VALUE = 500  # characters
CREDENTIALS_IN_URL = re.compile(r"(?<=://)[^/@\s]+@")
Values = dict[str, Any]
Changes = dict[str, list[Any]]


def is_secret(field_name: str) -> bool:
    """Return whether the values of a field must not be shown."""
    return any(word in field_name for word in SECRET_NAMES)


def read_values(row: Model) -> Values:
    """Return the values of a row's columns, as they are, to be compared later."""
    return {
        field.name: getattr(row, field.attname)
        for field in row._meta.concrete_fields
        if field.name not in UNTOLD_FIELDS and field.attname in row.__dict__
    }


def list_changes(model: type[Model], before: Values, after: Values) -> Changes:
    """Return the fields whose values differ, each with its two values as texts."""
    changes: Changes = {}
    for name in {**before, **after}:
        old = before.get(name)
        new = after.get(name)
        if old == new:
            continue
        field = model._meta.get_field(name)
        changes[name] = [render_value(field, old), render_value(field, new)]
    return changes


def list_first_values(row: Model) -> Changes:
    """Return the values of a new row that are not empty."""
    changes: Changes = {}
    for name, value in read_values(row).items():
        field = row._meta.get_field(name)
        if value in (None, "", [], {}) or getattr(field, "primary_key", False):
            continue
        changes[name] = [None, render_value(field, value)]
    return changes


def list_last_values(row: Model) -> Changes:
    """Return the values of a row that goes away, where they are not empty."""
    return {name: [new, None] for name, (_, new) in list_first_values(row).items()}


def render_value(field: Any, value: Any) -> Any:
    """Return a value for the log: a number, a switch, None, or a short text."""
    if value is None or value == "":
        return value
    if is_secret(field.name):
        return SECRET_TEXT
    if isinstance(field, ForeignKey):
        return render_reference(field, value)
    if isinstance(value, bool | int):
        return value
    if isinstance(value, datetime | date):
        return value.isoformat()
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)
    return shorten(CREDENTIALS_IN_URL.sub("…@", text))


def render_reference(field: "ForeignKey[Any, Any]", value: Any) -> str:
    """Return the name of the row that a column refers to, with its id."""
    related: Any = field.remote_field.model
    row = related._base_manager.filter(pk=value).first()
    return shorten(f"{row} ({value})") if row is not None else str(value)


def shorten(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 1]}…"
