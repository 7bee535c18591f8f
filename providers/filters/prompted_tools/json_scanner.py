"""Read text that comes in pieces, and follow JSON in it to its end. No I/O.

Text that is read is passed on or held. A generator that needs more text yields, and continues when
some has come; `_final` says that none will.
"""

import re
from collections.abc import Generator

from providers.filters.prompted_tools.call_syntax import NAME_KEYS, NESTED_KEYS, Call, Form, Tools
from providers.wire.json_reader import DEEPEST

BLANKS = re.compile(r"[ \t\r\n]*")
SCALAR = re.compile(r"[-+.0-9A-Za-z]*")
IN_STRING = re.compile(r'(?:[^"\\]++|\\.)*+', re.DOTALL)  # models put line breaks in strings
IN_LINE_STRING = re.compile(r'(?:[^"\\\n]++|\\.)*+')
CLOSES = {"{": "}", "[": "]"}
# A token of JSON after blanks; the key says if strings may have line breaks.
TOKENS = {
    True: re.compile(
        r'[ \t\r\n]*+(?:("(?:[^"\\]++|\\.)*+")|([-+.0-9A-Za-z]++)|([{}\[\],:]))', re.DOTALL
    ),
    False: re.compile(r'[ \t\r\n]*+(?:("(?:[^"\\\n]++|\\.)*+")|([-+.0-9A-Za-z]++)|([{}\[\],:]))'),
}
MOST_HELD_CHARS = 8 * 2**20  # longest possible call; a longer text is no call
STRING = 1
SCALAR_TOKEN = 2  # groups of these patterns
Taken = Generator[None, None, int]
Decided = Generator[None, None, bool]


