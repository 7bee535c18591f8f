"""The forms in which models write tool calls: patterns of their beginnings. No I/O.

Sources: the chat templates of Hermes, Qwen and GLM (`<tool_call>`, `<function=NAME>`, `<arg_key>`),
of MiniMax (`<minimax:tool_call>`) and DeepSeek (its tags with the mark DSML), published prompts
that ask for `<function_calls>` and `<invoke>`, and OpenAI's own `tool_calls`. The forms with
special tokens are in `providers/filters/call_texts/token_syntax.py`.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from providers.filters.call_texts import token_syntax
from providers.protocol.dialect import UNMISTAKABLE_FORMS


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

# The families of forms, for the choice of those that are looked for; dialects name them too
FENCES = "fences"  # JSON in a code fence
LINES = "lines"  # JSON alone on its line
SENTENCES = "sentences"
PYTHON = "python"  # [name(key=value)] alone on its line
TAGS = "tags"  # of Hermes, Qwen, GLM, MiniMax, and XML in general
COHERE = "cohere"
DEEPSEEK = "deepseek"
GRANITE = "granite"  # and Phi-4-mini
HARMONY = "harmony"
INTERNLM = "internlm"
KIMI = "kimi"
LLAMA = "llama"
MINIMAX = "minimax"  # M3; the tags of the older ones are among TAGS
MISTRAL = "mistral"
PHI = "phi"
ALL_FORMS = UNMISTAKABLE_FORMS | {FENCES, LINES, SENTENCES, PYTHON}

# the names of DeepSeek's tags begin with one of these
DSML_MARKS = ("\uff5cDSML\uff5c", "|DSML|")
DSML_WRAPPING_TAGS = tuple(
    f"<{mark}{name}>" for mark in DSML_MARKS for name in ("function_calls", "tool_calls")
)
DSML_INVOKE_TAGS = {f"<{mark}invoke ": mark for mark in DSML_MARKS}
TOOL_CALL_TAG = "<tool_call>"
PLAIN_WRAPPING_TAGS = (
    TOOL_CALL_TAG,
    "<tool_calls>",
    "<function_call>",
    "<function_calls>",
    "<minimax:tool_call>",
    "<seed:tool_call>",
)
WRAPPING_TAGS = (*PLAIN_WRAPPING_TAGS, *DSML_WRAPPING_TAGS)
INVOKE_TAGS = ("<invoke ", "<function=")
THINKING_TAGS = {
    "<think>": "</think>",
    "<think ": "</think>",
    "<thinking>": "</thinking>",
    '<details type="reasoning"': "</details>",
}
# the possible beginnings of a wrapping tag's content
WRAPPED_BEGINNING = StreamPattern(
    BLANKS, ("{", "[", "<tool>", *INVOKE_TAGS, *DSML_INVOKE_TAGS, *WRAPPING_TAGS)
)
# GLM's call, which begins with the name
WRAPPED_NAME = StreamPattern(
    BLANKS,
    Run(r"[\w.\-:]", 1, 256, is_group=True),
    BLANKS,
    ("<arg_key>", "</tool_call>", "{"),
)
ARGUMENT_KEY_END = StreamPattern(BLANKS, "<arg_value>")
NEXT_ARGUMENT = StreamPattern(BLANKS, ("<arg_key>", "</tool_call>"))
MORE_CALLS = StreamPattern(Run(r"[\s,;]"), "{")
FENCED_CALL = StreamPattern("<tool_call>", BLANKS, ("{", "["))
FENCED_CALL_END = StreamPattern("</tool_call>")
FENCED_LIST = StreamPattern(
    "[",
    BLANKS,
    "{",
    BLANKS,
    (
        '"name"',
        '"tool"',
        '"tool_name"',
        '"tool_call_id"',
        '"function"',
        '"type"',
        '"id"',
        '"index"',
    ),
)
# a fence of the older models of Cohere, which ends on the line of the list
ACTION_FENCE = StreamPattern(BLANKS, "```json", BLANKS, "[")
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

LINE_BLANKS = re.compile(r"[ \t\r]*")

# languages of fences that may hold calls
FENCE_LANGUAGES = frozenset(
    ("", "json", "jsonc", "tool", "tool_call", "tool_calls", "function_call")
)
MOST_LANGUAGE_CHARS = 32
# full stop, colon, exclamation and question mark of Chinese
CHINESE_PUNCTUATION = frozenset("\u3002\uff1a\uff01\uff1f")
# characters that may stand before a call on its line
PUNCTUATION_BEFORE_CALL = frozenset(".:!?-*>") | CHINESE_PUNCTUATION


# --- the beginning of anything but plain text, perhaps cut off by the end of the text -------------
SENTENCE_OPENERS = ("调用函数", "call function")
CLOSING_TAGS = (*(f"</{tag[1:]}" for tag in WRAPPING_TAGS), "</function>")
OPENERS_BY_FORM = {
    TAGS: (*PLAIN_WRAPPING_TAGS, *INVOKE_TAGS),
    DEEPSEEK: (*DSML_WRAPPING_TAGS, *DSML_INVOKE_TAGS, *token_syntax.DEEPSEEK_OPENERS),
    COHERE: token_syntax.COHERE_OPENERS,
    FENCES: (token_syntax.COHERE_ACTION,),
    GRANITE: token_syntax.GRANITE_OPENERS,
    HARMONY: token_syntax.HARMONY_OPENERS,
    INTERNLM: token_syntax.INTERNLM_OPENERS,
    KIMI: token_syntax.KIMI_OPENERS,
    LLAMA: token_syntax.LLAMA_OPENERS,
    MINIMAX: token_syntax.MINIMAX_OPENERS,
    MISTRAL: (token_syntax.MISTRAL_OPENER,),
    PHI: token_syntax.PHI_OPENERS,
    SENTENCES: SENTENCE_OPENERS,
}
CLOSERS = frozenset((*CLOSING_TAGS, *token_syntax.CLOSERS))
COMMON_OPENERS = ("~~~", *THINKING_TAGS, *CLOSERS)
OPENERS = frozenset(COMMON_OPENERS).union(*OPENERS_BY_FORM.values())
TOKEN_OPENERS = frozenset(
    (
        *token_syntax.DEEPSEEK_OPENERS,
        *token_syntax.KIMI_OPENERS,
        *token_syntax.HARMONY_OPENERS,
        *token_syntax.LLAMA_OPENERS,
        *token_syntax.JSON_OPENERS,
        *token_syntax.MINIMAX_OPENERS,
        token_syntax.MISTRAL_OPENER,
    )
)
CUTTABLE_QUOTE = r'\s{0,64}(?:"|\Z)'
OBJECT_START = rf"\{{{CUTTABLE_QUOTE}"
LIST_START = rf"\[\s{{0,64}}(?:\{{{CUTTABLE_QUOTE}|\Z)"
PYTHON_START = r"\[\s{0,64}(?:[A-Za-z_][\w.\-]{0,127}(?:\(|\Z)|\Z)"


@lru_cache(maxsize=64)
def compile_construct_start(forms: frozenset[str]) -> re.Pattern[str]:
    """Return the pattern of all beginnings that matter where these forms are looked for."""
    openers = set(COMMON_OPENERS).union(*(OPENERS_BY_FORM.get(form, ()) for form in forms))
    rows = ["`", cuttable_choice(openers - {"call function"})]
    if LINES in forms:
        rows += [OBJECT_START, LIST_START]
    if PYTHON in forms:
        rows.append(PYTHON_START)
    if SENTENCES in forms:
        rows.append(cuttable_letters("call function"))
    return re.compile("|".join(rows))


def cuttable_choice(literals: Iterable[str]) -> str:
    """Return a pattern of these literals, or of their beginnings at the end of the text."""
    rests_by_head: dict[str, set[str]] = {}
    for literal in literals:
        rests_by_head.setdefault(literal[0], set()).add(literal[1:])
    rows = []
    for head, rests in sorted(rests_by_head.items()):
        tail = ""
        if any(rests):
            tail = rf"(?:{cuttable_choice(rest for rest in rests if rest)}|\Z)"
        rows.append(re.escape(head) + tail)
    return "|".join(rows)


def cuttable_letters(literal: str) -> str:
    """Return a pattern of a literal in any case, or of its beginnings at the end of the text.

    A flag, or a class as its first letter, would slow down the search for all other beginnings.
    """
    rest = ""
    for letter in reversed(literal[1:]):
        rest = rf"(?:[{letter.lower()}{letter.upper()}]{rest}|\Z)"
    return f"{literal[0].lower()}{rest}|{literal[0].upper()}{rest}"


def is_cut_opener(opener: str) -> bool:
    """Return whether a match of the construct start is only the beginning of an opener."""
    if opener in OPENERS or opener == "`" or opener.lower() == "call function":
        return False
    return opener[0] not in "{[" or opener[-1] not in '"('


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
