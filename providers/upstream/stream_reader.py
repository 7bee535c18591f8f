"""Read the bytes of one stream as lists of chunks in OpenAI's schema, and judge its end. No I/O."""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from providers.exceptions import BadResponse, Disconnected, UpstreamError
from providers.filters.conform import StreamConformer
from providers.filters.surrogates import SurrogateJoiner
from providers.protocol.chunks import Chunk
from providers.wire.sse import EventSplitter, EventTooLong

DONE = b"[DONE]"
MOST_BROKEN_EVENTS = 10  # of one stream; with more of them the stream fails
LARGE_EVENT_BYTES = 256 * 2**10  # an event that is longer is read in a thread
# more threads would only compete with the event loop for the interpreter
_event_executor = ThreadPoolExecutor(1, thread_name_prefix="events")


def has_surrogates(data: bytes) -> bool:
    """Return whether a JSON text has escapes of surrogates.

    Call it only when the text has a backslash: searching for that is much faster.
    """
    return b"\\ud" in data or b"\\uD" in data


class AnySplitter(Protocol):
    """A splitter of bytes into messages, in the framing of one dialect."""

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the messages that this piece completes. Raises EventTooLong."""

    def finish(self) -> list[bytes]:
        """Return the last message, if the stream ended without its terminator."""


class Dialect(Protocol):
    """The reader of one answer in another dialect than OpenAI's: messages become chunks."""

    over: bool  # a message said that the answer is complete: no more is to be read

    def read(self, data: bytes) -> list[Chunk]:
        """Return the chunks of this message, made with `providers.protocol.chunks.make_delta`.

        The last chunk of the answer has a finish reason; lone surrogates are left in. Raises
        UpstreamError for a message that reports an error, ValueError for an unreadable one.
        """

    def close(self) -> list[Chunk]:
        """Return the chunks to add when the bytes have ended properly.

        There are some only where the end of the bytes means that the answer is complete.
        """


