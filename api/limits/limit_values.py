"""Checks of the values of limits; admin, commands and settings give the same sentences."""

import ipaddress
from zoneinfo import available_timezones

from django.core.exceptions import ValidationError


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
