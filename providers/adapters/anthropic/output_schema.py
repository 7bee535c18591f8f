"""Write JSON schemas so that Anthropic's structured output takes them. No I/O.

Every object is closed, because others are refused. Limits of numbers, texts and lists are not
supported: they move into the description, where the model reads them. Source: Anthropic's API
reference, "Structured outputs", "JSON schema limitations".
"""

from typing import Any

import orjson

from providers.protocol.json_types import JsonObject

LIMIT_KEYWORDS = frozenset(
    """
    minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength maxItems
    uniqueItems minProperties maxProperties
    """.split()
)
# keywords whose values are schemas by name, and those whose values are schemas or lists of them
NAMED_SCHEMAS = ("properties", "$defs", "definitions", "patternProperties")
INNER_SCHEMAS = ("items", "anyOf", "allOf", "oneOf", "prefixItems", "not")


def close_schema(schema: Any) -> Any:
    """Return a schema with closed objects and without limits, at any depth."""
    if isinstance(schema, list):
        return [close_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed: JsonObject = {}
    limits: JsonObject = {}
    for keyword, value in schema.items():
        if keyword in NAMED_SCHEMAS and isinstance(value, dict):
            closed[keyword] = {name: close_schema(inner) for name, inner in value.items()}
        elif keyword in INNER_SCHEMAS:
            closed[keyword] = close_schema(value)
        elif keyword in LIMIT_KEYWORDS or (keyword == "minItems" and value not in (0, 1)):
            limits[keyword] = value
        else:
            closed[keyword] = value
    if "properties" in closed or closed.get("type") == "object":
        closed["additionalProperties"] = False
    if limits:
        closed["description"] = describe_limits(closed.get("description"), limits)
    return closed


def describe_limits(description: object, limits: JsonObject) -> str:
    """Return the description of a value, followed by its limits."""
    pairs = [f"{keyword}: {orjson.dumps(value).decode()}" for keyword, value in limits.items()]
    sentences = [str(description)] if description else []
    return " ".join([*sentences, f"({', '.join(pairs)})"])
