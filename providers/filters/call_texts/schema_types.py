"""Read the JSON Schema of a tool's arguments: types, conversion of text, and what fits. No I/O.

Only the words of JSON Schema that tools use are known; any other word allows everything. Source:
JSON Schema, draft 2020-12, and OpenAPI's `nullable`.
"""

import re

from providers.protocol.json_types import JsonObject
from providers.wire.json_reader import read_json

ANY_TYPE: frozenset[str] = frozenset()  # a schema that names no type
STRING_ONLY = frozenset(("string",))
EMPTY_VALUES: dict[frozenset[str], type] = {
    frozenset(("array",)): list,
    frozenset(("object",)): dict,
}
BRANCH_WORDS = ("anyOf", "oneOf", "allOf")
MOST_SCHEMA_LEVELS = 16
PYTHON_CONSTANTS = {"True": True, "False": False, "None": None}
INTEGER = re.compile(r"[-+]?\d{1,40}")


class ArgumentSchema:
    """The schema of a tool's arguments; `root` is where its references point into."""

    __slots__ = ("root",)

    def __init__(self, tool: JsonObject) -> None:
        parameters = tool.get("parameters")
        self.root: JsonObject = parameters if isinstance(parameters, dict) else {}

    def convert_text(self, name: str, text: str) -> object:
        """Return the value that the text of an argument means, by the types of the argument.

        An argument without a known type is the JSON that it is, else text.
        """
        return self._convert(self.find_member(self.root, name), text)

    def convert_value(self, schema: object, text: str) -> object:
        """Return the value that a text means by a schema within this one.

        An empty text is an empty list or object where the schema has nothing else.
        """
        empty_value = EMPTY_VALUES.get(self._list_types(schema))
        return empty_value() if empty_value and not text.strip() else self._convert(schema, text)

    def find_member(self, schema: object, name: str) -> object:
        """Return the schema of a member of an object; None if nothing is known of it."""
        schema = self._resolve(schema)
        properties = schema.get("properties") if isinstance(schema, dict) else None
        return properties.get(name) if isinstance(properties, dict) else None

    def find_items(self, schema: object) -> object:
        """Return the schema of the items of a list; None if nothing is known of them."""
        schema = self._resolve(schema)
        return schema.get("items") if isinstance(schema, dict) else None

    def _convert(self, schema: object, text: str) -> object:
        types = self._list_types(schema)
        if types == STRING_ONLY:
            return text
        is_json, value = parse_text(text)
        if not types:
            return value if is_json else text
        if not is_json or not any(has_type(value, name) for name in types - STRING_ONLY):
            return text
        if "number" not in types and isinstance(value, float):
            return as_integer(value)
        return value

    def fits(self, arguments: object) -> bool:
        """Return whether the arguments are an object that the schema allows."""
        return isinstance(arguments, dict) and self._fits(arguments, self.root, 0)

    def _resolve(self, schema: object) -> object:
        """Return the schema that a reference like `#/$defs/NAME` names, or the schema itself."""
        for _ in range(MOST_SCHEMA_LEVELS):
            if not isinstance(schema, dict) or not isinstance(schema.get("$ref"), str):
                return schema
            target: object = self.root
            for step in schema["$ref"].removeprefix("#").split("/")[1:]:
                target = target.get(step) if isinstance(target, dict) else None
            schema = target
        return None

    def _list_types(self, schema: object, level: int = 0) -> frozenset[str]:
        """Return the names of the types that a schema allows; none if it allows all."""
        schema = self._resolve(schema)
        if not isinstance(schema, dict) or level > MOST_SCHEMA_LEVELS:
            return ANY_TYPE
        types = read_type_names(schema)
        for word in BRANCH_WORDS:
            branches = schema.get(word)
            if types or not isinstance(branches, list):
                continue
            branch_types = [self._list_types(branch, level + 1) for branch in branches]
            if word == "allOf":
                branch_types = [names for names in branch_types if names]
            if all(branch_types):
                types = ANY_TYPE.union(*branch_types)
        if types and schema.get("nullable") is True:
            types |= {"null"}
        return types

    # --- what fits --------------------------------------------------------------------------------
    def _fits(self, value: object, schema: object, level: int) -> bool:
        schema = self._resolve(schema)
        if not isinstance(schema, dict) or level > MOST_SCHEMA_LEVELS:
            return True
        types = self._list_types(schema)
        if types and not any(has_type(value, name) for name in types):
            return False
        if isinstance(schema.get("enum"), list) and value not in schema["enum"]:
            return False
        for word in ("anyOf", "oneOf"):
            branches = schema.get(word)
            if isinstance(branches, list) and not any(
                self._fits(value, branch, level + 1) for branch in branches
            ):
                return False
        if isinstance(value, dict):
            return self._fits_members(value, schema, level)
        if isinstance(value, list):
            return all(self._fits(item, schema.get("items"), level + 1) for item in value)
        return True

    def _fits_members(self, value: JsonObject, schema: JsonObject, level: int) -> bool:
        required = schema.get("required")
        if isinstance(required, list) and not all(name in value for name in required):
            return False
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return True
        allows_others = bool(schema.get("additionalProperties") or schema.get("patternProperties"))
        if not allows_others and not value.keys() <= properties.keys():
            return False
        return all(
            self._fits(member, properties.get(name), level + 1) for name, member in value.items()
        )


def read_type_names(schema: JsonObject) -> frozenset[str]:
    """Return the types that `type`, `enum` or `const` of a schema name themselves."""
    types = schema.get("type")
    if isinstance(types, str):
        return frozenset((types.lower(),))
    if isinstance(types, list):
        return frozenset(name.lower() for name in types if isinstance(name, str))
    values = schema.get("enum")
    if "const" in schema:
        values = [schema["const"]]
    if isinstance(values, list):
        return frozenset(name_type(value) for value in values)
    return ANY_TYPE


def name_type(value: object) -> str:
    """Return the name of a JSON value's type."""
    names = ("boolean", "integer", "number", "string", "array", "object")
    return next((name for name in names if has_type(value, name)), "null")


def has_type(value: object, type_name: str) -> bool:
    """Return whether a value is of a type of JSON Schema; an unknown type allows all."""
    match type_name:
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return not isinstance(value, bool) and value == as_integer(value) is not None
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool)
        case "string":
            return isinstance(value, str)
        case "array":
            return isinstance(value, list)
        case "object":
            return isinstance(value, dict)
        case "null":
            return value is None
    return True


def as_integer(value: object) -> int | None:
    """Return the number as an integer if it is a whole one."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else None


def parse_text(text: str) -> tuple[bool, object]:
    """Return whether a text is the JSON of a value, or a constant of Python's, and the value."""
    stripped = text.strip()
    if stripped in PYTHON_CONSTANTS:
        return True, PYTHON_CONSTANTS[stripped]
    if INTEGER.fullmatch(stripped):
        return True, int(stripped)
    try:
        return True, read_json(stripped.encode("utf-8", "replace"))
    except ValueError:
        return False, None
