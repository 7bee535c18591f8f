"""Checks of the columns of providers and models."""

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

from providers import registry
from providers.choices import Capability

NAME_VALIDATOR = RegexValidator(
    r"\A[a-z0-9][a-z0-9_.-]*\Z", "Lower-case letters, digits, dot, hyphen and underscore only."
)
MODEL_ID_VALIDATOR = RegexValidator(
    r"\A[^\s\x00-\x1f\x7f]+\Z", "A model id has no spaces or control characters."
)


def kind_exists(kind: str) -> None:
    """Raise ValidationError unless an adapter file of that name exists."""
    if kind not in registry.list_adapter_kinds():
        raise ValidationError(
            f"No adapter named {kind!r}; there are: {', '.join(registry.list_adapter_kinds())}."
        )


def headers_are_clean(headers: object) -> None:
    """Raise ValidationError unless it is an object of header names and printable ASCII values.

    Headers that the gateway itself writes (`registry.OWN_HEADERS`) are not allowed.
    """
    if not isinstance(headers, dict):
        raise ValidationError("Give an object of header names and values.")
    for name, value in headers.items():
        if not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise ValidationError(f"The value of {name!r} must be printable ASCII on one line.")
        if (
            not name.replace("-", "").isalnum()
            or not name.isascii()
            or name.lower() in registry.OWN_HEADERS
        ):
            raise ValidationError(f"{name!r} is not a header that may be set here.")


def capabilities_exist(names: object) -> None:
    """Raise ValidationError unless it is a list of capability names."""
    if not isinstance(names, list) or any(name not in Capability.values for name in names):
        raise ValidationError(f"Give a list of: {', '.join(Capability.values)}.")


def is_object(value: object) -> None:
    """Raise ValidationError unless it is a JSON object."""
    if not isinstance(value, dict):
        raise ValidationError("Give an object.")
