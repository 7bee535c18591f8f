"""Turn the held text of one choice into calls, or give it back as text. No I/O."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from providers.filters.call_texts.json_mender import find_only_reading
from providers.filters.call_texts.schema_types import ArgumentSchema
from providers.filters.prompted_tools.call_syntax import MORE_CALLS, build_closing_tag
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
MOST_MENDED_CALLS = 32  # of one answer; further calls that are not quite JSON stay text
MOST_MENDED_CHARS = 16_384
FENCE_MARKS = "```"
Meaning = TypeVar("Meaning")


class CallCollector:
    """The calls of one text.

    `tools` are the tools that may be called, by name. Unless `is_parallel`, only the first call
    counts.
    """

    __slots__ = ("_droppable_closers", "_is_parallel", "_mends_left", "_text", "tools")

    def __init__(self, text: ScannedText, tools: ToolsByName, *, is_parallel: bool) -> None:
        self._text = text
        self.tools = tools
        self._is_parallel = is_parallel
        self._mends_left = MOST_MENDED_CALLS
        self._droppable_closers: set[str] = set()  # closing tags of calls, which are no text

    # --- calls that are certain -------------------------------------------------------------------
    def settle_calls(
        self, calls: Sequence[WrittenCall], tags: Iterable[str] = (), closers: Iterable[str] = ()
    ) -> bool:
        """Replace the held text by these calls and return True, or release it and return False.

        It is released if there are no calls or too many. `tags` are the tags around the calls,
        `closers` are tags that may follow them and are no text then.
        """
        text = self._text
        if not calls or not text.is_holding or text.call_count + len(calls) > MOST_CALLS:
            text.release_held()
            return False
        self._droppable_closers.update(map(build_closing_tag, tags))
        self._droppable_closers.update(closers)
        if not self._is_parallel:
            calls = calls[: 1 - text.call_count]
        text.replace_held(calls)
        return True

    def settle_call(
        self, call: WrittenCall | None, tags: Iterable[str] = (), closers: Iterable[str] = ()
    ) -> bool:
        """Settle one call, or release the held text if there is none."""
        return self.settle_calls([call] if call else [], tags, closers)

    def take_closing_tag(self, tag: str) -> Steps[None]:
        """Drop the closing tag of a call that was found; any other closing tag is text."""
        if tag in self._droppable_closers:
            self._droppable_closers.discard(tag)
            self._text.drop_chars(len(tag))
        else:
            self._text.take_chars(len(tag))
        yield from ()

    # --- JSON -------------------------------------------------------------------------------------
    def read_arguments(
        self, name: str, ends: Sequence[str] = (), call_id: str = ""
    ) -> Steps[WrittenCall | None]:
        """Read the JSON object here as the arguments of a call; return the call, or None.

        With `ends`, the tags that end it, an object that is not quite JSON counts, too.
        """
        mark = self._text.mark_held()
        is_complete = yield from JsonScanner(self._text).take_value()
        if not self._text.is_holding:
            return None
        if is_complete:
            call = build_written_call(name, self._text.read_held(mark))
            if call:
                return call._replace(id=call_id)

        def read_meaning(value: object) -> WrittenCall | None:
            mended = build_written_call(name, value if value is not None else [])
            return mended if self._fits_schema(mended) else None

        call = yield from self._take_mended(mark, ends, read_meaning, is_complete=is_complete)
        return call._replace(id=call_id) if call else None

    def take_value_calls(
        self, *, is_tagged: bool, ends: Sequence[str] = (), keeps_ids: bool = False
    ) -> Steps[list[WrittenCall]]:
        """Read the JSON value here, if there is one, and return the calls in it.

        With `ends`, the tags that end it, a value that is not quite JSON counts, too.
        """
        text = self._text
        if text.next_char not in ("{", "["):
            return []
        mark = text.mark_held()
        scanner = JsonScanner(text, None if is_tagged else self.tools)
        is_complete = yield from scanner.take_value()
        if not text.is_holding:
            return []
        calls: list[WrittenCall] | None = None
        if is_complete:
            value = parse_json_value(text.read_held(mark))
            calls = extract_calls(value, self.tools, is_tagged=is_tagged)
            if value is not None:
                ends = ()
        if not calls:
            calls = yield from self._take_mended(
                mark, ends, self._extract_fitting_calls, is_complete=is_complete
            )
        return [call if keeps_ids else call._replace(id="") for call in calls or ()]

    def take_objects(
        self, *, ends: Sequence[str], tags: Iterable[str] = (), closers: Sequence[str] = ()
    ) -> Steps[None]:
        """Read and settle the JSON value here and further objects that follow it."""
        text = self._text
        while True:
            calls = yield from self.take_value_calls(is_tagged=True, ends=ends)
            if not self.settle_calls(calls, tags, closers):
                return
            more = yield from text.match_pattern(MORE_CALLS)
            if not more:
                return
            text.begin_holding()
            text.take_to(more.end() - 1)

    # --- JSON that is not quite right -------------------------------------------------------------
    def _take_mended(
        self,
        mark: int,
        ends: Sequence[str],
        read_meaning: Callable[[object], Meaning | None],
        *,
        is_complete: bool,
    ) -> Steps[Meaning | None]:
        """Read a value that is not quite JSON, to the tag that ends it; return what it means.

        Its text since the mark is held already, all of it if it `is_complete`. Returns None, and
        takes nothing more, if it has no meaning or several.
        """
        text = self._text
        if not ends or not self._mends_left or not text.is_holding:
            return None
        self._mends_left -= 1
        held = text.read_held(mark)
        if is_complete:
            return find_only_reading(held, read_meaning, may_be_cut=False)
        if place := find_first(held, ends):
            text.put_back(len(held) - place[1])  # a text without its end ran into what follows
            return find_only_reading(held[: place[0]], read_meaning, may_be_cut=True)
        end = yield from text.peek_end(ends, MOST_MENDED_CHARS)
        if end is None:
            return None
        rest = text.window[text.position : end[0]]
        body = (held + rest).strip().removesuffix(FENCE_MARKS)
        has_end = end[0] < end[1]
        may_be_cut = has_end or not text.is_cut_off
        meaning = find_only_reading(body, read_meaning, may_be_cut=may_be_cut)
        if meaning is not None:
            text.take_to(end[1])
        return meaning

    def _extract_fitting_calls(self, value: object) -> list[WrittenCall] | None:
        """Return the calls of a value, if all of them fit the schemas of their tools."""
        calls = extract_calls(value, self.tools, is_tagged=True)
        if calls and all(map(self._fits_schema, calls)):
            return calls
        return None

    def _fits_schema(self, call: WrittenCall | None) -> bool:
        if call is None:
            return False
        return ArgumentSchema(self.tools[call.name]).fits(parse_json_value(call.arguments))

    def build_calls(self, values: Sequence[tuple[str, object]]) -> list[WrittenCall]:
        """Return calls with these names and arguments; none unless all of them are calls."""
        calls = [
            build_written_call(name, arguments) for name, arguments in values if name in self.tools
        ]
        fitting = [call for call in calls if call is not None]
        return fitting if len(fitting) == len(values) else []

    def takes_no_arguments(self, name: str) -> bool:
        """Return whether a tool may be called without arguments."""
        return ArgumentSchema(self.tools[name]).fits({})


def find_first(text: str, literals: Iterable[str]) -> tuple[int, int] | None:
    """Return where the first of the literals in a text begins and ends, None without one."""
    places = [(text.find(literal), len(literal)) for literal in literals]
    starts = [(start, start + size) for start, size in places if start >= 0]
    return min(starts, default=None)
