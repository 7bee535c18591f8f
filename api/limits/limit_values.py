"""Checks of the values of limits; admin, commands and settings give the same sentences."""

import ipaddress
from decimal import Decimal
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError

MOST_COUNT = 10**12
MOST_BUDGET_USD = Decimal(99_999_999)
MOST_DECIMAL_PLACES = 6  # of an amount in USD
COUNT_TEXT = f"Write a whole number from 1 to {MOST_COUNT:,}, for example 60."
BUDGET_TEXT = (
    f"Write an amount in USD from 0 to {MOST_BUDGET_USD:,} with at most {MOST_DECIMAL_PLACES} "
    "decimal places, for example 0.50."
)


def validate_count(value: int) -> None:
    """Raise ValidationError unless the value is a count that a limit can have."""
    if not 1 <= value <= MOST_COUNT:
        raise ValidationError(COUNT_TEXT)


def validate_budget(value: Decimal) -> None:
    """Raise ValidationError unless the value is an amount in USD that a budget can have."""
    is_amount = value.is_finite() and 0 <= value <= MOST_BUDGET_USD
    if not is_amount or value != round(value, MOST_DECIMAL_PLACES):
        raise ValidationError(BUDGET_TEXT)


def validate_time_zone(name: object) -> None:
    """Raise ValidationError unless the value names a time zone of the IANA database."""
    if name not in available_timezones():
        raise ValidationError(
            f"There is no time zone {name!r}; write a name such as UTC or Europe/Berlin."
        )


def validate_endpoints(value: object) -> None:
    """Raise ValidationError unless the value is a list of paths that begin with /v1/."""
    if not isinstance(value, list):
        raise ValidationError("Give a list of paths.")
    for path in value:
        if not isinstance(path, str) or not path.startswith("/v1/"):
            raise ValidationError(f"{path!r} is no endpoint: write a path such as /v1/chat/*.")


def validate_ip_ranges(value: object) -> None:
    """Raise ValidationError unless the value is a list of addresses and networks."""
    if not isinstance(value, list):
        raise ValidationError("Give a list of addresses.")
    for text in value:
        try:
            if not isinstance(text, str):
                raise ValueError
            ipaddress.ip_network(text)
        except ValueError:
            raise ValidationError(
                f"{text!r} is no IP range: write an address such as 192.0.2.7 or a network such as "
                "192.0.2.0/24."
            ) from None
