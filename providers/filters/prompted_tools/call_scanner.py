"""Find the tool calls in a model's text while it streams: text -> text and calls, in order. No I/O.

Text that cannot be the beginning of a call is passed on at once. From a possible beginning on it is
held until it is decided, and passed on unchanged if it is not a call. The result does not depend on
how the text is cut, and no character is read more than a few times: a construct that fails is left
where it failed, not tried again from its second character. Calls are not looked for in code spans,
in code fences of another language, in thinking between tags, and within JSON that is not a call.
"""

import re
from collections.abc import Generator, Iterable

from providers.filters.prompted_tools import call_syntax as forms
from providers.filters.prompted_tools.call_syntax import NAME_KEYS, Call, Tools
from providers.filters.prompted_tools.json_scanner import JsonScan

IN_SPAN = re.compile(r"[^`\n]*")
LINE_BLANKS = re.compile(r"[ \t\r]*")
BETWEEN = re.compile(r"[\s,]*")
RUNS = {"`": re.compile(r"`*"), "~": re.compile(r"~*")}
OTHERS = {"`": re.compile(r"[^`]*"), "~": re.compile(r"[^~]*")}
TELLING = "|".join((*NAME_KEYS, "tool_calls"))  # an object without one of these keys is no call
PLAIN_KEY = rf'"(?!(?:{TELLING})")[^"\\\n]*+"[ \t\r\n]*+:[ \t\r\n]*+'
PLAIN_MEMBER = rf'{PLAIN_KEY}(?:"[^"\\\n]*+"|[-+.0-9A-Za-z]++)[ \t\r\n]*+'
PLAIN_OBJECT = rf"\{{[ \t\r\n]*+{PLAIN_MEMBER}(?:,[ \t\r\n]*+{PLAIN_MEMBER})*+\}}"
PLAIN_OBJECTS = re.compile(rf"{PLAIN_OBJECT}(?:[\s,]*+{PLAIN_OBJECT})*+")
MOST_CALLS = 1_024  # of one answer; further calls stay text
Steps = Generator[None, None, None]  # the reading of a construct: each step waits for more text


