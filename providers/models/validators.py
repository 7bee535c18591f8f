"""Checks of the columns of providers and models."""

from collections.abc import Set
from typing import cast

import msgspec
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

from providers import registry
from providers.choices import NO_SERVER_TOOLS, Capability, ServerTool
from providers.dialects import PROFILES
from providers.protocol.dialect import UNMISTAKABLE_FORMS, Dialect
from providers.protocol.json_types import JsonObject

NAME_VALIDATOR = RegexValidator(
    r"\A[a-z0-9][a-z0-9_.-]*\Z", "Lower-case letters, digits, dot, hyphen and underscore only."
)
MODEL_ID_VALIDATOR = RegexValidator(
    r"\A[^\s\x00-\x1f\x7f]+\Z", "A model id has no spaces or control characters."
)
CREDENTIAL_HEADERS = frozenset(("authorization", "x-api-key"))
MCP_HEADERS = frozenset(
    "mcp-protocol-version mcp-session-id mcp-method mcp-name last-event-id".split()
)


def kind_exists(kind: str) -> None:
    """Raise ValidationError unless an adapter file of that name exists."""
    if kind not in registry.list_adapter_kinds():
        raise ValidationError(
            f"No adapter named {kind!r}; there are: {', '.join(registry.list_adapter_kinds())}."
        )


def dialect_exists(name: str) -> None:
    """Raise ValidationError unless there is a dialect profile of that name."""
    if name not in PROFILES:
        raise ValidationError(
            f"No dialect named {name!r}; there are: {', '.join(sorted(PROFILES))}."
        )


def dialect_changes_fit(changes: object) -> None:
    """Raise ValidationError unless it is an object of fields of `Dialect` and fitting values."""
    is_object(changes)
    known = Dialect.__struct_fields__
    unknown = sorted(set(cast(JsonObject, changes)) - set(known))
    if unknown:
        raise ValidationError(f"{unknown[0]!r} is unknown; there are: {', '.join(known)}.")
    try:
        dialect = msgspec.convert(changes, Dialect)
    except msgspec.ValidationError as error:
        raise ValidationError(f"{error}.") from None
    if unknown_forms := sorted(dialect.leaked_forms - UNMISTAKABLE_FORMS):
        known_forms = ", ".join(sorted(UNMISTAKABLE_FORMS))
        raise ValidationError(
            f"No form of calls is {unknown_forms[0]!r}; there are: {known_forms}."
        )


def headers_are_clean(headers: object) -> None:
    """Raise ValidationError unless it is an object of header names and printable ASCII values.

    Headers that the gateway itself writes (`registry.OWN_HEADERS`) are not allowed.
    """
    refuse_wrong_headers(headers, registry.OWN_HEADERS)


def mcp_headers_are_clean(headers: object) -> None:
    """Raise ValidationError unless the headers may be sent to an MCP server, as credentials are.

    Those of the protocol, and those of HTTP itself, are not allowed.
    """
    refuse_wrong_headers(headers, registry.OWN_HEADERS - CREDENTIAL_HEADERS | MCP_HEADERS)


def refuse_wrong_headers(headers: object, forbidden_names: Set[str]) -> None:
    """Raise ValidationError for a name among `forbidden_names`, and for any that HTTP refuses."""
    if not isinstance(headers, dict):
        raise ValidationError("Give an object of header names and values.")
    for name, value in headers.items():
        if not (isinstance(value, str) and value.isascii() and value.isprintable()):
            raise ValidationError(f"The value of {name!r} must be printable ASCII on one line.")
        if (
            not name.replace("-", "").isalnum()
            or not name.isascii()
            or name.lower() in forbidden_names
        ):
            raise ValidationError(f"{name!r} is not a header that may be set here.")


def capabilities_exist(names: object) -> None:
    """Raise ValidationError unless it is a list of capability names."""
    if not isinstance(names, list) or any(name not in Capability.values for name in names):
        raise ValidationError(f"Give a list of: {', '.join(Capability.values)}.")


def server_tools_exist(names: object) -> None:
    """Raise ValidationError unless it is a list of tools that the gateway can run, or of `none`."""
    known = [*ServerTool.values, NO_SERVER_TOOLS]
    if not isinstance(names, list) or any(name not in known for name in names):
        raise ValidationError(f"Give a list of: {', '.join(known)}.")
    if NO_SERVER_TOOLS in names and len(names) > 1:
        raise ValidationError(f"{NO_SERVER_TOOLS!r} stands alone.")


def is_object(value: object) -> None:
    """Raise ValidationError unless it is a JSON object."""
    if not isinstance(value, dict):
        raise ValidationError("Give an object.")
