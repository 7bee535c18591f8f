"""The progress of a command, in one line of a terminal, or every few seconds in a log."""

import sys
import time

from django.core.management.base import OutputWrapper

SECONDS_BETWEEN_LINES = 5.0  # where the output is no terminal
SECONDS_BETWEEN_UPDATES = 0.1
ERASE_LINE = "\r\x1b[K"


class ProgressLine:
    """Writes what a command does now to standard error."""

    def __init__(self, output: OutputWrapper, *, is_silent: bool = False) -> None:
        self._output = output
        self._is_terminal = sys.stderr.isatty() and not is_silent
        self._is_silent = is_silent
        self._last = time.monotonic()

    def report(self, text: str) -> None:
        """Show this text, unless another one was shown just now."""
        now = time.monotonic()
        pause = SECONDS_BETWEEN_UPDATES if self._is_terminal else SECONDS_BETWEEN_LINES
        if self._is_silent or now - self._last < pause:
            return
        self._last = now
        if self._is_terminal:
            self._output.write(f"{ERASE_LINE}{text}", ending="")
        else:
            self._output.write(f"{text} …")
        self._output.flush()

    def clear(self) -> None:
        """Remove the line from a terminal."""
        if self._is_terminal:
            self._output.write(ERASE_LINE, ending="")