class CallScan(JsonScan):
    """The state of one choice's text.

    `tools` are the tools that may be called, by name. Unless `parallel`, only the first call
    counts.
    """

    def __init__(self, tools: Tools, *, parallel: bool = True) -> None:
        super().__init__()
        self._tools = tools
        self._parallel = parallel
        self._closers: set[str] = set()
        self._running = self._text()
        next(self._running)

    def feed(self, text: str) -> list[str | Call]:
        """Return the text and the calls that are decided now."""
        self._window = self._window[self._at :] + text
        self._at = 0
        next(self._running)
        return self._decided()

    def end(self) -> list[str | Call]:
        """End the text, and return all that was held."""
        self._final = True
        next(self._running, None)
        if not self.made:
            self._out += self._blank
        return self._decided()

    # --- beginnings of constructs -----------------------------------------------------------------
    def _text(self) -> Steps:
        while True:
            found = forms.START.search(self._window, self._at)
            self._take((found.start() if found else len(self._window)) - self._at)
            if found and not forms.is_cut(found[0]):
                yield from self._opened(found[0])
            elif self._final:
                self._take(len(self._window) - self._at)
                return
            else:
                yield

    def _opened(self, opener: str) -> Steps:
        if opener[0] in "`~":
            return self._code(opener[0])
        if opener[0] in "{[":
            return self._object(opener[0])
        if opener in forms.THINKS:
            return self._thinking(opener)
        if opener in forms.CLOSERS:
            return self._closer(opener)
        return self._tagged(opener) if opener[0] == "<" else self._words()

    def _closer(self, tag: str) -> Steps:
        """Drop the closing tag of a call that was found; any other closing tag is text."""
        if tag in self._closers:
            self._closers.discard(tag)
            self._at += len(tag)
        else:
            self._take(len(tag))
        yield from ()

    def _thinking(self, opener: str) -> Steps:
        at_start = not self._line
        self._take(len(opener))
        if at_start:
            yield from self._until(forms.THINKS[opener])

    # --- code -------------------------------------------------------------------------------------
    def _code(self, mark: str) -> Steps:
        """Read a code span or a fence."""
        at_start = not self._line
        self._hold()
        size = yield from self._skip(RUNS[mark])
        if size < 3 or (mark == "~" and not at_start):
            self._release()
            if mark == "`":
                yield from self._span(size)
            return
        language = yield from self._words_of(IN_SPAN, forms.LONGEST_LANGUAGE)
        if self._next == "\n" and language.strip().lower() in forms.LANGUAGES:
            if not (yield from self._fenced_calls(mark)):
                yield from self._fence(mark, size)
            return
        self._release()
        yield from self._skip(IN_SPAN)
        if self._next == "\n":
            yield from self._fence(mark, size)
        elif self._next:
            yield from self._span(size)

    def _span(self, size: int) -> Steps:
        """Read to the end of a code span, at the latest to the end of the line."""
        while True:
            yield from self._skip(IN_SPAN)
            if self._next != "`" or (yield from self._skip(RUNS["`"])) == size:
                return

    def _fence(self, mark: str, size: int) -> Steps:
        """Read to the end of a fence: a line with nothing but at least as many marks."""
        while True:
            yield from self._skip(OTHERS[mark])
            at_start = not self._line
            if not self._next:
                return
            long_enough = (yield from self._skip(RUNS[mark])) >= size
            if at_start and long_enough:
                yield from self._skip(LINE_BLANKS)
                if self._next in ("", "\n"):
                    return

    def _fenced_calls(self, mark: str) -> Generator[None, None, bool]:
        """Read a fence that holds only calls, and return whether it does.

        If it does not, its text is released.
        """
        calls: list[Call] = []
        while True:
            yield from self._skip(BETWEEN)
            if self._next in (mark, "") and calls:
                yield from self._skip(RUNS[mark])
                return self._settle(calls)
            tag = (yield from self._form(forms.FENCED)) if self._next == "<" else None
            if tag:
                self._take(tag.end() - self._at - 1)
            found = yield from self._value(tagged=bool(tag))
            if not found:
                self._release()
                return False
            calls += found
            if tag:
                yield from self._skip(BETWEEN)
                closer = yield from self._form(forms.FENCED_END)
                self._take(closer.end() - self._at if closer else 0)

    # --- JSON and words ---------------------------------------------------------------------------
    def _object(self, bracket: str) -> Steps:
        """Read JSON in the text.

        A `tool_calls` list counts anywhere, a single call only as the whole rest of its line.
        """
        stands = not self._line or (
            self._line in forms.ENDS and (self._last.isspace() or self._last in forms.WIDE_ENDS)
        )
        if bracket == "{" and self._plain_objects():
            return
        if bracket == "[":  # a list is not a call, nor is an object inside it
            yield from self._json()
            return
        self._hold()
        begun = len(self._held)
        closed = yield from self._json(self._tools if stands else {})
        calls: list[Call] = []
        if closed and self._holding:
            value = forms.value_of("".join(self._held[begun:]))
            listed = isinstance(value, dict) and "tool_calls" in value
            calls = forms.calls_of(value, self._tools, tagged=False) if listed or stands else []
            if calls and not listed:
                yield from self._skip(LINE_BLANKS)
                calls = calls if self._next in ("", "\n") else []
        self._settle(calls)

    def _plain_objects(self) -> bool:
        """Take the whole flat objects that begin here and cannot be calls.

        Returns whether there were any.
        """
        found = PLAIN_OBJECTS.match(self._window, self._at)
        self._take(found.end() - self._at if found else 0)
        return found is not None

    def _words(self) -> Steps:
        """Read a call written as a sentence."""
        form = forms.ENGLISH if self._next in "cC" else forms.CHINESE
        glued = form is forms.ENGLISH and self._last.isalnum()
        found = None if glued else (yield from self._form(form))
        name = found[2] if found else ""
        if not found or name not in self._tools:
            self._take(1)
            return
        self._hold()
        self._take(found.end() - self._at - 1)
        yield from self._arguments_settled(name)

    def _arguments_settled(self, name: str) -> Generator[None, None, bool]:
        """Read the JSON object here as the arguments of a call; return whether it is one."""
        begun = len(self._held)
        closed = yield from self._json()
        call = forms.made(name, "".join(self._held[begun:])) if closed and self._holding else None
        return self._settle([call] if call else [])

    def _value(self, *, tagged: bool) -> Generator[None, None, list[Call]]:
        """Return the calls in the JSON value here, if it is one."""
        if not self._next or self._next not in "{[":
            return []
        begun = len(self._held)
        closed = yield from self._json(None if tagged else self._tools)
        if not closed or not self._holding:
            return []
        return forms.calls_of(
            forms.value_of("".join(self._held[begun:])), self._tools, tagged=tagged
        )

    # --- tags -------------------------------------------------------------------------------------
    def _tagged(self, opener: str) -> Steps:
        self._hold()
        self._take(len(opener))
        tags = [opener]
        while tags[-1] in forms.WRAPS:
            inner = yield from self._form(forms.INNER)
            if not inner or inner[1] in tags:
                self._release()
                return
            if inner[1] in "{[":
                self._take(inner.end() - self._at - 1)
                self._settle((yield from self._value(tagged=True)), tags)
                return
            self._take(inner.end() - self._at)
            tags.append(inner[1])
        name = yield from self._tag_name(tags[-1])
        if name not in self._tools:
            self._release()
        elif tags[-1] == "<function=" and (found := (yield from self._form(forms.OBJECT))):
            self._take(found.end() - self._at - 1)
            if (yield from self._arguments_settled(name)):
                self._closers |= {"</function>", *map(forms.closing, tags[:-1])}
        else:
            values = yield from self._parameters(name, tags[-1])
            call = forms.made(name, values) if values is not None else None
            self._settle([call] if call else [], tags)

    def _tag_name(self, tag: str) -> Generator[None, None, str]:
        """Read a tag to its end and return the name of the called tool; empty if it names none."""
        found = yield from self._form(forms.TOOL_NAME if tag == "<tool>" else forms.TAG_REST)
        if not found:
            return ""
        self._take(found.end() - self._at)
        said = forms.ATTRIBUTE.search(found[1])
        return (said[1] or said[2]) if said else ""

    def _parameters(self, name: str, tag: str) -> Generator[None, None, dict[str, object] | None]:
        """Return the arguments given in tags of their own, read to the tag that ends the call.

        Returns None if they are not arguments.
        """
        ends = {
            "<tool>": ("/args", "/function_call"),
            "<invoke ": ("/invoke",),
            "<function=": ("/function",),
        }[tag]
        values: dict[str, object] = {}
        inside = tag != "<tool>"
        while found := (yield from self._form(forms.TAG)):
            self._take(found.end() - self._at)
            said = found[1].strip()
            if said in ends:
                return values
            key = forms.ATTRIBUTE.search(said)
            if not inside and said == "args":
                inside = True
                continue
            if not key:
                return None
            inner = key[1] or key[2]
            text = yield from self._until(f"</{inner}>" if tag == "<tool>" else "</parameter>")
            if text is None:
                return None
            values[inner] = forms.argument(self._tools[name], inner, text)
        return None

    # --- decisions --------------------------------------------------------------------------------
    def _settle(self, calls: list[Call], tags: Iterable[str] = ()) -> bool:
        """Replace the held text by these calls and return True, or release it and return False.

        It is released if there are no calls or too many. `tags` are the tags around the calls.
        """
        if not calls or not self._holding or self.made + len(calls) > MOST_CALLS:
            self._release()
            return False
        self._closers.update(forms.closing(tag) for tag in tags)
        self._replace(calls if self._parallel else calls[: 1 - self.made])
        return True
