"""The forms in which models write tool calls: their beginnings, and their parsed values. No I/O.

Sources: the chat templates of the Hermes and Qwen families (`<tool_call>`, `<function=NAME>`),
published prompts that ask for `<function_calls>` and `<invoke>`, and OpenAI's own `tool_calls`.
"""

import re
from typing import Any, NamedTuple

import orjson

from providers.wire.json_reader import read_json

ToolsByName = dict[str, dict[str, Any]]
NAME_KEYS = ("name", "tool", "function")
ARGUMENT_KEYS = ("arguments", "parameters")
CALL_KEYS = frozenset((*NAME_KEYS, *ARGUMENT_KEYS, "id", "type", "index"))
NESTED_KEYS = frozenset(
    (*ARGUMENT_KEYS, "function", "tool_calls")
)  # the only keys of a call whose values are objects or lists
SCHEMA_KEYS = frozenset(
    ("type", "properties")
)  # keys of a JSON Schema: it describes the tool and does not call it


class WrittenCall(NamedTuple):
    """One call; `arguments` is the JSON text of an object."""

    name: str
    arguments: str


# --- beginnings, which a stream may cut anywhere --------------------------------------------------
class StreamPattern:
    """A row of atoms: literals, runs like `[a-z]{1,9}`, or tuples of literals to choose from.

    `full_pattern` matches the whole row, `partial_pattern` an end of the text that can still become
    one. The row must end with a literal, so that more text never changes a match.
    """

    __slots__ = ("full_pattern", "partial_pattern")

    def __init__(
        self, *atoms: "str | Run | tuple[str, ...]", flags: re.RegexFlag = re.NOFLAG
    ) -> None:
        whole = [full_atom_pattern(atom) for atom in atoms]
        cut = "|".join(
            "".join(whole[:at]) + partial_atom_pattern(atom) for at, atom in enumerate(atoms)
        )
        self.full_pattern = re.compile("".join(whole), flags)
        self.partial_pattern = re.compile(rf"(?:{cut})\Z", flags)


class Run(NamedTuple):
    """From `least` to `most` characters of one class; a group when `is_group`."""

    characters: str
    least: int = 0
    most: int = 64
    is_group: bool = False


def full_atom_pattern(atom: str | Run | tuple[str, ...]) -> str:
    if isinstance(atom, Run):
        run = f"{atom.characters}{{{atom.least},{atom.most}}}"
        return f"({run})" if atom.is_group else run
    return re.escape(atom) if isinstance(atom, str) else f"({'|'.join(map(re.escape, atom))})"


def partial_atom_pattern(atom: str | Run | tuple[str, ...]) -> str:
    """Return a pattern of the proper beginnings of an atom, including the empty one."""
    if isinstance(atom, Run):
        return f"{atom.characters}{{0,{atom.most}}}"
    literals = [atom] if isinstance(atom, str) else atom
    return f"(?:{'|'.join(map(beginnings_pattern, literals))})"


def beginnings_pattern(literal: str) -> str:
    pattern = ""
    for character in reversed(literal[:-1]):
        pattern = f"(?:{re.escape(character)}{pattern})?"
    return pattern


BLANKS = Run(r"\s")
NAME = Run(r"[\w.\-]", 1, 256, is_group=True)

WRAPPING_TAGS = ("<tool_call>", "<tool_calls>", "<function_call>", "<function_calls>")
CLOSING_TAGS = (
    "</tool_call>",
    "</tool_calls>",
    "</function_call>",
    "</function_calls>",
    "</function>",
)
THINKING_TAGS = {
    "<think>": "</think>",
    "<think ": "</think>",
    "<thinking>": "</thinking>",
    '<details type="reasoning"': "</details>",
}
WRAPPED_BEGINNING = StreamPattern(
    BLANKS, ("{", "[", "<tool>", "<invoke ", "<function=", *WRAPPING_TAGS)
)  # the possible beginnings of a wrapping tag's content
FENCED_CALL = StreamPattern("<tool_call>", BLANKS, ("{", "["))
FENCED_CALL_END = StreamPattern("</tool_call>")
TAG = StreamPattern(BLANKS, "<", Run(r"[^<>\n]", 1, 300, is_group=True), ">")
TAG_REST = StreamPattern(Run(r"[^<>\n]", 1, 300, is_group=True), ">")
TOOL_NAME = StreamPattern(BLANKS, NAME, BLANKS, "</tool>")
OBJECT_BEGINNING = StreamPattern(BLANKS, "{")
NAME_ATTRIBUTE = re.compile(
    r"""\bname\s*=\s*["']([^"'<>]+)["']|\A(?:parameter=)?([^\s"'=]+)\s*\Z"""
)
COLONS = (":", "\uff1a")  # and its fullwidth form
SEPARATORS = Run(r"[\s,;.\u3002\uff0c\uff1b]")
CHINESE_CALL = StreamPattern(
    "调用函数", BLANKS, COLONS, BLANKS, NAME, SEPARATORS, "参数", BLANKS, COLONS, BLANKS, "{"
)
ENGLISH_CALL = StreamPattern(
    *("call function", BLANKS, COLONS, BLANKS, NAME, SEPARATORS),
    *(("arguments", "parameters"), BLANKS, COLONS, BLANKS, "{"),
    flags=re.IGNORECASE,
)

