"""Find the tool calls in a model's text while it streams: text -> text and calls, in order. No I/O.

Text that cannot be the beginning of a call is passed on at once. From a possible beginning on it is
held until it is decided, and passed on unchanged if it is not a call. The result does not depend on
how the text is cut, and no character is read more than a few times: a construct that fails is left
where it failed, not tried again from its second character. Calls are not looked for in code spans,
in code fences of another language, in thinking between tags, and within JSON that is not a call.
"""

import re

from providers.filters.call_texts import token_syntax
from providers.filters.prompted_tools import call_syntax as forms
from providers.filters.prompted_tools.call_collector import CallCollector
from providers.filters.prompted_tools.code_scanner import CodeScanner
from providers.filters.prompted_tools.json_scanner import JsonScanner
from providers.filters.prompted_tools.scanned_text import ScannedText, Steps
from providers.filters.prompted_tools.tag_scanner import TagScanner
from providers.filters.prompted_tools.token_scanner import TokenScanner
from providers.filters.prompted_tools.written_call import (
    NAME_KEYS,
    ToolsByName,
    WrittenCall,
    extract_calls,
    parse_json_value,
)

# an object without one of these keys is no call
CALL_KEY_PATTERN = "|".join((*NAME_KEYS, "tool_calls"))
PLAIN_KEY = rf'"(?!(?:{CALL_KEY_PATTERN})")[^"\\\n]*+"[ \t\r\n]*+:[ \t\r\n]*+'
PLAIN_MEMBER = rf'{PLAIN_KEY}(?:"[^"\\\n]*+"|[-+.0-9A-Za-z]++)[ \t\r\n]*+'
PLAIN_OBJECT = rf"\{{[ \t\r\n]*+{PLAIN_MEMBER}(?:,[ \t\r\n]*+{PLAIN_MEMBER})*+\}}"
PLAIN_OBJECTS = re.compile(rf"{PLAIN_OBJECT}(?:[\s,]*+{PLAIN_OBJECT})*+")


