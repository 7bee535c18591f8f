"""The bytes of one OpenAI stream -> batches of conforming chunks, and whether the stream ended well. No I/O."""

from collections.abc import Callable

from providers.chat import Chunk
from providers.exceptions import BadResponse, Disconnected, UpstreamError
from providers.filters.conform import StreamConformer
from providers.filters.halves import Halves
from providers.wire.sse import EventTooLong, Splitter

DONE = b"[DONE]"
BROKEN_EVENTS = 10  # of one stream; with more the stream is given up


class StreamReader:
    """`read_event` makes a chunk of an event's data (lone surrogates left in), None of what is no JSON object; it
    raises what an error means.

    Feed it what each read brought, `finish` it at the end of the bytes, then `judge`. `over`: nothing more is to be
    read, because [DONE] came (`done`) or an error. `finished`: all choices that were asked for, or with [DONE] all that
    began, have their finish reason.
    """

    __slots__ = ("_broken", "_choices", "_conformer", "_error", "_halves", "_read_event", "_splitter", "done", "over")

    def __init__(
        self, read_event: Callable[[bytes], Chunk | None], event_bytes: int, *, chat: bool, choices: int = 1
    ) -> None:
        self._read_event = read_event
        self._splitter = Splitter(event_bytes)
        self._conformer = StreamConformer(chat=chat)
        self._choices = choices
        self._halves = Halves()
        self._broken = 0
        self._error: UpstreamError | None = None
        self.done = self.over = False

    @property
    def finished(self) -> bool:
        return self._conformer.finished and (self.done or self._conformer.ended >= self._choices)

    def feed(self, piece: bytes) -> list[Chunk]:
        """The chunks that this piece completes, up to [DONE] or an error."""
        try:
            events = self._splitter.feed(piece)
        except EventTooLong:
            self._fail(BadResponse("The upstream sent too long an event."))
            return []
        return self._take(events)

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
                if chunk is not None and (self._halves.waiting or b"\\ud" in data or b"\\uD" in data):
                    chunk = self._halves.mend(chunk)
                if chunk is None:
                    self._count_broken()
                elif (conforming := self._conformer.chunk(chunk)) is not None:
                    batch.append(conforming)
        except UpstreamError as error:
            self._fail(error)
        return batch

    def _fail(self, error: UpstreamError) -> None:
        self._error, self.over = error, True

    def _count_broken(self) -> None:
        self._broken += 1
        if self._broken > BROKEN_EVENTS:
            raise BadResponse("The upstream's stream is not readable.")