class StreamReader:
    """A reader of one stream of events.

    `read_event` makes a chunk of an event's data (lone surrogates left in), or None when it is not
    a JSON object; it raises the error that an event reports. Call `feed` with each read,
    `read_last_event` at the end of the bytes, then `require_finish`. `is_over`: no more is to be
    read, because of [DONE] (`has_done_marker`) or an error. `is_finished`: all requested choices
    have their finish reason, or, after [DONE], all that began. Calls with the reason "stop" get one
    that names them unless it `allows_stop_with_calls`.
    """

    __slots__ = (
        "_broken_events",
        "_choices",
        "_conformer",
        "_error",
        "_read_event",
        "_splitter",
        "_surrogate_joiner",
        "bytes_left",
        "has_done_marker",
        "is_over",
        "waiting_bytes",
    )

    def __init__(
        self,
        read_event: Callable[[bytes], Chunk | None],
        event_bytes: int,
        *,
        chat: bool,
        choices: int = 1,
        allows_stop_with_calls: bool = True,
    ) -> None:
        self._read_event = read_event
        self._splitter: AnySplitter = EventSplitter(event_bytes)
        self._conformer = StreamConformer(
            is_chat=chat, allows_stop_with_calls=allows_stop_with_calls
        )
        self._choices = choices
        self._surrogate_joiner = SurrogateJoiner()
        self._broken_events = 0
        self._error: UpstreamError | None = None
        self.bytes_left = sys.maxsize  # how many more the stream may have
        self.waiting_bytes = 0  # at least the size of the incomplete event
        self.has_done_marker = False
        self.is_over = False

    @property
    def is_finished(self) -> bool:
        """Return whether all requested choices have their finish reason."""
        return self._conformer.is_finished and (
            self.has_done_marker or self._conformer.finished_count >= self._choices
        )

    def feed(self, piece: bytes) -> list[Chunk]:
        """Return the chunks that this piece completes, up to [DONE] or an error."""
        self.bytes_left -= len(piece)
        if self.bytes_left < 0:
            self._end_with_error(BadResponse("The upstream sent too long a stream."))
            return []
        try:
            events = self._splitter.feed(piece)
        except EventTooLong:
            self._end_with_error(BadResponse("The upstream sent too long an event."))
            return []
        if not events:
            self.waiting_bytes += len(piece)
            return []
        self.waiting_bytes = 0
        return self._read_events(events)

    def ends_large_event(self, piece: bytes) -> bool:
        """Return whether to feed this piece in a thread: its line end may end a large event."""
        return self.waiting_bytes > LARGE_EVENT_BYTES and b"\n" in piece

    async def feed_in_thread(self, piece: bytes) -> list[Chunk]:
        """Run `feed` in a thread, because reading a large event takes long.

        Other requests would have to wait for it in the event loop.
        """
        return await asyncio.get_running_loop().run_in_executor(_event_executor, self.feed, piece)

    def read_last_event(self) -> list[Chunk]:
        """Return the chunks of a last event that lacks its blank line; the bytes have ended."""
        if self.is_over:
            return []
        return self._read_events(self._splitter.finish())

    def require_finish(self) -> None:
        """Raise UpstreamError unless the stream ended well: after a finish reason."""
        if self.is_finished:
            return
        raise self._error or Disconnected("The upstream ended its stream without a finish reason.")

    def _read_events(self, events: list[bytes]) -> list[Chunk]:
        batch: list[Chunk] = []
        try:
            for data in events:
                if data.startswith(DONE) or data.strip() == DONE:
                    batch += self._end_with_marker()
                    break
                chunk = self._read_event(data)
                if chunk is not None and (
                    self._surrogate_joiner.waiting_surrogates
                    or (b"\\" in data and has_surrogates(data))
                ):
                    chunk = self._surrogate_joiner.join_surrogates(chunk)
                if chunk is None:
                    self._count_broken_event()
                elif (conforming := self._conformer.conform_chunk(chunk)) is not None:
                    batch.append(conforming)
        except UpstreamError as error:
            self._end_with_error(error)
        return batch

    def _end_with_marker(self) -> list[Chunk]:
        """Note that [DONE] came; return the last chunk of calls that lack their finish reason."""
        self.has_done_marker = True
        self.is_over = True
        last_chunk = None
        if not self.is_finished:
            last_chunk = self._conformer.finish_calls()
        return [last_chunk] if last_chunk else []

    def _end_with_error(self, error: UpstreamError) -> None:
        self._error = error
        self.is_over = True

    def _count_broken_event(self) -> None:
        self._broken_events += 1
        if self._broken_events > MOST_BROKEN_EVENTS:
            raise BadResponse("The upstream's stream is not readable.")


class DialectReader(StreamReader):
    """A reader of one stream in another dialect than OpenAI's."""

    __slots__ = ("_dialect",)

    def __init__(self, dialect: Dialect, splitter: AnySplitter, *, choices: int = 1) -> None:
        super().__init__(lambda data: None, 0, chat=True, choices=choices)
        self._dialect = dialect
        self._splitter = splitter

    def read_last_event(self) -> list[Chunk]:
        if self.is_over:
            return []
        batch = self._read_events(self._splitter.finish())
        if not self.is_over:
            batch += self._conform_chunks(self._dialect.close(), b"")
        return batch

    def _read_events(self, events: list[bytes]) -> list[Chunk]:
        batch: list[Chunk] = []
        try:
            for data in events:
                try:
                    chunks = self._dialect.read(data)
                except ValueError:
                    self._count_broken_event()
                    continue
                batch += self._conform_chunks(chunks, data)
                if self._dialect.over:
                    self.has_done_marker = True
                    self.is_over = True
                    break
        except UpstreamError as error:
            self._end_with_error(error)
        return batch

    def _conform_chunks(self, chunks: list[Chunk], data: bytes) -> list[Chunk]:
        if self._surrogate_joiner.waiting_surrogates or (b"\\" in data and has_surrogates(data)):
            chunks = [self._surrogate_joiner.join_surrogates(chunk) for chunk in chunks]
        conforming = (self._conformer.conform_chunk(chunk) for chunk in chunks)
        return [chunk for chunk in conforming if chunk is not None]
