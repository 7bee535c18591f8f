"""Skip code in a model's text, and find the calls in a fence that holds only calls. No I/O."""

import re

from providers.filters.prompted_tools import call_syntax as forms
from providers.filters.prompted_tools.call_collector import CallCollector
from providers.filters.prompted_tools.json_scanner import JsonScanner
from providers.filters.prompted_tools.scanned_text import ScannedText, Steps
from providers.filters.prompted_tools.written_call import (
    WrittenCall,
    extract_listed_calls,
    parse_json_value,
)

SPAN_CONTENT = re.compile(r"[^`\n]*")
LINE_BLANKS = forms.LINE_BLANKS
BETWEEN_CALLS = re.compile(r"[\s,]*")
MARK_RUNS = {"`": re.compile(r"`*"), "~": re.compile(r"~*")}
NON_MARK_RUNS = {"`": re.compile(r"[^`]*"), "~": re.compile(r"[^~]*")}
LEAST_FENCE_MARKS = 3


class CodeScanner:
    """The reading of code spans and fences."""

    __slots__ = ("_collector", "_may_hold_calls", "_text")

    def __init__(
        self, text: ScannedText, collector: CallCollector, *, may_hold_calls: bool
    ) -> None:
        self._text = text
        self._collector = collector
        self._may_hold_calls = may_hold_calls  # calls in fences count

    def read_code(self, mark: str) -> Steps[None]:
        """Read a code span or a fence; `mark` is a backtick or a tilde."""
        text = self._text
        is_at_line_start = text.is_at_line_start
        text.begin_holding()
        mark_count = yield from text.take_run(MARK_RUNS[mark])
        if mark_count < LEAST_FENCE_MARKS or (mark == "~" and not is_at_line_start):
            text.release_held()
            if mark == "`":
                yield from self._read_span(mark_count)
            return
        language = yield from text.take_limited_run(SPAN_CONTENT, forms.MOST_LANGUAGE_CHARS)
        may_hold_calls = self._may_hold_calls and text.next_char == "\n"
        if may_hold_calls and language.strip().lower() in forms.FENCE_LANGUAGES:
            if not (yield from self._read_fenced_calls(mark)):
                yield from self._read_fence(mark, mark_count)
            return
        text.release_held()
        yield from text.take_run(SPAN_CONTENT)
        if text.next_char == "\n":
            yield from self._read_fence(mark, mark_count)
        elif text.next_char:
            yield from self._read_span(mark_count)

    def read_action(self, opener: str) -> Steps[None]:
        """Read the fence with a list of calls behind the word of Cohere's older models."""
        text = self._text
        text.begin_holding()
        text.take_chars(len(opener))
        fence = yield from text.match_pattern(forms.ACTION_FENCE)
        if not fence:
            text.release_held()
            return
        text.take_to(fence.end() - 1)
        if not (yield from self._read_fenced_calls("`")):
            yield from self._read_fence("`", LEAST_FENCE_MARKS)

    def _read_span(self, mark_count: int) -> Steps[None]:
        """Read to the end of a code span, at the latest to the end of the line."""
        text = self._text
        while True:
            yield from text.take_run(SPAN_CONTENT)
            if text.next_char != "`":
                return
            if (yield from text.take_run(MARK_RUNS["`"])) == mark_count:
                return

    def _read_fence(self, mark: str, mark_count: int) -> Steps[None]:
        """Read to the end of a fence: a line with nothing but at least as many marks."""
        text = self._text
        while True:
            yield from text.take_run(NON_MARK_RUNS[mark])
            is_at_line_start = text.is_at_line_start
            if not text.next_char:
                return
            is_long_enough = (yield from text.take_run(MARK_RUNS[mark])) >= mark_count
            if is_at_line_start and is_long_enough:
                yield from text.take_run(LINE_BLANKS)
                if text.next_char in ("", "\n"):
                    return

    def _read_fenced_calls(self, mark: str) -> Steps[bool]:
        """Read a fence that holds only calls, and return whether it does.

        If it does not, its text is released.
        """
        text = self._text
        calls: list[WrittenCall] = []
        while True:
            yield from text.take_run(BETWEEN_CALLS)
            if text.next_char in (mark, "") and calls:
                yield from text.take_run(MARK_RUNS[mark])
                return self._collector.settle_calls(calls)
            next_calls = yield from self._read_fenced_value()
            if not next_calls:
                text.release_held()
                return False
            calls += next_calls

    def _read_fenced_value(self) -> Steps[list[WrittenCall]]:
        """Read a JSON value in a fence, perhaps between tags; return the calls in it."""
        text = self._text
        tag = None
        if text.next_char == "<":
            tag = yield from text.match_pattern(forms.FENCED_CALL)
        if tag is None:
            return (yield from self._read_fenced_json())
        text.take_to(tag.end() - 1)
        calls = yield from self._collector.take_value_calls(is_tagged=True)
        if calls:
            yield from text.take_run(BETWEEN_CALLS)
            closing_tag = yield from text.match_pattern(forms.FENCED_CALL_END)
            if closing_tag:
                text.take_to(closing_tag.end())
        return calls

    def _read_fenced_json(self) -> Steps[list[WrittenCall]]:
        """Read an object or a list in a fence; return its calls, of a list all or none."""
        text = self._text
        if text.next_char != "[":
            return (yield from self._collector.take_value_calls(is_tagged=False))
        if not (yield from text.match_pattern(forms.FENCED_LIST)):
            return []
        mark = text.mark_held()
        is_complete = yield from JsonScanner(text).take_value()
        if not is_complete or not text.is_holding:
            return []
        return extract_listed_calls(parse_json_value(text.read_held(mark)), self._collector.tools)
