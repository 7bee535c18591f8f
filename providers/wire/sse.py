"""Split a stream of server-sent events into the data of each event. No I/O.

Lines end at LF, CR or CRLF only, wherever the bytes are cut. A leading BOM, comments and other
fields are skipped. Several `data:` lines are joined with LF. Source: WHATWG HTML, "Parsing an event
stream".
"""

import re

LINE_END = re.compile(rb"\r\n|\n|\r")
BOM = b"\xef\xbb\xbf"
PING = b": ping\n\n"  # a comment, which every client passes over
DONE_EVENT = b"data: [DONE]\n\n"  # the last event of an answer of OpenAI's dialect


class EventTooLong(Exception):
    """One event, or one line without an end, is longer than the limit."""


class EventSplitter:
    """A reader of events: feed it each piece, and it returns the data of the completed events.

    The data comes in the order of the events.
    """

    __slots__ = (
        "_data_bytes",
        "_data_lines",
        "_ended_in_cr",
        "_has_started",
        "_limit_bytes",
        "_line_pieces",
        "_waiting_bytes",
    )

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._line_pieces: list[bytes] = []  # the beginning of a line that is not complete
        self._waiting_bytes = 0
        self._data_lines: list[bytes] = []  # the data lines of the event that is not complete
        self._data_bytes = 0
        self._ended_in_cr = False  # the last piece ended in CR: an LF that follows belongs to it
        self._has_started = False

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the data of the events completed by `piece`. Raises EventTooLong."""
        if not self._has_started:
            piece = self._remove_bom(piece)
        if self._ended_in_cr and piece:
            self._ended_in_cr = False
            if piece.startswith(b"\n"):
                piece = piece[1:]
        if b"\r" not in piece:
            lines = piece.split(b"\n")
        else:
            self._ended_in_cr = piece.endswith(b"\r")
            lines = LINE_END.split(piece)
        if len(lines) == 1:
            self._hold_line_part(lines[0])
            return []
        if self._line_pieces:
            lines[0] = b"".join((*self._line_pieces, lines[0]))
            self._line_pieces = []
        last = lines.pop()
        events = self._parse_events(lines)
        self._waiting_bytes = self._data_bytes
        self._hold_line_part(last)
        return events

    def finish(self) -> list[bytes]:
        """Return the data of the last event, at the end of the stream.

        An event that only lacks its blank line still counts, as in all common clients.
        """
        rest = b"".join(self._line_pieces)
        self._line_pieces = []
        return self._parse_events([rest, b""])

    def _remove_bom(self, piece: bytes) -> bytes:
        start = b"".join((*self._line_pieces, piece))
        self._line_pieces = []
        self._waiting_bytes = 0
        if len(start) < len(BOM) and BOM.startswith(start):
            self._hold_line_part(start)
            return b""
        self._has_started = True
        return start.removeprefix(BOM)

    def _hold_line_part(self, part: bytes) -> None:
        if part:
            self._line_pieces.append(part)
            self._waiting_bytes += len(part)
            if self._waiting_bytes > self._limit_bytes:
                raise EventTooLong

    def _count_data(self, size_bytes: int) -> None:
        self._data_bytes += size_bytes
        if self._data_bytes > self._limit_bytes:
            raise EventTooLong

    def _parse_events(self, lines: list[bytes]) -> list[bytes]:
        events: list[bytes] = []
        data = self._data_lines
        for line in lines:
            if not line:
                if data:
                    events.append(data[0] if len(data) == 1 else b"\n".join(data))
                    data.clear()
                    self._data_bytes = 0
            elif line.startswith(b"data:"):
                data.append(line[6:] if line.startswith(b" ", 5) else line[5:])
                self._count_data(len(line))
            elif line == b"data":
                data.append(b"")
                self._count_data(1)
        return events
