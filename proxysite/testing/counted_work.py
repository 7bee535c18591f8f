"""Count the work of code instead of measuring its time: the same count on every machine.

One step is a line that ran, a character that a method of a text or a regular expression passed
over, or a byte that was copied. Two calls with texts of different lengths show how the work grows.
"""

import re
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from types import FrameType, ModuleType
from typing import Any

import pytest

TEXT_TYPES = (str, bytes, bytearray)
TraceFunction = Callable[[FrameType, str, object], Any]
SMALL_BYTES = 1_024  # numbers and the objects of a frame: they do not grow with the text


class WorkCounter:
    """Counts the steps of calls, and of the regular expressions that it was given."""

    def __init__(self) -> None:
        self._steps = 0

    def count_steps(self, work: Callable[[], object]) -> int:
        """Call `work` twice, and return how many steps the second call took.

        The first call makes what is made only once in a process, such as compiled patterns.
        """
        work()
        self._steps = 0
        count_line, read_count = make_line_counter()
        before = sys.gettrace(), sys.getprofile()
        tracemalloc.start()
        sys.setprofile(self._count_method)
        sys.settrace(count_line)
        try:
            work()
        finally:
            sys.settrace(before[0])
            sys.setprofile(before[1])
            tracemalloc.stop()
        return self._steps + read_count()

    def watch_patterns(self, monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> None:
        """Replace the regular expressions of the modules by ones that are counted."""
        for module in modules:
            for name, value in list(vars(module).items()):
                if isinstance(value, re.Pattern):
                    monkeypatch.setattr(module, name, CountedPattern(value, self))
                elif isinstance(value, dict):
                    self._watch_values(monkeypatch, value)
                else:
                    self._watch_slots(monkeypatch, value)

    def add_steps(self, steps: int) -> None:
        self._steps += steps

    def _watch_values(self, monkeypatch: pytest.MonkeyPatch, values: dict[Any, Any]) -> None:
        for key, value in values.items():
            if isinstance(value, re.Pattern):
                monkeypatch.setitem(values, key, CountedPattern(value, self))

    def _watch_slots(self, monkeypatch: pytest.MonkeyPatch, value: object) -> None:
        slots = getattr(type(value), "__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            pattern = getattr(value, slot, None)
            if isinstance(pattern, re.Pattern):
                monkeypatch.setattr(value, slot, CountedPattern(pattern, self))

    def _count_method(self, frame: FrameType, event: str, argument: object) -> None:
        """Count the characters of a text whose method is called."""
        if event == "c_call":
            text = getattr(argument, "__self__", None)
            if isinstance(text, TEXT_TYPES):
                self._steps += len(text)


def make_line_counter() -> tuple[TraceFunction, Callable[[], int]]:
    """Return a trace function that counts, and a function that returns its count.

    It counts each line, and the bytes that the line before it copied. It runs at every line:
    variables of this function are read and changed faster than attributes.
    """
    read_memory, reset_peak = tracemalloc.get_traced_memory, tracemalloc.reset_peak
    steps = 0
    allocated_before = 0

    def count_line(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal steps, allocated_before
        allocated, peak = read_memory()
        copied = peak - allocated_before
        if copied > SMALL_BYTES:
            steps += copied
        if event == "line":
            steps += 1
        reset_peak()
        allocated_before = allocated
        return count_line

    return count_line, lambda: steps


class CountedPattern:
    """A regular expression that counts the characters that it may have looked at."""

    def __init__(self, pattern: re.Pattern[Any], counter: WorkCounter) -> None:
        self._pattern = pattern
        self._counter = counter

    def search(self, text: Any, position: int = 0, end: int = sys.maxsize) -> re.Match[Any] | None:
        return self._count_match(self._pattern.search(text, position, end), text, position, end)

    def match(self, text: Any, position: int = 0, end: int = sys.maxsize) -> re.Match[Any] | None:
        return self._count_match(self._pattern.match(text, position, end), text, position, end)

    def split(self, text: Any) -> list[Any]:
        self._counter.add_steps(len(text))
        return self._pattern.split(text)

    def sub(self, replacement: Any, text: Any) -> Any:
        self._counter.add_steps(len(text))
        return self._pattern.sub(replacement, text)

    def finditer(self, text: Any) -> Iterator[re.Match[Any]]:
        self._counter.add_steps(len(text))
        return self._pattern.finditer(text)

    def _count_match(
        self, match: re.Match[Any] | None, text: Any, position: int, end: int
    ) -> re.Match[Any] | None:
        """Count up to the end of the match; without one all of the text may have been read."""
        last = match.end() if match else min(len(text), end)
        self._counter.add_steps(max(last - position, 0))
        return match
