"""Read text that comes in pieces, and follow JSON in it to its end. No I/O.

Text that is read is passed on or held. A generator that needs more text yields, and continues when
some has come; `_is_final` says that none will.
"""

import re
from collections.abc import Generator

from providers.filters.prompted_tools.call_syntax import (
    NAME_KEYS,
    NESTED_KEYS,
    StreamPattern,
    ToolsByName,
    WrittenCall,
)
from providers.wire.json_reader import MOST_NESTING_LEVELS

BLANKS = re.compile(r"[ \t\r\n]*")
SCALAR = re.compile(r"[-+.0-9A-Za-z]*")
STRING_CONTENT = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)  # models put line breaks in strings
LINE_STRING_CONTENT = re.compile(r'(?:[^"\\\n]++|\\.)*+')
CLOSING_BRACKETS = {"{": "}", "[": "]"}
# A token of JSON after blanks; the key says if strings may have line breaks.
TOKEN_PATTERNS = {
    True: re.compile(
        r'[ \t\r\n]*+(?:("(?:[^"\\]++|\\.)*+")|([-+.0-9A-Za-z]++)|([{}\[\],:]))', re.DOTALL
    ),
    False: re.compile(r'[ \t\r\n]*+(?:("(?:[^"\\\n]++|\\.)*+")|([-+.0-9A-Za-z]++)|([{}\[\],:]))'),
}
MOST_HELD_CHARS = 8 * 2**20  # longest possible call; a longer text is no call
STRING_GROUP = 1
SCALAR_GROUP = 2  # groups of these patterns
CountSteps = Generator[None, None, int]
DecisionSteps = Generator[None, None, bool]


