"""Read JSON that is nearly right, in every way that it can be read. No I/O.

Mended are: commas before a closing bracket, single and curly quotes, full-width punctuation,
constants of Python, keys without quotes, quotes within a text that lack their backslash, and
missing closing brackets. A text may have several readings then. Those with the fewest unescaped
quotes come first, and `find_only_reading` refuses a text whose best readings differ.
"""

import re
from collections.abc import Callable, Iterator
from typing import TypeVar

MOST_CHARS = 16_384  # a longer text is not mended
MOST_STEPS = 20_000  # of the search for readings
MOST_INNER_QUOTES = 12  # quotes without backslash in one text
MOST_NESTING_LEVELS = 24

COLONS = (":", "\uff1a")  # and the full-width forms of these marks
COMMAS = (",", "\uff0c")
OBJECT_MARKS = {"{": "}", "\uff5b": "\uff5d"}
LIST_MARKS = {"[": "]", "\uff3b": "\uff3d"}
OBJECT_ENDS = ("}", "\uff5d")
LIST_ENDS = ("]", "\uff3d")
DOUBLE_CURLY = '\u201d\u201c\u201f\uff02"'
SINGLE_CURLY = "\u2019\u2018'"
# the quotes that may end a text, by the one that begins it
CLOSING_QUOTES = {
    '"': '"',
    "'": "'",
    "\u201c": DOUBLE_CURLY,
    "\u201d": DOUBLE_CURLY,
    "\uff02": DOUBLE_CURLY,
    "\u2018": SINGLE_CURLY,
    "\u2019": SINGLE_CURLY,
}
QUOTE_OR_ESCAPE = re.compile(r"\\.|[\"'\u2018\u2019\u201c\u201d\u201f\uff02]", re.DOTALL)
BLANKS = re.compile(r"\s*")
SCALAR = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w.])|(?:true|false|null)\b")
PYTHON_SCALAR = re.compile(r"(?:True|False|None)\b")
BARE_KEY = re.compile(r"[A-Za-z_$][\w$\-]*")
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\"}
ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
CONSTANTS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}

Meaning = TypeVar("Meaning")
Members = tuple[object, ...]
# a value, where it ends, and how many more unescaped quotes may come
Reading = tuple[object, int, int]


class TooManySteps(Exception):
    """The search for readings takes too long."""


def find_only_reading(
    text: str, read_meaning: Callable[[object], Meaning | None], *, may_be_cut: bool
) -> Meaning | None:
    """Return the one meaning of a nearly right JSON text, or None if it has none or several.

    `read_meaning` returns what a value means, None for a value that means nothing here. With
    `may_be_cut` brackets may be missing at the end.
    """
    if len(text) > MOST_CHARS:
        return None
    mender = JsonMender(text, may_be_cut=may_be_cut)
    try:
        for most_quotes in range(MOST_INNER_QUOTES + 1):
            meanings = mender.list_meanings(read_meaning, most_quotes)
            if meanings or not mender.has_met_inner_quotes:
                return meanings[0] if len(meanings) == 1 else None
    except (TooManySteps, RecursionError):
        pass
    return None