FENCE_LANGUAGES = frozenset(
    ("", "json", "jsonc", "tool", "tool_call", "tool_calls", "function_call")
)  # languages of fences that may hold calls
MOST_LANGUAGE_CHARS = 32
CHINESE_PUNCTUATION = frozenset(
    "\u3002\uff1a\uff01\uff1f"
)  # full stop, colon, exclamation and question mark of Chinese
PUNCTUATION_BEFORE_CALL = (
    frozenset(".:!?-*>") | CHINESE_PUNCTUATION
)  # characters that may stand before a call on its line


def cuttable_pattern(literal: str) -> str:
    """Return a pattern of the literal, or of its beginning at the end of the text."""
    pattern = ""
    for character in reversed(literal[1:]):
        pattern = rf"(?:{re.escape(character)}{pattern}|\Z)"
    return re.escape(literal[0]) + pattern


OPENERS = frozenset(
    (
        "~~~",
        "<invoke ",
        "<function=",
        "调用函数",
        "call function",
        *WRAPPING_TAGS,
        *CLOSING_TAGS,
        *THINKING_TAGS,
    )
)
CUTTABLE_QUOTE = r'\s{0,64}(?:"|\Z)'
# the beginning of anything but plain text, perhaps cut off by the end of the text
CONSTRUCT_START = re.compile(
    rf"`|{'|'.join(map(cuttable_pattern, sorted(OPENERS - {'call function'})))}"
    rf"|\{{{CUTTABLE_QUOTE}|\[\s{{0,64}}(?:\{{{CUTTABLE_QUOTE}|\Z)"
    rf"|(?i:{cuttable_pattern('call function')})"
)


def is_cut_opener(opener: str) -> bool:
    """Return whether a match of START is only the beginning of an opener."""
    if opener[0] in "{[":
        return opener[-1] != '"'
    return opener != "`" and opener.lower() not in OPENERS


def build_closing_tag(tag: str) -> str:
    return f"</{tag[1:].rstrip('>')}>"


# --- parsed values --------------------------------------------------------------------------------
def parse_json_value(text: str) -> Any:
    """Return the JSON value, or None."""
    try:
        return read_json(text.encode("utf-8", "replace"))
    except ValueError:
        return None


def extract_calls(value: Any, tools: ToolsByName, *, is_tagged: bool) -> list[WrittenCall]:
    """Return the calls of a parsed JSON value.

    `is_tagged`: only a call can stand here, so the value may be less exact.
    """
    if isinstance(value, dict) and isinstance(value.get("tool_calls"), list):
        value = value["tool_calls"]
        is_tagged = True
    if isinstance(value, list):
        found = [extract_call(item, tools, is_tagged=True) for item in value] if is_tagged else []
    else:
        found = [extract_call(value, tools, is_tagged=is_tagged)]
    return [call for call in found if call is not None]


def extract_call(value: Any, tools: ToolsByName, *, is_tagged: bool) -> WrittenCall | None:
    """Return the call that an object means, or None.

    It is {name, arguments} under one of their names, or {function: {…}} around them.
    """
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("function"), dict):
        value = value["function"]
    name = next((value[key] for key in NAME_KEYS if isinstance(value.get(key), str)), None)
    key = next((key for key in ARGUMENT_KEYS if key in value), None)
    if (
        name is None
        or name not in tools
        or (not is_tagged and (key is None or not value.keys() <= CALL_KEYS))
    ):
        return None
    given = value.get(key) if key else None
    if key == "parameters" and isinstance(given, dict) and given.keys() >= SCHEMA_KEYS:
        return None
    return build_written_call(name, given)


def build_written_call(name: str, arguments: Any) -> WrittenCall | None:
    """Return a call with arguments given as an object or as the JSON text of one, or None.

    Missing arguments become an empty object.
    """
    if arguments is None or arguments == "":
        return WrittenCall(name, "{}")
    read = parse_json_value(arguments) if isinstance(arguments, str) else arguments
    if not isinstance(read, dict):
        return None
    return WrittenCall(
        name,
        arguments
        if isinstance(arguments, str) and is_strict_json(arguments)
        else orjson.dumps(read).decode(),
    )


def is_strict_json(text: str) -> bool:
    """Return whether every reader of JSON accepts this text."""
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True


def parse_argument(tool: dict[str, Any], name: str, text: str) -> Any:
    """Return the value of the text between a parameter's tags.

    It is read as JSON if it is JSON and the tool's schema does not want a string.
    """
    properties = (tool.get("parameters") or {}).get("properties")
    schema = properties.get(name) if isinstance(properties, dict) else None
    value = parse_json_value(text)
    if isinstance(value, str):
        return value
    wants_text = isinstance(schema, dict) and schema.get("type") == "string"
    no_json = value is None and text.strip() != "null"
    return text.removeprefix("\n").removesuffix("\n") if wants_text or no_json else value