class JsonScanner:
    """The text that is not decided yet.

    `_window` from `_position` on is not read yet; `_held_pieces` is read and held.
    """

    def __init__(self) -> None:
        self.call_count = 0  # calls
        self._window = ""
        self._position = 0
        self._is_final = False
        self._held_pieces: list[str] = []
        self._is_holding = False
        self._held_chars = 0
        self._output_items: list[str | WrittenCall] = []
        self._blank_pieces: list[
            str
            # white space before a possible call; it is passed on only if text follows it
        ] = []
        self._has_passed_text = False  # text was passed on since the beginning or the last call
        self._last_visible_char = ""  # the last visible character of the line
        self._last_char = ""  # the last character

    @property
    def _next_char(self) -> str:
        """Return the next character; empty at the end of the text.

        It is reliable after a step that did not stop for lack of text.
        """
        return self._window[self._position : self._position + 1]

    # --- taking -----------------------------------------------------------------------------------
    def _take_chars(self, size: int) -> None:
        if size <= 0:
            return
        text = self._window[self._position : self._position + size]
        self._position += size
        self._last_char = text[-1]
        _, broken, rest = text.rpartition("\n")
        visible = rest.rstrip(" \t\r")
        if visible or broken:
            self._last_visible_char = visible[-1:]
        if self._is_holding:
            self._held_pieces.append(text)
            self._held_chars += size
            if self._held_chars > MOST_HELD_CHARS:
                self._release_held()
        else:
            self._pass_text(text)

    def _pass_text(self, text: str) -> None:
        if self._has_passed_text:
            self._output_items.append(text)
        elif text and not text.isspace():
            self._output_items += [*self._blank_pieces, text]
            self._blank_pieces.clear()
            self._has_passed_text = True
        else:
            self._blank_pieces.append(text)

    def _begin_holding(self) -> None:
        self._is_holding = True
        self._held_chars = 0

    def _release_held(self) -> None:
        """Pass on the held characters as text."""
        self._is_holding, held = False, "".join(self._held_pieces)
        self._held_pieces.clear()
        self._pass_text(held)

    def _replace_held(self, calls: list[WrittenCall]) -> None:
        """Pass on these calls in place of the held text."""
        self._held_pieces.clear()
        self._blank_pieces.clear()
        self._is_holding = self._has_passed_text = False
        self._last_visible_char = self._last_char = ""
        self._output_items += calls
        self.call_count += len(calls)

    def _drain_output(self) -> list[str | WrittenCall]:
        """Return the text and calls to pass on, neighbouring texts joined."""
        decided: list[str | WrittenCall] = []
        texts: list[str] = []
        for item in [*self._output_items, None]:
            if isinstance(item, str):
                texts.append(item)
                continue
            if text := "".join(texts):
                decided.append(text)
            texts.clear()
            if item is not None:
                decided.append(item)
        self._output_items.clear()
        return decided

    # --- steps ------------------------------------------------------------------------------------
    def _take_run(self, run: re.Pattern[str]) -> CountSteps:
        """Take the characters of a run; return how many."""
        taken = 0
        while True:
            found = run.match(self._window, self._position)
            size = found.end() - self._position if found else 0
            taken += size
            self._take_chars(size)
            if self._position < len(self._window) or self._is_final:
                return taken
            yield

    def _take_limited_run(
        self, run: re.Pattern[str], most_chars: int
    ) -> Generator[None, None, str]:
        """Take, and hold, a run of at most `most_chars` characters; return it."""
        begun = len(self._held_pieces)
        while True:
            found = run.match(self._window, self._position, self._position + most_chars)
            size = found.end() - self._position if found else 0
            most_chars -= size
            self._take_chars(size)
            if self._position < len(self._window) or self._is_final:
                return "".join(self._held_pieces[begun:])
            yield

    def _match_pattern(self, pattern: StreamPattern) -> Generator[None, None, re.Match[str] | None]:
        """Return the match of the form that begins here, without taking it; None when none does."""
        while True:
            found = pattern.full_pattern.match(self._window, self._position)
            if (
                found
                or self._is_final
                or not pattern.partial_pattern.match(self._window, self._position)
            ):
                return found
            yield

    def _take_until(self, literal: str) -> Generator[None, None, str | None]:
        """Take all text up to and including `literal`, and return the held text before it.

        Returns None if the text ends without it.
        """
        begun = len(self._held_pieces)
        while True:
            at = self._window.find(literal, self._position)
            if at >= 0:
                self._take_chars(at - self._position)
                text = "".join(self._held_pieces[begun:])
                self._take_chars(len(literal))
                return text
            if self._is_final:
                self._take_chars(len(self._window) - self._position)
                return None
            self._take_chars(len(self._window) - self._position - len(literal) + 1)
            yield

    # --- JSON -------------------------------------------------------------------------------------
    def _take_json(self, tools: ToolsByName | None = None) -> DecisionSteps:
        """Take the JSON value that begins here with a bracket; return False if it breaks off.

        With `tools` the text is released as soon as the value cannot be a call of one of them.
        """
        closers: list[str] = []
        expected = "value"
        key = ""
        while True:
            expected, key = self._take_tokens(
                closers, expected, key, is_watched=tools is not None and self._is_holding
            )
            if self._position == len(self._window) or self._window[self._position].isspace():
                yield from self._take_run(BLANKS)
            char = self._next_char
            outer = len(closers) == 1 and tools is not None and self._is_holding
            begun = len(self._held_pieces)
            if (
                not char
                or not is_expected_token(char, expected)
                or len(closers) > MOST_NESTING_LEVELS
            ):
                return False
            if char in "}]":
                closers.pop()
                self._take_chars(1)
                if not closers:
                    return True
                expected = tokens_after_value(closers)
            elif char in ":,":
                self._take_chars(1)
                expected = "key" if char == "," and closers[-1] == "}" else "value"
            elif char in CLOSING_BRACKETS:
                if outer and key not in NESTED_KEYS:
                    self._release_held()
                closers.append(CLOSING_BRACKETS[char])
                self._take_chars(1)
                expected = "key or }" if char == "{" else "value or ]"
            elif not (yield from self._take_string() if char == '"' else self._take_scalar()):
                return False
            elif expected.startswith("key"):
                key = "".join(self._held_pieces[begun:])[1:-1] if outer else ""
                expected = ":"
            else:
                if outer and char == '"' and key in NAME_KEYS:
                    self._release_unknown_tool("".join(self._held_pieces[begun:])[1:-1], tools)
                expected = tokens_after_value(closers)

    def _take_tokens(
        self, closers: list[str], expected: str, key: str, *, is_watched: bool
    ) -> tuple[str, str]:
        """Take at once all whole tokens that need no decision; return `_take_json`'s new state.

        The state is the expected token and the key. These are left to `_take_json`: the token in
        which the text may end, the bracket that closes the outermost one, an error, and in a
        `is_watched` value, which may be a call, the token that decides that.
        """
        window = self._window
        at = self._position
        match = TOKEN_PATTERNS[self._is_holding].match
        while 0 < len(closers) <= MOST_NESTING_LEVELS and (found := match(window, at)):
            kind = found.lastindex or 0
            outer = is_watched and len(closers) == 1
            text = found[kind]
            char = text[0]
            if not is_expected_token(char, expected) or (
                kind == SCALAR_GROUP and found.end() == len(window)
            ):
                break
            if char in "}]":
                if len(closers) == 1:
                    break
                closers.pop()
                expected = tokens_after_value(closers)
            elif char in ":,":
                expected = "key" if char == "," and closers[-1] == "}" else "value"
            elif char in CLOSING_BRACKETS:
                if outer and key not in NESTED_KEYS:
                    break
                closers.append(CLOSING_BRACKETS[char])
                expected = "key or }" if char == "{" else "value or ]"
            elif expected.startswith("key"):
                key = text[1:-1] if outer else ""
                expected = ":"
            elif outer and kind == STRING_GROUP and key in NAME_KEYS:
                break
            else:
                expected = tokens_after_value(closers)
            at = found.end()
        self._take_chars(at - self._position)
        return expected, key

    def _release_unknown_tool(self, name: str, tools: ToolsByName | None) -> None:
        if tools is not None and name not in tools:
            self._release_held()

    def _take_scalar(self) -> DecisionSteps:
        return (yield from self._take_run(SCALAR)) > 0

    def _take_string(self) -> DecisionSteps:
        self._take_chars(1)
        while True:
            found = (STRING_CONTENT if self._is_holding else LINE_STRING_CONTENT).match(
                self._window, self._position
            )
            self._take_chars(found.end() - self._position if found else 0)
            rest = self._window[self._position : self._position + 2]
            if rest[:1] == '"':
                self._take_chars(1)
                return True
            if self._is_final or rest not in ("", "\\"):
                return False
            yield


def tokens_after_value(closers: list[str]) -> str:
    """Return the tokens that may follow a value in the innermost of these brackets."""
    return f", or {closers[-1]}"


def is_expected_token(char: str, expected: str) -> bool:
    """Return whether a token that begins with `char` is `expected`.

    `expected` is a row of "key", "value", ":", "," and a closing bracket.
    """
    if char in "}],:":
        return char in expected
    return expected.startswith("value") or (char == '"' and expected.startswith("key"))