class JsonMender:
    """The readings of one text."""

    __slots__ = ("_may_be_cut", "_steps_left", "_text", "has_met_inner_quotes")

    def __init__(self, text: str, *, may_be_cut: bool) -> None:
        self._text = text
        self._may_be_cut = may_be_cut
        self._steps_left = MOST_STEPS
        self.has_met_inner_quotes = False  # more quotes without backslash would allow more readings

    def list_meanings(
        self, read_meaning: Callable[[object], Meaning | None], most_quotes: int
    ) -> list[Meaning]:
        """Return the different meanings of the values that the whole text can be."""
        self._steps_left = MOST_STEPS
        self.has_met_inner_quotes = False
        meanings: list[Meaning] = []
        for value in self.read_values(most_quotes):
            meaning = read_meaning(value)
            if meaning is not None and meaning not in meanings:
                meanings.append(meaning)
        return meanings

    def read_values(self, most_quotes: int) -> Iterator[object]:
        """Yield the values that the whole text can be."""
        for value, position, _ in self._read_value(0, most_quotes, 0):
            if self._skip_blanks(position) == len(self._text):
                yield value

    def _skip_blanks(self, position: int) -> int:
        blanks = BLANKS.match(self._text, position)
        return blanks.end() if blanks else position

    def _read_value(self, position: int, quotes: int, level: int) -> Iterator[Reading]:
        self._steps_left -= 1
        if self._steps_left < 0:
            raise TooManySteps
        position = self._skip_blanks(position)
        char = self._text[position : position + 1]
        if level > MOST_NESTING_LEVELS:
            return
        if char in OBJECT_MARKS:
            yield from self._read_members(position + 1, quotes, level, ())
        elif char in LIST_MARKS:
            yield from self._read_items(position + 1, quotes, level, ())
        elif char in CLOSING_QUOTES:
            yield from self._read_text(position, quotes, is_key=False)
        elif scalar := SCALAR.match(self._text, position):
            yield read_scalar(scalar[0]), scalar.end(), quotes
        elif scalar := PYTHON_SCALAR.match(self._text, position):
            yield CONSTANTS[scalar[0]], scalar.end(), quotes

    # --- objects and lists ------------------------------------------------------------------------
    def _read_members(
        self, position: int, quotes: int, level: int, members: Members
    ) -> Iterator[Reading]:
        """Yield the objects that continue with a member or an end here."""
        position = self._skip_blanks(position)
        char = self._text[position : position + 1]
        if char in OBJECT_ENDS or not char or char in LIST_ENDS:
            yield from self._end_value(char, position, quotes, OBJECT_ENDS, make_object(members))
            return
        for key, key_end, key_quotes in self._read_key(position, quotes):
            for value, end, left in self._read_value(key_end, key_quotes, level + 1):
                more = (*members, (key, value))
                yield from self._continue_members(end, left, level, more)

    def _continue_members(
        self, position: int, quotes: int, level: int, members: Members
    ) -> Iterator[Reading]:
        position = self._skip_blanks(position)
        char = self._text[position : position + 1]
        if char in COMMAS:
            yield from self._read_members(position + 1, quotes, level, members)
        else:
            yield from self._end_value(char, position, quotes, OBJECT_ENDS, make_object(members))

    def _read_items(
        self, position: int, quotes: int, level: int, items: Members
    ) -> Iterator[Reading]:
        """Yield the lists that continue with an item or an end here."""
        position = self._skip_blanks(position)
        char = self._text[position : position + 1]
        if char in LIST_ENDS or not char or char in OBJECT_ENDS:
            yield from self._end_value(char, position, quotes, LIST_ENDS, list(items))
            return
        for value, end, left in self._read_value(position, quotes, level + 1):
            end = self._skip_blanks(end)
            char = self._text[end : end + 1]
            more = (*items, value)
            if char in COMMAS:
                yield from self._read_items(end + 1, left, level, more)
            else:
                yield from self._end_value(char, end, left, LIST_ENDS, list(more))

    def _end_value(
        self, char: str, position: int, quotes: int, ends: tuple[str, ...], value: object
    ) -> Iterator[Reading]:
        """Yield the value if it ends here: with its bracket, or where that may be missing."""
        if char and char in ends:
            yield value, position + 1, quotes
        elif self._may_be_cut and (not char or char in OBJECT_ENDS or char in LIST_ENDS):
            yield value, position, quotes

    # --- texts ------------------------------------------------------------------------------------
    def _read_key(self, position: int, quotes: int) -> Iterator[tuple[str, int, int]]:
        """Yield the keys that can begin here, with the place after their colon."""
        if bare := BARE_KEY.match(self._text, position):
            end = self._skip_blanks(bare.end())
            if self._text[end : end + 1] in COLONS:
                yield bare[0], end + 1, quotes
            return
        if self._text[position] not in CLOSING_QUOTES:
            return
        for key, end, left in self._read_text(position, quotes, is_key=True):
            yield str(key), self._skip_blanks(end) + 1, left

    def _read_text(self, position: int, quotes: int, *, is_key: bool) -> Iterator[Reading]:
        """Yield the texts that can begin with the quote here.

        A quote may end a text if a mark follows that can stand behind one; any quote before it has
        lost its backslash.
        """
        text = self._text
        closers = CLOSING_QUOTES[text[position]]
        start = position + 1
        for quote in QUOTE_OR_ESCAPE.finditer(text, start):
            if quote[0] not in closers:
                continue
            self._steps_left -= 1
            if self._steps_left < 0:
                raise TooManySteps
            if self._may_end_text(quote.end(), is_key=is_key):
                yield unescape(text[start : quote.start()]), quote.end(), quotes
            if quotes == 0:
                self.has_met_inner_quotes = True
                return
            quotes -= 1

    def _may_end_text(self, position: int, *, is_key: bool) -> bool:
        position = self._skip_blanks(position)
        char = self._text[position : position + 1]
        if is_key:
            return bool(char) and char in COLONS
        if not char:
            return self._may_be_cut
        return char in COMMAS or char in OBJECT_ENDS or char in LIST_ENDS


def make_object(members: Members) -> dict[str, object]:
    """Return the object of these pairs of key and value."""
    return dict(members)  # type: ignore[arg-type]


def read_scalar(text: str) -> object:
    """Return the value of a number or a constant."""
    if text in CONSTANTS:
        return CONSTANTS[text]
    return int(text) if text.lstrip("-").isdigit() else float(text)


def unescape(text: str) -> str:
    """Return a text without its escapes; a backslash before any other character stays."""
    if "\\" not in text:
        return text
    unescaped = ESCAPE.sub(replace_escape, text)
    return unescaped.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def replace_escape(escape: re.Match[str]) -> str:
    """Return the character that an escape means."""
    if escape[1]:
        return chr(int(escape[1], 16))
    if escape[2] in CLOSING_QUOTES:
        return escape[2]
    return ESCAPES.get(escape[2], escape[0])