class JsonScan:
    """The text that is not decided yet.

    `_window` from `_at` on is not read yet; `_held` is read and held.
    """

    def __init__(self) -> None:
        self.made = 0  # calls
        self._window = ""
        self._at = 0
        self._final = False
        self._held: list[str] = []
        self._holding = False
        self._held_chars = 0
        self._out: list[str | Call] = []
        self._blank: list[
            str
            # white space before a possible call; it is passed on only if text follows it
        ] = []
        self._spoken = False  # text was passed on since the beginning or the last call
        self._line = ""  # the last visible character of the line
        self._last = ""  # the last character

    @property
    def _next(self) -> str:
        """Return the next character; empty at the end of the text.

        It is reliable after a step that did not stop for lack of text.
        """
        return self._window[self._at : self._at + 1]

    # --- taking -----------------------------------------------------------------------------------
    def _take(self, size: int) -> None:
        if size <= 0:
            return
        text = self._window[self._at : self._at + size]
        self._at += size
        self._last = text[-1]
        _, broken, rest = text.rpartition("\n")
        visible = rest.rstrip(" \t\r")
        if visible or broken:
            self._line = visible[-1:]
        if self._holding:
            self._held.append(text)
            self._held_chars += size
            if self._held_chars > MOST_HELD_CHARS:
                self._release()
        else:
            self._say(text)

    def _say(self, text: str) -> None:
        if self._spoken:
            self._out.append(text)
        elif text and not text.isspace():
            self._out += [*self._blank, text]
            self._blank.clear()
            self._spoken = True
        else:
            self._blank.append(text)

    def _hold(self) -> None:
        self._holding = True
        self._held_chars = 0

    def _release(self) -> None:
        """Pass on the held characters as text."""
        self._holding, held = False, "".join(self._held)
        self._held.clear()
        self._say(held)

    def _replace(self, calls: list[Call]) -> None:
        """Pass on these calls in place of the held text."""
        self._held.clear()
        self._blank.clear()
        self._holding = self._spoken = False
        self._line = self._last = ""
        self._out += calls
        self.made += len(calls)

    def _decided(self) -> list[str | Call]:
        """Return the text and calls to pass on, neighbouring texts joined."""
        decided: list[str | Call] = []
        texts: list[str] = []
        for item in [*self._out, None]:
            if isinstance(item, str):
                texts.append(item)
                continue
            if text := "".join(texts):
                decided.append(text)
            texts.clear()
            if item is not None:
                decided.append(item)
        self._out.clear()
        return decided

    # --- steps ------------------------------------------------------------------------------------
    def _skip(self, run: re.Pattern[str]) -> Taken:
        """Take the characters of a run; return how many."""
        taken = 0
        while True:
            found = run.match(self._window, self._at)
            size = found.end() - self._at if found else 0
            taken += size
            self._take(size)
            if self._at < len(self._window) or self._final:
                return taken
            yield

    def _words_of(self, run: re.Pattern[str], most: int) -> Generator[None, None, str]:
        """Take, and hold, a run of at most `most` characters; return it."""
        begun = len(self._held)
        while True:
            found = run.match(self._window, self._at, self._at + most)
            size = found.end() - self._at if found else 0
            most -= size
            self._take(size)
            if self._at < len(self._window) or self._final:
                return "".join(self._held[begun:])
            yield

    def _form(self, form: Form) -> Generator[None, None, re.Match[str] | None]:
        """Return the match of the form that begins here, without taking it; None when none does."""
        while True:
            found = form.full.match(self._window, self._at)
            if found or self._final or not form.maybe.match(self._window, self._at):
                return found
            yield

    def _until(self, literal: str) -> Generator[None, None, str | None]:
        """Take all text up to and including `literal`, and return the held text before it.

        Returns None if the text ends without it.
        """
        begun = len(self._held)
        while True:
            at = self._window.find(literal, self._at)
            if at >= 0:
                self._take(at - self._at)
                text = "".join(self._held[begun:])
                self._take(len(literal))
                return text
            if self._final:
                self._take(len(self._window) - self._at)
                return None
            self._take(len(self._window) - self._at - len(literal) + 1)
            yield

    # --- JSON -------------------------------------------------------------------------------------
    def _json(self, tools: Tools | None = None) -> Decided:
        """Take the JSON value that begins here with a bracket; return False if it breaks off.

        With `tools` the text is released as soon as the value cannot be a call of one of them.
        """
        closers: list[str] = []
        expected = "value"
        key = ""
        while True:
            expected, key = self._tokens(
                closers, expected, key, watched=tools is not None and self._holding
            )
            if self._at == len(self._window) or self._window[self._at].isspace():
                yield from self._skip(BLANKS)
            char = self._next
            outer = len(closers) == 1 and tools is not None and self._holding
            begun = len(self._held)
            if not char or not allowed(char, expected) or len(closers) > DEEPEST:
                return False
            if char in "}]":
                closers.pop()
                self._take(1)
                if not closers:
                    return True
                expected = after(closers)
            elif char in ":,":
                self._take(1)
                expected = "key" if char == "," and closers[-1] == "}" else "value"
            elif char in CLOSES:
                if outer and key not in NESTED_KEYS:
                    self._release()
                closers.append(CLOSES[char])
                self._take(1)
                expected = "key or }" if char == "{" else "value or ]"
            elif not (yield from self._string() if char == '"' else self._scalar()):
                return False
            elif expected.startswith("key"):
                key = "".join(self._held[begun:])[1:-1] if outer else ""
                expected = ":"
            else:
                if outer and key in NAME_KEYS:
                    self._doubt("".join(self._held[begun:])[1:-1], tools)
                expected = after(closers)

    def _tokens(
        self, closers: list[str], expected: str, key: str, *, watched: bool
    ) -> tuple[str, str]:
        """Take at once all whole tokens that need no decision; return the new state of `_json`.

        The state is the expected token and the key. These are left to `_json`: the token in which
        the text may end, the bracket that closes the outermost one, an error, and in a `watched`
        value, which may be a call, the token that decides that.
        """
        window = self._window
        at = self._at
        match = TOKENS[self._holding].match
        while 0 < len(closers) <= DEEPEST and (found := match(window, at)):
            kind = found.lastindex or 0
            outer = watched and len(closers) == 1
            text = found[kind]
            char = text[0]
            if not allowed(char, expected) or (kind == SCALAR_TOKEN and found.end() == len(window)):
                break
            if char in "}]":
                if len(closers) == 1:
                    break
                closers.pop()
                expected = after(closers)
            elif char in ":,":
                expected = "key" if char == "," and closers[-1] == "}" else "value"
            elif char in CLOSES:
                if outer and key not in NESTED_KEYS:
                    break
                closers.append(CLOSES[char])
                expected = "key or }" if char == "{" else "value or ]"
            elif expected.startswith("key"):
                key = text[1:-1] if outer else ""
                expected = ":"
            elif outer and kind == STRING and key in NAME_KEYS:
                break
            else:
                expected = after(closers)
            at = found.end()
        self._take(at - self._at)
        return expected, key

    def _doubt(self, name: str, tools: Tools | None) -> None:
        if tools is not None and name not in tools:
            self._release()

    def _scalar(self) -> Decided:
        return (yield from self._skip(SCALAR)) > 0

    def _string(self) -> Decided:
        self._take(1)
        while True:
            found = (IN_STRING if self._holding else IN_LINE_STRING).match(self._window, self._at)
            self._take(found.end() - self._at if found else 0)
            rest = self._window[self._at : self._at + 2]
            if rest[:1] == '"':
                self._take(1)
                return True
            if self._final or rest not in ("", "\\"):
                return False
            yield


def after(closers: list[str]) -> str:
    """Return the tokens that may follow a value in the innermost of these brackets."""
    return f", or {closers[-1]}"


def allowed(char: str, expected: str) -> bool:
    """Return whether a token that begins with `char` is `expected`.

    `expected` is a row of "key", "value", ":", "," and a closing bracket.
    """
    if char in "}],:":
        return char in expected
    return expected.startswith("value") or (char == '"' and expected.startswith("key"))
