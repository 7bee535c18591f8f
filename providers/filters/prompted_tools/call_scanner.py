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
from providers.filters.prompted_tools.call_syntax import NAME_KEYS, ToolsByName, WrittenCall
from providers.filters.prompted_tools.json_scanner import JsonScanner

SPAN_CONTENT = re.compile(r"[^`\n]*")
LINE_BLANKS = re.compile(r"[ \t\r]*")
BETWEEN_CALLS = re.compile(r"[\s,]*")
MARK_RUNS = {"`": re.compile(r"`*"), "~": re.compile(r"~*")}
NON_MARK_RUNS = {"`": re.compile(r"[^`]*"), "~": re.compile(r"[^~]*")}
CALL_KEY_PATTERN = "|".join(
    (*NAME_KEYS, "tool_calls")
)  # an object without one of these keys is no call
PLAIN_KEY = rf'"(?!(?:{CALL_KEY_PATTERN})")[^"\\\n]*+"[ \t\r\n]*+:[ \t\r\n]*+'
PLAIN_MEMBER = rf'{PLAIN_KEY}(?:"[^"\\\n]*+"|[-+.0-9A-Za-z]++)[ \t\r\n]*+'
PLAIN_OBJECT = rf"\{{[ \t\r\n]*+{PLAIN_MEMBER}(?:,[ \t\r\n]*+{PLAIN_MEMBER})*+\}}"
PLAIN_OBJECTS = re.compile(rf"{PLAIN_OBJECT}(?:[\s,]*+{PLAIN_OBJECT})*+")
MOST_CALLS = 1_024  # of one answer; further calls stay text
Steps = Generator[None, None, None]  # the reading of a construct: each step waits for more text


