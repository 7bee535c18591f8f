"""Write the limits of API keys, users and teams."""

from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from api.limits.limit_texts import Columns, parse_limits
from api.models import ApiKey, LimitSet

Subject = dict[str, Any]  # the columns that name a limit set's subject


def read_default_limits() -> Columns:
    """Return the limits of a new key, from DEFAULT_KEY_LIMITS. Raises ValidationError."""
    return parse_limits(settings.DEFAULT_KEY_LIMITS)


def find_default_limits_problem() -> str:
    """Return the fault in DEFAULT_KEY_LIMITS, as a sentence for the operator, or ""."""
    try:
        read_default_limits()
    except ValidationError as error:
        return " ".join(error.messages)
    return ""


def create_key_limits(key: ApiKey, columns: Columns | None = None) -> LimitSet | None:
    """Write the limits of a new key, and return them; without columns those of the setting.

    Nothing is written, and None returned, when there are none. Raises ValidationError.
    """
    limits = read_default_limits() if columns is None else columns
    if not limits:
        return None
    return update_limits({"key": key, "for_each_end_user": False}, limits)


def update_limits(subject: Subject, columns: Columns) -> LimitSet:
    """Write these columns of the subject's limits, which are created when there are none.

    Raises ValidationError on limits that cannot hold.
    """
    with transaction.atomic():
        limits = LimitSet.objects.select_for_update().filter(**subject).first()
        if limits is None:
            limits = LimitSet(**subject)
        for name, value in columns.items():
            setattr(limits, name, value)
        limits.full_clean()
        limits.save()
    return limits


def delete_limits(subject: Subject) -> int:
    """Delete the subject's limits; return how many rows there were."""
    return LimitSet.objects.filter(**subject).delete()[0]


def copy_key_limits(source: ApiKey, target: ApiKey) -> None:
    """Write the limits of a key for another key too."""
    for limits in source.limit_sets.all():
        limits.pk = None
        limits.key = target
        limits._state.adding = True
        limits.save()
