"""The fields of JSON schemas in words, for the page that people read."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from api.openapi.endpoint import REFERENCE_PREFIX
from providers.protocol.json_types import JsonObject

MOST_VALUES = 8  # of an enum that are named


@dataclass(frozen=True, slots=True)
class FieldText:
    """One field of an object: its type in words, and its meaning."""

    name: str
    type_text: str
    is_required: bool
    description: str


def find_schema(schema: JsonObject, schemas: JsonObject) -> JsonObject:
    """Return the schema itself, or the one that it refers to."""
    name = str(schema.get("$ref", "")).removeprefix(REFERENCE_PREFIX)
    found: JsonObject = schemas[name] if name else schema
    return found


def list_fields(schema: JsonObject, schemas: JsonObject) -> Iterator[FieldText]:
    """Yield the fields of an object, the required ones first."""
    found = find_schema(schema, schemas)
    for choice in found.get("anyOf", ()):
        yield from list_fields(choice, schemas)
    required = set(found.get("required", ()))
    fields: dict[str, Any] = found.get("properties", {})
    for name in sorted(fields, key=lambda name: name not in required):
        field = fields[name]
        yield FieldText(
            name,
            " or ".join(dict.fromkeys(list_types(field))),
            name in required,
            field.get("description", ""),
        )


def list_types(schema: JsonObject) -> Iterator[str]:
    """Yield the types that a value may have, in words; null goes without saying."""
    if "$ref" in schema:
        yield str(schema["$ref"]).removeprefix(REFERENCE_PREFIX)
        return
    choices = [*schema.get("anyOf", ()), *schema.get("allOf", ())]
    if choices:
        for choice in choices:
            yield from list_types(choice)
        return
    if "enum" in schema:
        values = [str(value) for value in schema["enum"]][:MOST_VALUES]
        yield " | ".join(values)
        return
    types = schema.get("type", "any")
    for name in types if isinstance(types, list) else [types]:
        if name == "array":
            items = " or ".join(dict.fromkeys(list_types(schema.get("items", {}))))
            yield f"list of {items}"
        elif name != "null":
            yield name + describe_range(schema)


def describe_range(schema: JsonObject) -> str:
    """Return the bounds of a number or of a text's length, if there are any."""
    for least_name, most_name, unit in (
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
    ):
        least, most = schema.get(least_name), schema.get(most_name)
        if most is not None:
            return f" ({least if least is not None else '…'} to {most}{unit})"
    return ""
