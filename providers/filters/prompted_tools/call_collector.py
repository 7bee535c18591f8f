"""Turn the held text of one choice into calls, or give it back as text. No I/O."""

from collections.abc import Iterable

from providers.filters.prompted_tools.call_syntax import build_closing_tag
from providers.filters.prompted_tools.json_scanner import JsonScanner
from providers.filters.prompted_tools.scanned_text import ScannedText, Steps
from providers.filters.prompted_tools.written_call import (
    ToolsByName,
    WrittenCall,
    build_written_call,
    extract_calls,
    parse_json_value,
)

MOST_CALLS = 1_024  # of one answer; further calls stay text


class CallCollector:
    """The calls of one text.

    `tools` are the tools that may be called, by name. Unless `is_parallel`, only the first call
    counts.
    """

    __slots__ = ("_droppable_closers", "_is_parallel", "_text", "tools")

    def __init__(self, text: ScannedText, tools: ToolsByName, *, is_parallel: bool) -> None:
        self._text = text
        self.tools = tools
        self._is_parallel = is_parallel
        self._droppable_closers: set[str] = set()  # closing tags of calls, which are no text

    def settle_calls(self, calls: list[WrittenCall], tags: Iterable[str] = ()) -> bool:
        """Replace the held text by these calls and return True, or release it and return False.

        It is released if there are no calls or too many. `tags` are the tags around the calls.
        """
        text = self._text
        if not calls or not text.is_holding or text.call_count + len(calls) > MOST_CALLS:
            text.release_held()
            return False
        self._droppable_closers.update(map(build_closing_tag, tags))
        if not self._is_parallel:
            calls = calls[: 1 - text.call_count]
        text.replace_held(calls)
        return True

    def settle_call(self, name: str, arguments: object, tags: Iterable[str] = ()) -> bool:
        """Settle one call, which is none if the arguments are neither an object nor its JSON."""
        call = build_written_call(name, arguments)
        if call is None:
            return self.settle_calls([])
        return self.settle_calls([call], tags)

    def take_arguments(self, name: str, tags: Iterable[str] = ()) -> Steps[bool]:
        """Read the JSON object here as the arguments of a call; return whether it is one."""
        mark = self._text.mark_held()
        is_complete = yield from JsonScanner(self._text).take_value()
        if not is_complete or not self._text.is_holding:
            return self.settle_calls([])
        return self.settle_call(name, self._text.read_held(mark), tags)

    def take_value_calls(self, *, is_tagged: bool) -> Steps[list[WrittenCall]]:
        """Read the JSON value here, if there is one, and return the calls in it."""
        text = self._text
        if text.next_char not in ("{", "["):
            return []
        mark = text.mark_held()
        scanner = JsonScanner(text, None if is_tagged else self.tools)
        is_complete = yield from scanner.take_value()
        if not is_complete or not text.is_holding:
            return []
        return extract_calls(
            parse_json_value(text.read_held(mark)), self.tools, is_tagged=is_tagged
        )

    def take_closing_tag(self, tag: str) -> Steps[None]:
        """Drop the closing tag of a call that was found; any other closing tag is text."""
        if tag in self._droppable_closers:
            self._droppable_closers.discard(tag)
            self._text.drop_chars(len(tag))
        else:
            self._text.take_chars(len(tag))
        yield from ()
