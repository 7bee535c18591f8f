"""Find the calls that end a model's thinking: some models call a tool before they stop thinking.

A call in thinking counts only if nothing follows it, neither thought nor answer nor another call: a
model that thinks about a call goes on afterwards. No I/O.
"""

from providers.filters.prompted_tools.call_scanner import CallScanner
from providers.filters.prompted_tools.scanned_text import CallSource
from providers.filters.prompted_tools.written_call import ToolsByName, WrittenCall


class ThinkingCallReader:
    """The thinking of one choice; thinking from a possible call on is held."""

    __slots__ = ("_call_forms", "_calls", "_held_pieces", "_scanner", "_tools")

    def __init__(self, tools: ToolsByName, call_forms: frozenset[str]) -> None:
        self._tools = tools
        self._call_forms = call_forms
        self._calls: list[WrittenCall] = []
        self._held_pieces: list[str] = []  # the calls as they were written, and blanks behind them
        self._start_scanner()

    def _start_scanner(self) -> None:
        self._scanner = CallScanner(self._tools, call_forms=self._call_forms, keeps_sources=True)

    def passes_plain(self, piece: str) -> bool:
        """Return whether a piece goes out as it is; it counts as read then."""
        return not self._held_pieces and self._scanner.passes_plain(piece)

    def feed(self, piece: str) -> str:
        """Return the thinking that goes out now."""
        return self._hold_calls(self._scanner.feed(piece))

    def release_thinking(self) -> str:
        """Return all held thinking, because something follows it; a call in it does not count."""
        released = self._hold_calls(self._scanner.finish_text()) + "".join(self._held_pieces)
        self._held_pieces.clear()
        self._calls.clear()
        self._start_scanner()
        return released

    def finish_thinking(self) -> tuple[str, list[WrittenCall]]:
        """Return the thinking that goes out at the end, and the calls behind it."""
        thinking = self._hold_calls(self._scanner.finish_text())
        calls = self._calls
        if not calls:
            thinking += "".join(self._held_pieces)
        return thinking, calls

    def _hold_calls(self, items: list[str | WrittenCall]) -> str:
        """Return the text of the items that goes out: all but calls and blanks at the end."""
        passed_pieces: list[str] = []
        for item in items:
            if isinstance(item, WrittenCall):
                self._calls.append(item)
            elif isinstance(item, CallSource) or (self._calls and not item.strip()):
                self._held_pieces.append(item)
            else:
                passed_pieces += [*self._held_pieces, item]
                self._held_pieces.clear()
                self._calls.clear()
        return "".join(passed_pieces)
