"""The forms in which models write tool calls: their beginnings, and their parsed values. No I/O.

Sources: the chat templates of the Hermes and Qwen families (`<tool_call>`, `<function=NAME>`),
published prompts that ask for `<function_calls>` and `<invoke>`, and OpenAI's own `tool_calls`.
"""

import re
from typing import Any, NamedTuple

import orjson

from providers.wire.json_reader import loads

Tools = dict[str, dict[str, Any]]
NAME_KEYS = ("name", "tool", "function")
ARGUMENT_KEYS = ("arguments", "parameters")
CALL_KEYS = frozenset((*NAME_KEYS, *ARGUMENT_KEYS, "id", "type", "index"))
NESTED_KEYS = frozenset(
    (*ARGUMENT_KEYS, "function", "tool_calls")
)  # the only keys of a call whose values are objects or lists
DEFINES = frozenset(
    ("type", "properties")
)  # keys of a JSON Schema: it describes the tool and does not call it


class Call(NamedTuple):
    """One call; `arguments` is the JSON text of an object."""

    name: str
    arguments: str


# --- beginnings, which a stream may cut anywhere --------------------------------------------------
class Form:
    """A row of atoms: literals, runs like `[a-z]{1,9}`, or tuples of literals to choose from.

    `full` matches the whole row, `maybe` an end of the text that can still become one. The row must
    end with a literal, so that more text never changes a match.
    """

    __slots__ = ("full", "maybe")

    def __init__(
        self, *atoms: "str | Run | tuple[str, ...]", flags: re.RegexFlag = re.NOFLAG
    ) -> None:
        whole = [full(atom) for atom in atoms]
        cut = "|".join("".join(whole[:at]) + part(atom) for at, atom in enumerate(atoms))
        self.full = re.compile("".join(whole), flags)
        self.maybe = re.compile(rf"(?:{cut})\Z", flags)


class Run(NamedTuple):
    """From `least` to `most` characters of one class; a group when `kept`."""

    characters: str
    least: int = 0
    most: int = 64
    kept: bool = False


def full(atom: str | Run | tuple[str, ...]) -> str:
    if isinstance(atom, Run):
        run = f"{atom.characters}{{{atom.least},{atom.most}}}"
        return f"({run})" if atom.kept else run
    return re.escape(atom) if isinstance(atom, str) else f"({'|'.join(map(re.escape, atom))})"


def part(atom: str | Run | tuple[str, ...]) -> str:
    """Return a pattern of the proper beginnings of an atom, including the empty one."""
    if isinstance(atom, Run):
        return f"{atom.characters}{{0,{atom.most}}}"
    literals = [atom] if isinstance(atom, str) else atom
    return f"(?:{'|'.join(map(beginnings, literals))})"


def beginnings(literal: str) -> str:
    pattern = ""
    for character in reversed(literal[:-1]):
        pattern = f"(?:{re.escape(character)}{pattern})?"
    return pattern


BLANKS = Run(r"\s")
NAME = Run(r"[\w.\-]", 1, 256, kept=True)

WRAPS = ("<tool_call>", "<tool_calls>", "<function_call>", "<function_calls>")
CLOSERS = ("</tool_call>", "</tool_calls>", "</function_call>", "</function_calls>", "</function>")
THINKS = {
    "<think>": "</think>",
    "<think ": "</think>",
    "<thinking>": "</thinking>",
    '<details type="reasoning"': "</details>",
}
INNER = Form(
    BLANKS, ("{", "[", "<tool>", "<invoke ", "<function=", *WRAPS)
)  # the possible beginnings of a wrapping tag's content
FENCED = Form("<tool_call>", BLANKS, ("{", "["))
FENCED_END = Form("</tool_call>")
TAG = Form(BLANKS, "<", Run(r"[^<>\n]", 1, 300, kept=True), ">")
TAG_REST = Form(Run(r"[^<>\n]", 1, 300, kept=True), ">")
TOOL_NAME = Form(BLANKS, NAME, BLANKS, "</tool>")
OBJECT = Form(BLANKS, "{")
ATTRIBUTE = re.compile(r"""\bname\s*=\s*["']([^"'<>]+)["']|\A(?:parameter=)?([^\s"'=]+)\s*\Z""")
COLON = (":", "\uff1a")  # and its fullwidth form
SEPARATORS = Run(r"[\s,;.\u3002\uff0c\uff1b]")
CHINESE = Form(
    "调用函数", BLANKS, COLON, BLANKS, NAME, SEPARATORS, "参数", BLANKS, COLON, BLANKS, "{"
)
ENGLISH = Form(
    *("call function", BLANKS, COLON, BLANKS, NAME, SEPARATORS),
    *(("arguments", "parameters"), BLANKS, COLON, BLANKS, "{"),
    flags=re.IGNORECASE,
)

