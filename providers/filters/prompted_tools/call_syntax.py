"""The forms in which models write tool calls: patterns of their beginnings. No I/O.

Sources: the chat templates of the Hermes and Qwen families (`<tool_call>`, `<function=NAME>`),
published prompts that ask for `<function_calls>` and `<invoke>`, and OpenAI's own `tool_calls`.
"""

import re
from typing import NamedTuple


# --- patterns of a text that a stream may cut anywhere --------------------------------------------
class StreamPattern:
    """A row of atoms: literals, runs like `[a-z]{1,9}`, or tuples of literals to choose from.

    `full_pattern` matches the whole row, `partial_pattern` an end of the text that can still become
    one. The row must end with a literal, so that more text never changes a match.
    """

    __slots__ = ("full_pattern", "partial_pattern")

    def __init__(
        self, *atoms: "str | Run | tuple[str, ...]", flags: re.RegexFlag = re.NOFLAG
    ) -> None:
        full_atoms = [full_atom_pattern(atom) for atom in atoms]
        partial_rows = [
            "".join(full_atoms[:position]) + partial_atom_pattern(atom)
            for position, atom in enumerate(atoms)
        ]
        self.full_pattern = re.compile("".join(full_atoms), flags)
        self.partial_pattern = re.compile(rf"(?:{'|'.join(partial_rows)})\Z", flags)


class Run(NamedTuple):
    """From `least` to `most` characters of one class; a group when `is_group`."""

    characters: str
    least: int = 0
    most: int = 64
    is_group: bool = False


def full_atom_pattern(atom: str | Run | tuple[str, ...]) -> str:
    """Return a pattern of a whole atom."""
    if isinstance(atom, str):
        return re.escape(atom)
    if isinstance(atom, tuple) and not isinstance(atom, Run):
        return f"({'|'.join(map(re.escape, atom))})"
    run = f"{atom.characters}{{{atom.least},{atom.most}}}"
    return f"({run})" if atom.is_group else run


def partial_atom_pattern(atom: str | Run | tuple[str, ...]) -> str:
    """Return a pattern of the proper beginnings of an atom, including the empty one."""
    if isinstance(atom, Run):
        return f"{atom.characters}{{0,{atom.most}}}"
    if isinstance(atom, str):
        atom = (atom,)
    return f"(?:{'|'.join(map(beginnings_pattern, atom))})"


def beginnings_pattern(literal: str) -> str:
    """Return a pattern of the proper beginnings of a literal, including the empty one."""
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
# the possible beginnings of a wrapping tag's content
WRAPPED_BEGINNING = StreamPattern(
    BLANKS, ("{", "[", "<tool>", "<invoke ", "<function=", *WRAPPING_TAGS)
)
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
    "call function",
    BLANKS,
    COLONS,
    BLANKS,
    NAME,
    SEPARATORS,
    ("arguments", "parameters"),
    BLANKS,
    COLONS,
    BLANKS,
    "{",
    flags=re.IGNORECASE,
)

# languages of fences that may hold calls
FENCE_LANGUAGES = frozenset(
    ("", "json", "jsonc", "tool", "tool_call", "tool_calls", "function_call")
)
MOST_LANGUAGE_CHARS = 32
# full stop, colon, exclamation and question mark of Chinese
CHINESE_PUNCTUATION = frozenset("\u3002\uff1a\uff01\uff1f")
# characters that may stand before a call on its line
PUNCTUATION_BEFORE_CALL = frozenset(".:!?-*>") | CHINESE_PUNCTUATION


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
    """Return whether a match of CONSTRUCT_START is only the beginning of an opener."""
    if opener[0] in "{[":
        return opener[-1] != '"'
    return opener != "`" and opener.lower() not in OPENERS


def read_name_attribute(tag_content: str) -> str:
    """Return the name in the rest of a tag: `name="NAME"` or the bare name; empty without one."""
    attribute = NAME_ATTRIBUTE.search(tag_content)
    if attribute is None:
        return ""
    name: str = attribute[1] or attribute[2]
    return name


def build_closing_tag(tag: str) -> str:
    """Return the closing tag of an opening one, which may lack its end."""
    return f"</{tag[1:].rstrip('>')}>"
