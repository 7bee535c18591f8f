"""Client tools whose input Anthropic has defined, as functions that any model can call.

Their users run them; only the model has to be told how. Source: Anthropic's documentation, "Bash
tool", "Text editor tool" and "Memory tool".
"""

from providers.protocol.json_types import JsonObject

TEXT = {"type": "string"}
LINES = {"type": "array", "items": {"type": "integer"}, "description": "First and last line."}


def make_schema(properties: JsonObject, *required: str) -> JsonObject:
    """Return the JSON schema of an object with these properties."""
    return {"type": "object", "properties": properties, "required": list(required)}


BASH: JsonObject = {
    "description": "Run commands in a bash session that lasts; `restart` begins a new one.",
    "parameters": make_schema({"command": TEXT, "restart": {"type": "boolean"}}),
}
EDITOR_FIELDS: JsonObject = {
    "path": TEXT,
    "view_range": LINES,
    "file_text": TEXT | {"description": "The whole new file, for create."},
    "old_str": TEXT | {"description": "The text to replace; it must be there exactly once."},
    "new_str": TEXT,
    "insert_line": {"type": "integer", "description": "The line behind which to insert."},
    "insert_text": TEXT,
}
EDITOR: JsonObject = {
    "description": "View, create and edit text files.",
    "parameters": make_schema(
        {
            "command": TEXT | {"enum": ["view", "create", "str_replace", "insert"]},
            **EDITOR_FIELDS,
        },
        "command",
        "path",
    ),
}
MEMORY: JsonObject = {
    "description": "Read and change the files below /memories, which last between sessions.",
    "parameters": make_schema(
        {
            "command": TEXT
            | {"enum": ["view", "create", "str_replace", "insert", "delete", "rename"]},
            **EDITOR_FIELDS,
            "old_path": TEXT,
            "new_path": TEXT,
        },
        "command",
    ),
}
KNOWN_TOOLS = {"bash": BASH, "text_editor": EDITOR, "memory": MEMORY}


def find_known_tool(kind: str) -> JsonObject | None:
    """Return description and parameters for a type such as `bash_20250124`; None if unknown."""
    name, _, version = kind.rpartition("_")
    return KNOWN_TOOLS.get(name) if version.isdecimal() else None