class CallScanner:
    """The scanner of one choice's text.

    `tools` are the tools that may be called, by name. Unless `is_parallel`, only the first call
    counts. `call_forms` are the families of forms that are looked for. With `keeps_sources` a
    CallSource stands before the calls in the output.
    """

    def __init__(
        self,
        tools: ToolsByName,
        *,
        is_parallel: bool = True,
        call_forms: frozenset[str] = forms.ALL_FORMS,
        keeps_sources: bool = False,
    ) -> None:
        self._text = ScannedText(keeps_sources=keeps_sources)
        self._construct_start = forms.compile_construct_start(call_forms)
        self._collector = CallCollector(self._text, tools, is_parallel=is_parallel)
        self._code_scanner = CodeScanner(
            self._text, self._collector, may_hold_calls=forms.FENCES in call_forms
        )
        self._tag_scanner = TagScanner(self._text, self._collector)
        self._token_scanner = TokenScanner(self._text, self._collector)
        self._has_read_all = False  # no part of a construct is waiting for more text
        self._steps = self._read_text()
        next(self._steps)

    @property
    def call_count(self) -> int:
        """Return how many calls were found."""
        return self._text.call_count

    def feed(self, piece: str) -> list[str | WrittenCall]:
        """Return the text and the calls that are decided now."""
        if self.passes_plain(piece):
            return [piece]
        self._text.add_piece(piece)
        next(self._steps)
        return self._text.drain_output()

    def passes_plain(self, piece: str) -> bool:
        """Return whether a piece is plain text that goes out as it is; it counts as read then."""
        text = self._text
        if not self._has_read_all or not text.has_passed_text or not piece:
            return False
        if self._construct_start.search(piece) is not None:
            return False
        text.skip_plain(piece)
        return True

    def finish_text(self, *, is_cut_off: bool = False) -> list[str | WrittenCall]:
        """End the text, and return all that was held.

        `is_cut_off`: the upstream stopped the model, so a last call may lack its end.
        """
        self._text.add_piece("")
        self._text.is_cut_off = is_cut_off
        self._text.is_final = True
        next(self._steps, None)
        if not self._text.call_count or self._text.keeps_sources:
            self._text.release_blanks()
        return self._text.drain_output()

    # --- beginnings of constructs -----------------------------------------------------------------
    def _read_text(self) -> Steps[None]:
        text = self._text
        while True:
            start = self._construct_start.search(text.window, text.position)
            if start is None:
                text.take_to(len(text.window))
            else:
                text.take_to(start.start())
            if start and not forms.is_cut_opener(start[0]):
                yield from self._read_construct(start[0])
            elif text.is_final:
                text.take_to(len(text.window))
                return
            else:
                self._has_read_all = start is None
                yield
                self._has_read_all = False

    def _read_construct(self, opener: str) -> Steps[object]:
        char = opener[0]
        if char in "`~":
            return self._code_scanner.read_code(char)
        if char == "{":
            return self._read_object()
        if char == "[" and opener not in forms.OPENERS:
            return self._read_list(opener)
        if opener in forms.THINKING_TAGS:
            return self._read_thinking(opener)
        if opener in forms.CLOSERS:
            return self._collector.take_closing_tag(opener)
        if opener in forms.SENTENCE_OPENERS or char in "cC":
            return self._read_sentence()
        if opener == token_syntax.COHERE_ACTION:
            return self._code_scanner.read_action(opener)
        if opener in forms.TOKEN_OPENERS:
            return self._token_scanner.read_call(opener)
        return self._tag_scanner.read_call(opener)

    def _read_list(self, opener: str) -> Steps[None]:
        """Read a list: of calls in Python, or of JSON, which is no call, nor are its objects."""
        text = self._text
        if opener[-1] != "(":
            yield from JsonScanner(text).take_value()
        elif text.is_at_line_start and opener[1:-1].strip() in self._collector.tools:
            text.begin_holding()
            yield from self._token_scanner.read_python(is_tagged=False)
        else:
            text.take_chars(1)

    def _read_thinking(self, opener: str) -> Steps[None]:
        """Read thinking to its closing tag; an opening tag within a line is text."""
        is_at_line_start = self._text.is_at_line_start
        self._text.take_chars(len(opener))
        if is_at_line_start:
            yield from self._text.take_until(forms.THINKING_TAGS[opener])

    # --- JSON and sentences -----------------------------------------------------------------------
    def _read_object(self) -> Steps[None]:
        """Read a JSON object in the text.

        A `tool_calls` list counts anywhere, a single call only as the whole rest of its line.
        """
        text = self._text
        if plain_objects := PLAIN_OBJECTS.match(text.window, text.position):
            text.take_to(plain_objects.end())  # they cannot be calls
            return
        may_begin_call = self._may_begin_call()
        text.begin_holding()
        mark = text.mark_held()
        scanner = JsonScanner(text, self._collector.tools if may_begin_call else {})
        is_complete = yield from scanner.take_value()
        calls: list[WrittenCall] = []
        if is_complete and text.is_holding:
            value = parse_json_value(text.read_held(mark))
            has_list = isinstance(value, dict) and "tool_calls" in value
            if has_list or may_begin_call:
                calls = extract_calls(value, self._collector.tools, is_tagged=False)
            if calls and not has_list:
                yield from text.take_run(forms.LINE_BLANKS)
                if text.next_char not in ("", "\n"):
                    calls = []
        self._collector.settle_calls(calls)

    def _may_begin_call(self) -> bool:
        """Return whether a single call may begin here: on a new line or after punctuation."""
        text = self._text
        if text.is_at_line_start:
            return True
        return text.last_visible_char in forms.PUNCTUATION_BEFORE_CALL and (
            text.last_char.isspace() or text.last_char in forms.CHINESE_PUNCTUATION
        )

    def _read_sentence(self) -> Steps[None]:
        """Read a call written as a sentence."""
        text = self._text
        pattern = forms.CHINESE_CALL
        is_glued = False  # to the letters before it
        if text.next_char in "cC":
            pattern = forms.ENGLISH_CALL
            is_glued = text.last_char.isalnum()
        sentence = None
        if not is_glued:
            sentence = yield from text.match_pattern(pattern)
        if not sentence or sentence[2] not in self._collector.tools:
            text.take_chars(1)
            return
        text.begin_holding()
        text.take_to(sentence.end() - 1)
        call = yield from self._collector.read_arguments(sentence[2])
        self._collector.settle_call(call)
