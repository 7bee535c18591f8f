"""The bytes of one stream -> batches of conforming chunks, and whether the stream ended well. No
I/O.
"""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from providers.exceptions import BadResponse, Disconnected, UpstreamError
from providers.filters.conform import StreamConformer
from providers.filters.surrogates import Halves
from providers.protocol.chat import Chunk
from providers.wire.sse import EventTooLong, Splitter

DONE = b"[DONE]"
BROKEN_EVENTS = 10  # of one stream; with more the stream is given up
LARGE_EVENT_BYTES = 256 * 2**10  # an event that is longer is read in a thread
_thread = ThreadPoolExecutor(
    1, thread_name_prefix="events"
)  # one: more would only take turns with the event loop


def has_surrogates(data: bytes) -> bool:
    """Whether a JSON text has escapes of surrogates; ask only when it has a backslash, which is
    found much sooner.
    """
    return b"\\ud" in data or b"\\uD" in data


class AnySplitter(Protocol):
    def feed(self, piece: bytes) -> list[bytes]:
        """The messages that this piece completes. Raises EventTooLong."""

    def finish(self) -> list[bytes]:
        """What a last message that lacks its end says."""


class Dialect(Protocol):
    """One answer of an upstream that does not speak OpenAI: messages -> chunks."""

    over: bool  # a message said that the answer is complete: nothing more is to be read

    def read(self, data: bytes) -> list[Chunk]:
        """The chunks that this message means, made with `providers.protocol.chat.delta`, the last
        one with a finish reason; lone surrogates left in. Raises UpstreamError for one that reports
        an error, ValueError for an unreadable one.
        """

    def close(self) -> list[Chunk]:
        """The bytes are over, and properly: what is still to be said, if that means that the answer
        is complete.
        """


class StreamReader:
    """`read_event` makes a chunk of an event's data (lone surrogates left in), None of what is no
    JSON object; it raises what an error means.

    Feed it what each read brought, `finish` it at the end of the bytes, then `judge`. `over`:
    nothing more is to be read, because [DONE] came (`done`) or an error. `finished`: all choices
    that were asked for, or with [DONE] all that began, have their finish reason.
    """

    __slots__ = (
        "_broken",
        "_choices",
        "_conformer",
        "_error",
        "_halves",
        "_read_event",
        "_splitter",
        "bytes_left",
        "done",
        "over",
        "waiting_bytes",
    )

    def __init__(
        self,
        read_event: Callable[[bytes], Chunk | None],
        event_bytes: int,
        *,
        chat: bool,
        choices: int = 1,
    ) -> None:
        self._read_event = read_event
        self._splitter: AnySplitter = Splitter(event_bytes)
        self._conformer = StreamConformer(chat=chat)
        self._choices = choices
        self._halves = Halves()
        self._broken = 0
        self._error: UpstreamError | None = None
        self.bytes_left = sys.maxsize  # that the stream may still have
        self.waiting_bytes = 0  # of an event that is not complete, or more
        self.done = self.over = False

    @property
    def finished(self) -> bool:
        return self._conformer.finished and (self.done or self._conformer.ended >= self._choices)

    def feed(self, piece: bytes) -> list[Chunk]:
        """The chunks that this piece completes, up to [DONE] or an error."""
        self.bytes_left -= len(piece)
        if self.bytes_left < 0:
            self._fail(BadResponse("The upstream sent too long a stream."))
            return []
        try:
            events = self._splitter.feed(piece)
        except EventTooLong:
            self._fail(BadResponse("The upstream sent too long an event."))
            return []
        if not events:
            self.waiting_bytes += len(piece)
            return []
        self.waiting_bytes = 0
        return self._take(events)

    def ends_large_event(self, piece: bytes) -> bool:
        """Whether to feed this piece beside the event loop: with its line end a large event may be
        complete.
        """
        return self.waiting_bytes > LARGE_EVENT_BYTES and b"\n" in piece

    async def feed_beside_loop(self, piece: bytes) -> list[Chunk]:
        """The same as `feed`, in a thread: reading a large event takes longer than others should
        wait.
        """
        return await asyncio.get_running_loop().run_in_executor(_thread, self.feed, piece)

    def finish(self) -> list[Chunk]:
        """The bytes are over: what a last event that lacks its blank line says."""
        return [] if self.over else self._take(self._splitter.finish())

    def judge(self) -> None:
        """Raise UpstreamError unless the stream ended well: after a finish reason."""
        if self.finished:
            return
        raise self._error or Disconnected("The upstream ended its stream without a finish reason.")

    def _take(self, events: list[bytes]) -> list[Chunk]:
        batch: list[Chunk] = []
        try:
            for data in events:
                if data.startswith(DONE) or data.strip() == DONE:
                    self.done = self.over = True
                    break
                chunk = self._read_event(data)
                if chunk is not None and (
                    self._halves.waiting or (b"\\" in data and has_surrogates(data))
                ):
                    chunk = self._halves.mend(chunk)
                if chunk is None:
                    self._count_broken()
                elif (conforming := self._conformer.chunk(chunk)) is not None:
                    batch.append(conforming)
        except UpstreamError as error:
            self._fail(error)
        return batch

    def _fail(self, error: UpstreamError) -> None:
        self._error = error
        self.over = True

    def _count_broken(self) -> None:
        self._broken += 1
        if self._broken > BROKEN_EVENTS:
            raise BadResponse("The upstream's stream is not readable.")


class DialectReader(StreamReader):
    """The same for a dialect of its own."""

    __slots__ = ("_dialect",)

    def __init__(self, dialect: Dialect, splitter: AnySplitter) -> None:
        super().__init__(lambda data: None, 0, chat=True)
        self._dialect = dialect
        self._splitter = splitter

    def finish(self) -> list[Chunk]:
        if self.over:
            return []
        batch = self._take(self._splitter.finish())
        return batch if self.over else batch + self._conform(self._dialect.close(), b"")

    def _take(self, events: list[bytes]) -> list[Chunk]:
        batch: list[Chunk] = []
        try:
            for data in events:
                try:
                    said = self._dialect.read(data)
                except ValueError:
                    self._count_broken()
                    continue
                batch += self._conform(said, data)
                if self._dialect.over:
                    self.done = self.over = True
                    break
        except UpstreamError as error:
            self._fail(error)
        return batch

    def _conform(self, said: list[Chunk], data: bytes) -> list[Chunk]:
        if self._halves.waiting or (b"\\" in data and has_surrogates(data)):
            said = [self._halves.mend(chunk) for chunk in said]
        found = (self._conformer.chunk(chunk) for chunk in said)
        return [chunk for chunk in found if chunk is not None]
