"""Follow a JSON value in a text that comes in pieces, to the value's end. No I/O."""

import re

from providers.filters.prompted_tools.scanned_text import ScannedText, Steps
from providers.filters.prompted_tools.written_call import NAME_KEYS, NESTED_KEYS, ToolsByName
from providers.wire.json_reader import MOST_NESTING_LEVELS

BLANKS = re.compile(r"[ \t\r\n]*")
SCALAR = re.compile(r"[-+.0-9A-Za-z]*")
STRING_CONTENT = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)  # models put line breaks in strings
LINE_STRING_CONTENT = re.compile(r'(?:[^"\\\n]++|\\.)*+')
CLOSING_BRACKETS = {"{": "}", "[": "]"}
MARKS = frozenset("{}[],:")
# A token of JSON after blanks; the key says if strings may have line breaks.
TOKEN_PATTERNS = {
    True: re.compile(
        r'[ \t\r\n]*+(?:("(?:[^"\\]++|\\.)*+")|([-+.0-9A-Za-z]++)|([{}\[\],:]))', re.DOTALL
    ),
    False: re.compile(r'[ \t\r\n]*+(?:("(?:[^"\\\n]++|\\.)*+")|([-+.0-9A-Za-z]++)|([{}\[\],:]))'),
}
SCALAR_GROUP = 2  # group of these patterns
# The tokens that may come next, as a row of "key", "value", ":", "," and a closing bracket
TOKENS_AFTER_OPENING = {"{": "key or }", "[": "value or ]"}


class JsonScanner:
    """The reading of one JSON value, which begins with a bracket.

    With `tools` the held text is released as soon as the value cannot be a call of one of them.
    """

    __slots__ = ("_closers", "_expected", "_outer_key", "_text", "_tools")

    def __init__(self, text: ScannedText, tools: ToolsByName | None = None) -> None:
        self._text = text
        self._tools = tools
        self._closers: list[str] = []  # of the open brackets
        self._expected = "value"  # the tokens that may come next
        self._outer_key = ""  # the last key of the outermost object, if that may be a call

    def take_value(self) -> Steps[bool]:
        """Take the value; return False if it breaks off."""
        text = self._text
        while True:
            if self._closers:
                self._take_whole_tokens()
            if text.position == len(text.window) or text.window[text.position].isspace():
                yield from text.take_run(BLANKS)
            char = text.next_char
            if (
                not char
                or not is_expected_token(char, self._expected)
                or len(self._closers) > MOST_NESTING_LEVELS
            ):
                return False
            if char in MARKS:
                self._take_mark(char)
                if not self._closers:
                    return True
            elif not (yield from self._take_literal(char)):
                return False

    def _may_be_call(self) -> bool:
        """Return whether the value may still be a call, and nothing but its end is open."""
        return len(self._closers) == 1 and self._tools is not None and self._text.is_holding

    def _take_whole_tokens(self) -> None:
        """Take at once all whole tokens that need no decision.

        These are left to the other methods: the token in which the text may end, the bracket that
        closes the outermost one, an error, and a token that decides whether the value is a call.
        """
        text = self._text
        window = text.window
        position = text.position
        closers = self._closers
        expected = self._expected
        is_watched = self._tools is not None and text.is_holding
        match = TOKEN_PATTERNS[text.is_holding].match
        while 0 < len(closers) <= MOST_NESTING_LEVELS and (token := match(window, position)):
            kind = token.lastindex or 0
            literal = token[kind]
            char = literal[0]
            if not is_expected_token(char, expected) or (
                kind == SCALAR_GROUP and token.end() == len(window)
            ):
                break
            if len(closers) == 1 and (
                char in "}]"
                or (is_watched and char in '"{[' and self._is_decisive(literal, expected))
            ):
                break
            if char in "}]":
                closers.pop()
                expected = tokens_after_value(closers)
            elif char in ":,":
                expected = "key" if char == "," and closers[-1] == "}" else "value"
            elif char in CLOSING_BRACKETS:
                closers.append(CLOSING_BRACKETS[char])
                expected = TOKENS_AFTER_OPENING[char]
            elif expected.startswith("key"):
                expected = ":"
            else:
                expected = tokens_after_value(closers)
            position = token.end()
        self._expected = expected
        text.take_to(position)

    def _is_decisive(self, literal: str, expected: str) -> bool:
        """Return whether an outermost token may show that the value is no call; note a key."""
        char = literal[0]
        if char == '"':
            if not expected.startswith("key"):
                return self._outer_key in NAME_KEYS
            self._outer_key = literal[1:-1]
        return char in CLOSING_BRACKETS and self._outer_key not in NESTED_KEYS

    def _take_mark(self, char: str) -> None:
        """Take a bracket, a comma or a colon."""
        closers = self._closers
        if char in CLOSING_BRACKETS:
            if self._may_be_call() and self._outer_key not in NESTED_KEYS:
                self._text.release_held()
            closers.append(CLOSING_BRACKETS[char])
            self._expected = TOKENS_AFTER_OPENING[char]
        elif char in ":,":
            self._expected = tokens_after_separator(char, closers)
        else:
            closers.pop()
            self._expected = tokens_after_value(closers)
        self._text.take_chars(1)

    def _take_literal(self, char: str) -> Steps[bool]:
        """Take a string or a scalar, as a key or a value; return False if it breaks off."""
        is_outermost = self._may_be_call()
        is_key = self._expected.startswith("key")
        if char != '"':
            is_complete = (yield from self._text.take_run(SCALAR)) > 0
        elif is_outermost:
            is_complete = yield from self._take_outer_string(is_key=is_key)
        else:
            is_complete = yield from self._take_string()
        self._expected = ":" if is_key else tokens_after_value(self._closers)
        return is_complete

    def _take_outer_string(self, *, is_key: bool) -> Steps[bool]:
        """Take a string of the outermost object, and release the text if it names no tool."""
        mark = self._text.mark_held()
        is_complete = yield from self._take_string()
        content = self._text.read_held(mark)[1:-1]
        if is_key:
            self._outer_key = content
        elif is_complete and self._outer_key in NAME_KEYS and content not in (self._tools or ()):
            self._text.release_held()
        return is_complete

    def _take_string(self) -> Steps[bool]:
        """Take a string; return False if it breaks off."""
        text = self._text
        text.take_chars(1)
        while True:
            content_pattern = STRING_CONTENT if text.is_holding else LINE_STRING_CONTENT
            if content := content_pattern.match(text.window, text.position):
                text.take_to(content.end())
            next_chars = text.window[text.position : text.position + 2]
            if next_chars[:1] == '"':
                text.take_chars(1)
                return True
            if text.is_final or next_chars not in ("", "\\"):
                return False
            yield


def tokens_after_value(closers: list[str]) -> str:
    """Return the tokens that may follow a value in the innermost of these brackets, if any."""
    return f", or {closers[-1]}" if closers else ""


def tokens_after_separator(char: str, closers: list[str]) -> str:
    """Return the token that must follow a colon or a comma in the innermost bracket."""
    return "key" if char == "," and closers[-1] == "}" else "value"


def is_expected_token(char: str, expected: str) -> bool:
    """Return whether a token that begins with `char` is `expected`."""
    if char in "}],:":
        return char in expected
    return expected.startswith("value") or (char == '"' and expected.startswith("key"))