class CallScanner(JsonScanner):
    """The state of one choice's text.

    `tools` are the tools that may be called, by name. Unless `is_parallel`, only the first call
    counts.
    """

    def __init__(self, tools: ToolsByName, *, is_parallel: bool = True) -> None:
        super().__init__()
        self._tools = tools
        self._is_parallel = is_parallel
        self._droppable_closers: set[str] = set()
        self._text_steps = self._read_text()
        next(self._text_steps)

    def feed(self, text: str) -> list[str | WrittenCall]:
        """Return the text and the calls that are decided now."""
        self._window = self._window[self._position :] + text
        self._position = 0
        next(self._text_steps)
        return self._drain_output()

    def finish_text(self) -> list[str | WrittenCall]:
        """End the text, and return all that was held."""
        self._is_final = True
        next(self._text_steps, None)
        if not self.call_count:
            self._output_items += self._blank_pieces
        return self._drain_output()

    # --- beginnings of constructs -----------------------------------------------------------------
    def _read_text(self) -> Steps:
        while True:
            found = forms.CONSTRUCT_START.search(self._window, self._position)
            self._take_chars((found.start() if found else len(self._window)) - self._position)
            if found and not forms.is_cut_opener(found[0]):
                yield from self._read_construct(found[0])
            elif self._is_final:
                self._take_chars(len(self._window) - self._position)
                return
            else:
                yield

    def _read_construct(self, opener: str) -> Steps:
        if opener[0] in "`~":
            return self._read_code(opener[0])
        if opener[0] in "{[":
            return self._read_object(opener[0])
        if opener in forms.THINKING_TAGS:
            return self._read_thinking(opener)
        if opener in forms.CLOSING_TAGS:
            return self._read_closing_tag(opener)
        return self._read_tagged_call(opener) if opener[0] == "<" else self._read_sentence()

    def _read_closing_tag(self, tag: str) -> Steps:
        """Drop the closing tag of a call that was found; any other closing tag is text."""
        if tag in self._droppable_closers:
            self._droppable_closers.discard(tag)
            self._position += len(tag)
        else:
            self._take_chars(len(tag))
        yield from ()

    def _read_thinking(self, opener: str) -> Steps:
        at_start = not self._last_visible_char
        self._take_chars(len(opener))
        if at_start:
            yield from self._take_until(forms.THINKING_TAGS[opener])

    # --- code -------------------------------------------------------------------------------------
    def _read_code(self, mark: str) -> Steps:
        """Read a code span or a fence."""
        at_start = not self._last_visible_char
        self._begin_holding()
        size = yield from self._take_run(MARK_RUNS[mark])
        if size < 3 or (mark == "~" and not at_start):
            self._release_held()
            if mark == "`":
                yield from self._read_span(size)
            return
        language = yield from self._take_limited_run(SPAN_CONTENT, forms.MOST_LANGUAGE_CHARS)
        if self._next_char == "\n" and language.strip().lower() in forms.FENCE_LANGUAGES:
            if not (yield from self._read_fenced_calls(mark)):
                yield from self._read_fence(mark, size)
            return
        self._release_held()
        yield from self._take_run(SPAN_CONTENT)
        if self._next_char == "\n":
            yield from self._read_fence(mark, size)
        elif self._next_char:
            yield from self._read_span(size)

    def _read_span(self, size: int) -> Steps:
        """Read to the end of a code span, at the latest to the end of the line."""
        while True:
            yield from self._take_run(SPAN_CONTENT)
            if self._next_char != "`" or (yield from self._take_run(MARK_RUNS["`"])) == size:
                return

    def _read_fence(self, mark: str, size: int) -> Steps:
        """Read to the end of a fence: a line with nothing but at least as many marks."""
        while True:
            yield from self._take_run(NON_MARK_RUNS[mark])
            at_start = not self._last_visible_char
            if not self._next_char:
                return
            long_enough = (yield from self._take_run(MARK_RUNS[mark])) >= size
            if at_start and long_enough:
                yield from self._take_run(LINE_BLANKS)
                if self._next_char in ("", "\n"):
                    return

    def _read_fenced_calls(self, mark: str) -> Generator[None, None, bool]:
        """Read a fence that holds only calls, and return whether it does.

        If it does not, its text is released.
        """
        calls: list[WrittenCall] = []
        while True:
            yield from self._take_run(BETWEEN_CALLS)
            if self._next_char in (mark, "") and calls:
                yield from self._take_run(MARK_RUNS[mark])
                return self._settle_calls(calls)
            tag = (
                (yield from self._match_pattern(forms.FENCED_CALL))
                if self._next_char == "<"
                else None
            )
            if tag:
                self._take_chars(tag.end() - self._position - 1)
            found = yield from self._read_value_calls(is_tagged=bool(tag))
            if not found:
                self._release_held()
                return False
            calls += found
            if tag:
                yield from self._take_run(BETWEEN_CALLS)
                closer = yield from self._match_pattern(forms.FENCED_CALL_END)
                self._take_chars(closer.end() - self._position if closer else 0)

    # --- JSON and words ---------------------------------------------------------------------------
    def _read_object(self, bracket: str) -> Steps:
        """Read JSON in the text.

        A `tool_calls` list counts anywhere, a single call only as the whole rest of its line.
        """
        stands = not self._last_visible_char or (
            self._last_visible_char in forms.PUNCTUATION_BEFORE_CALL
            and (self._last_char.isspace() or self._last_char in forms.CHINESE_PUNCTUATION)
        )
        if bracket == "{" and self._take_plain_objects():
            return
        if bracket == "[":  # a list is not a call, nor is an object inside it
            yield from self._take_json()
            return
        self._begin_holding()
        begun = len(self._held_pieces)
        closed = yield from self._take_json(self._tools if stands else {})
        calls: list[WrittenCall] = []
        if closed and self._is_holding:
            value = forms.parse_json_value("".join(self._held_pieces[begun:]))
            listed = isinstance(value, dict) and "tool_calls" in value
            calls = (
                forms.extract_calls(value, self._tools, is_tagged=False) if listed or stands else []
            )
            if calls and not listed:
                yield from self._take_run(LINE_BLANKS)
                calls = calls if self._next_char in ("", "\n") else []
        self._settle_calls(calls)

    def _take_plain_objects(self) -> bool:
        """Take the whole flat objects that begin here and cannot be calls.

        Returns whether there were any.
        """
        found = PLAIN_OBJECTS.match(self._window, self._position)
        self._take_chars(found.end() - self._position if found else 0)
        return found is not None

    def _read_sentence(self) -> Steps:
        """Read a call written as a sentence."""
        form = forms.ENGLISH_CALL if self._next_char in "cC" else forms.CHINESE_CALL
        glued = form is forms.ENGLISH_CALL and self._last_char.isalnum()
        found = None if glued else (yield from self._match_pattern(form))
        name = found[2] if found else ""
        if not found or name not in self._tools:
            self._take_chars(1)
            return
        self._begin_holding()
        self._take_chars(found.end() - self._position - 1)
        yield from self._settle_arguments(name)

    def _settle_arguments(self, name: str) -> Generator[None, None, bool]:
        """Read the JSON object here as the arguments of a call; return whether it is one."""
        begun = len(self._held_pieces)
        closed = yield from self._take_json()
        call = (
            forms.build_written_call(name, "".join(self._held_pieces[begun:]))
            if closed and self._is_holding
            else None
        )
        return self._settle_calls([call] if call else [])

    def _read_value_calls(self, *, is_tagged: bool) -> Generator[None, None, list[WrittenCall]]:
        """Return the calls in the JSON value here, if it is one."""
        if not self._next_char or self._next_char not in "{[":
            return []
        begun = len(self._held_pieces)
        closed = yield from self._take_json(None if is_tagged else self._tools)
        if not closed or not self._is_holding:
            return []
        return forms.extract_calls(
            forms.parse_json_value("".join(self._held_pieces[begun:])),
            self._tools,
            is_tagged=is_tagged,
        )

    # --- tags -------------------------------------------------------------------------------------
    def _read_tagged_call(self, opener: str) -> Steps:
        self._begin_holding()
        self._take_chars(len(opener))
        tags = [opener]
        while tags[-1] in forms.WRAPPING_TAGS:
            inner = yield from self._match_pattern(forms.WRAPPED_BEGINNING)
            if not inner or inner[1] in tags:
                self._release_held()
                return
            if inner[1] in "{[":
                self._take_chars(inner.end() - self._position - 1)
                self._settle_calls((yield from self._read_value_calls(is_tagged=True)), tags)
                return
            self._take_chars(inner.end() - self._position)
            tags.append(inner[1])
        name = yield from self._read_tag_name(tags[-1])
        if name not in self._tools:
            self._release_held()
        elif tags[-1] == "<function=" and (
            found := (yield from self._match_pattern(forms.OBJECT_BEGINNING))
        ):
            self._take_chars(found.end() - self._position - 1)
            if (yield from self._settle_arguments(name)):
                self._droppable_closers |= {"</function>", *map(forms.build_closing_tag, tags[:-1])}
        else:
            values = yield from self._read_parameters(name, tags[-1])
            call = forms.build_written_call(name, values) if values is not None else None
            self._settle_calls([call] if call else [], tags)

    def _read_tag_name(self, tag: str) -> Generator[None, None, str]:
        """Read a tag to its end and return the name of the called tool; empty if it names none."""
        found = yield from self._match_pattern(
            forms.TOOL_NAME if tag == "<tool>" else forms.TAG_REST
        )
        if not found:
            return ""
        self._take_chars(found.end() - self._position)
        said = forms.NAME_ATTRIBUTE.search(found[1])
        return (said[1] or said[2]) if said else ""

    def _read_parameters(
        self, name: str, tag: str
    ) -> Generator[None, None, dict[str, object] | None]:
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
        while found := (yield from self._match_pattern(forms.TAG)):
            self._take_chars(found.end() - self._position)
            said = found[1].strip()
            if said in ends:
                return values
            key = forms.NAME_ATTRIBUTE.search(said)
            if not inside and said == "args":
                inside = True
                continue
            if not key:
                return None
            inner = key[1] or key[2]
            text = yield from self._take_until(f"</{inner}>" if tag == "<tool>" else "</parameter>")
            if text is None:
                return None
            values[inner] = forms.parse_argument(self._tools[name], inner, text)
        return None

    # --- decisions --------------------------------------------------------------------------------
    def _settle_calls(self, calls: list[WrittenCall], tags: Iterable[str] = ()) -> bool:
        """Replace the held text by these calls and return True, or release it and return False.

        It is released if there are no calls or too many. `tags` are the tags around the calls.
        """
        if not calls or not self._is_holding or self.call_count + len(calls) > MOST_CALLS:
            self._release_held()
            return False
        self._droppable_closers.update(forms.build_closing_tag(tag) for tag in tags)
        self._replace_held(calls if self._is_parallel else calls[: 1 - self.call_count])
        return True
