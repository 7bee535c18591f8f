"""Split a stream of server-sent events into the data of each event. No I/O.

Lines end at LF, CR or CRLF only, wherever the bytes are cut. A leading BOM, comments and other
fields are skipped. Several `data:` lines are joined with LF. Source: WHATWG HTML, "Parsing an event
stream".
"""

import re

LINE_END = re.compile(rb"\r\n|\n|\r")
BOM = b"\xef\xbb\xbf"


class EventTooLong(Exception):
    """One event, or one line without an end, is longer than the limit."""


class Splitter:
    """A reader of events: feed it each piece, and it returns the data of the completed events.

    The data comes in the order of the events.
    """

    __slots__ = ("_data", "_data_size", "_held", "_limit", "_rest", "_size", "_started")

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._rest: list[bytes] = []  # the beginning of a line that is not complete
        self._size = 0
        self._data: list[bytes] = []  # the data lines of the event that is not complete
        self._data_size = 0
        self._held = False  # the last piece ended in CR: an LF that follows belongs to it
        self._started = False

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the data of the events completed by `piece`. Raises EventTooLong."""
        if not self._started:
            piece = self._without_bom(piece)
        if self._held and piece:
            self._held = False
            if piece.startswith(b"\n"):
                piece = piece[1:]
        if b"\r" not in piece:
            lines = piece.split(b"\n")
        else:
            self._held = piece.endswith(b"\r")
            lines = LINE_END.split(piece)
        if len(lines) == 1:
            self._keep(lines[0])
            return []
        if self._rest:
            lines[0] = b"".join((*self._rest, lines[0]))
            self._rest = []
        last = lines.pop()
        events = self._events(lines)
        self._size = self._data_size
        self._keep(last)
        return events

    def finish(self) -> list[bytes]:
        """Return the data of the last event, at the end of the stream.

        An event that only lacks its blank line still counts, as in all common clients.
        """
        rest = b"".join(self._rest)
        self._rest = []
        return self._events([rest, b""])

    def _without_bom(self, piece: bytes) -> bytes:
        start = b"".join((*self._rest, piece))
        self._rest = []
        self._size = 0
        if len(start) < len(BOM) and BOM.startswith(start):
            self._keep(start)
            return b""
        self._started = True
        return start.removeprefix(BOM)

    def _keep(self, part: bytes) -> None:
        if part:
            self._rest.append(part)
            self._size += len(part)
            if self._size > self._limit:
                raise EventTooLong

    def _count(self, size: int) -> None:
        self._data_size += size
        if self._data_size > self._limit:
            raise EventTooLong

    def _events(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        data = self._data
        for line in lines:
            if not line:
                if data:
                    events.append(data[0] if len(data) == 1 else b"\n".join(data))
                    data.clear()
                    self._data_size = 0
            elif line.startswith(b"data:"):
                data.append(line[6:] if line.startswith(b" ", 5) else line[5:])
                self._count(len(line))
            elif line == b"data":
                data.append(b"")
                self._count(1)
        return events