LANGUAGES = frozenset(
    ("", "json", "jsonc", "tool", "tool_call", "tool_calls", "function_call")
)  # languages of fences that may hold calls
LONGEST_LANGUAGE = 32
WIDE_ENDS = frozenset(
    "\u3002\uff1a\uff01\uff1f"
)  # full stop, colon, exclamation and question mark of Chinese
ENDS = frozenset(".:!?-*>") | WIDE_ENDS  # characters that may stand before a call on its line


def cut_anywhere(literal: str) -> str:
    """Return a pattern of the literal, or of its beginning at the end of the text."""
    pattern = ""
    for character in reversed(literal[1:]):
        pattern = rf"(?:{re.escape(character)}{pattern}|\Z)"
    return re.escape(literal[0]) + pattern


OPENERS = frozenset(
    ("~~~", "<invoke ", "<function=", "调用函数", "call function", *WRAPS, *CLOSERS, *THINKS)
)
QUOTE = r'\s{0,64}(?:"|\Z)'
# the beginning of anything but plain text, perhaps cut off by the end of the text
START = re.compile(
    rf"`|{'|'.join(map(cut_anywhere, sorted(OPENERS - {'call function'})))}"
    rf"|\{{{QUOTE}|\[\s{{0,64}}(?:\{{{QUOTE}|\Z)|(?i:{cut_anywhere('call function')})"
)


def is_cut(opener: str) -> bool:
    """Return whether a match of START is only the beginning of an opener."""
    if opener[0] in "{[":
        return opener[-1] != '"'
    return opener != "`" and opener.lower() not in OPENERS


def closing(tag: str) -> str:
    return f"</{tag[1:].rstrip('>')}>"


# --- parsed values --------------------------------------------------------------------------------
def value_of(text: str) -> Any:
    """Return the JSON value, or None."""
    try:
        return loads(text.encode("utf-8", "replace"))
    except ValueError:
        return None


def calls_of(value: Any, tools: Tools, *, tagged: bool) -> list[Call]:
    """Return the calls of a parsed JSON value.

    `tagged`: only a call can stand here, so the value may be less exact.
    """
    if isinstance(value, dict) and isinstance(value.get("tool_calls"), list):
        value = value["tool_calls"]
        tagged = True
    if isinstance(value, list):
        found = [call_of(item, tools, tagged=True) for item in value] if tagged else []
    else:
        found = [call_of(value, tools, tagged=tagged)]
    return [call for call in found if call is not None]


def call_of(value: Any, tools: Tools, *, tagged: bool) -> Call | None:
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
        or (not tagged and (key is None or not value.keys() <= CALL_KEYS))
    ):
        return None
    given = value.get(key) if key else None
    if key == "parameters" and isinstance(given, dict) and given.keys() >= DEFINES:
        return None
    return made(name, given)


def made(name: str, given: Any) -> Call | None:
    """Return a call with arguments given as an object or as the JSON text of one, or None.

    Missing arguments become an empty object.
    """
    if given is None or given == "":
        return Call(name, "{}")
    read = value_of(given) if isinstance(given, str) else given
    if not isinstance(read, dict):
        return None
    return Call(
        name, given if isinstance(given, str) and exact(given) else orjson.dumps(read).decode()
    )


def exact(text: str) -> bool:
    """Return whether every reader of JSON accepts this text."""
    try:
        orjson.loads(text)
    except ValueError:
        return False
    return True


def argument(tool: dict[str, Any], name: str, text: str) -> Any:
    """Return the value of the text between a parameter's tags.

    It is read as JSON if it is JSON and the tool's schema does not want a string.
    """
    properties = (tool.get("parameters") or {}).get("properties")
    schema = properties.get(name) if isinstance(properties, dict) else None
    value = value_of(text)
    if isinstance(value, str):
        return value
    wants_text = isinstance(schema, dict) and schema.get("type") == "string"
    no_json = value is None and text.strip() != "null"
    return text.removeprefix("\n").removesuffix("\n") if wants_text or no_json else value
