"""One HTTP/1.1 connection to an upstream: an asyncio protocol on httptools.

It carries one request at a time. Bytes of the answer's body wait in `pieces` until the reader takes
them; when more than HIGH_WATER_BYTES wait, reading from the socket pauses, so a slow caller slows
the upstream down. One timer per connection watches a moving deadline. Every broken answer ends in
one of `providers.exceptions`; an answer that ended before its framing said so never looks complete.
Source of the framing rules: RFC 9112.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import cast

import httptools

from providers.exceptions import BadResponse, Disconnected, ProviderError, UpstreamTimeout

HIGH_WATER_BYTES = 256 * 1024
SLICE_BYTES = 64 * 1024  # handled at once; then other tasks of the event loop run
HEAD_LIMIT_BYTES = 64 * 1024


class Connection(asyncio.Protocol):
    """The state of one connection and of the answer that is on it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.alive = False
        self.reused = False
        self.idle_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self.reset()

    def reset(self) -> None:
        """Prepare for the next request on this connection."""
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.pieces: list[bytes] = []
        self._size = self.head_size = 0
        self._keep = self._headed = self.ended = self.until_close = self._started = False
        self.error: ProviderError | None = None
        self._settled: Callable[[], None] | None = None
        self._deadline = self.final = float("inf")
        self._written_at = float("inf")
        self._timeout_text = ""
        self.parser = httptools.HttpResponseParser(self)

    # --- called by the transport ------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of its own classes
        self.transport = cast(asyncio.Transport, transport)
        self.alive = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.alive = False
        if not self.ended:
            if self._headed and self.until_close and exc is None:
                self.ended = True
            else:
                self._fail(
                    Disconnected(
                        "The upstream closed the connection before its answer was complete."
                    )
                )
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake()

    def data_received(self, data: bytes) -> None:
        # bytes after the end of an answer, or an unrequested answer: do not trust this connection
        if self.ended:
            self.close()
            return
        self._started = True
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(BadResponse("The upstream switched protocols."))
        except httptools.HttpParserError:
            self._garbled()
        if not self._headed:
            self.head_size += len(data)
            if self.head_size > HEAD_LIMIT_BYTES:
                self._fail(BadResponse("The upstream's answer has too large a head."))
        self._wake()

    def _garbled(self) -> None:
        """Handle bytes that are not HTTP: close if the answer has ended, else fail it."""
        if self.ended:
            self.close()
        else:
            self._fail(BadResponse("The upstream's answer is not valid HTTP."))

    def _fail(self, error: ProviderError) -> None:
        self.error = self.error or error
        self.ended = True
        self.close()

    # --- called by the parser ---------------------------------------------------------------------
    def on_message_begin(self) -> None:
        if self.ended:  # more than one answer to one request
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.ended:
            return
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        if not self.ended and (status >= 200 or status == 101):
            headers = self.headers
            self.status = status
            self._headed = True
            self.until_close = (
                b"content-length" not in headers
                and b"transfer-encoding" not in headers
                and status not in (204, 304)
            )

    def on_body(self, body: bytes) -> None:
        if self._settled is not None or self.ended:
            self.close()
            return
        self.pieces.append(body)
        self._size += len(body)
        if self._size > HIGH_WATER_BYTES and not self._paused and self.alive:
            self._paused = True
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        if self.ended:
            return
        if self._headed:
            self.ended = True
            self._keep = self.parser.should_keep_alive()
            if self._paused:  # the next answer must be read
                self._resume()
            if self._settled is not None:
                self._loop.call_soon(self._settled)
        else:  # an interim answer (100, 103): the final one follows
            self.headers = {}

    # --- called by the reader ---------------------------------------------------------------------
    def write(self, message: bytes) -> None:
        """Write one whole request."""
        self._written_at = self._loop.time()
        self.transport.write(message)

    def limit(self, seconds: float, text: str) -> None:
        """Limit the upstream's silence to `seconds` from now; then fail with UpstreamTimeout(text).

        The whole answer is also limited by `final`, a time of the event loop's clock.
        """
        self._deadline = min(self._loop.time() + seconds, self.final)
        self._timeout_text = text
        if self._timer is not None and self._timer_at > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._look_at(self._deadline)

    def _look_at(self, when: float) -> None:
        """Set the timer, and keep its time: uvloop's timers have no `when` once they are due."""
        self._timer_at = when
        self._timer = self._loop.call_at(when, self._check_deadline)

    def _check_deadline(self) -> None:
        self._timer = None
        if self._deadline == float("inf") or not self.alive:
            return
        if self._loop.time() < self._deadline:
            self._look_at(self._deadline)
        # data that waits for a slow reader is no silence of the upstream
        elif self._waiter is not None or not self.pieces:
            self._fail(UpstreamTimeout(self._timeout_text))
            self._wake()
        else:
            self._look_at(self._loop.time() + 1)

    async def head(self) -> None:
        """Wait for status and headers. Raises Disconnected, UpstreamTimeout, BadResponse."""
        while not self._headed:
            if self.error is not None:
                raise self.error
            await self._wait()

    async def read(self, limit_bytes: int) -> bytes:
        """Return the whole body.

        Raises BadResponse when it is longer than `limit_bytes`, and any error that ended the
        answer.
        """
        while not self.ended and self._size <= limit_bytes:
            if self._paused:
                self._resume()
            await self._wait()
        if self.error is not None:
            raise self.error
        if self._size > limit_bytes:
            raise BadResponse(f"The upstream's answer is longer than {limit_bytes} bytes.")
        pieces = self.pieces
        self.pieces = []
        self._size = 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def body(self, gap_seconds: float) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of each read, joined, in slices of at most SLICE_BYTES.

        The silence between two reads is limited to `gap_seconds`. Raises the error that ended the
        answer.
        """
        while True:
            if self.pieces:
                pieces = self.pieces
                self.pieces = []
                self._size = 0
                if self._paused:
                    self._resume()
                self.limit(gap_seconds, "The upstream's stream stalled.")
                data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                if len(data) <= SLICE_BYTES:
                    yield data
                    continue
                for start in range(0, len(data), SLICE_BYTES):
                    yield data[start : start + SLICE_BYTES]
                    await asyncio.sleep(0)
            elif self.error is not None:
                raise self.error
            elif self.ended:
                return
            else:
                await self._wait()

    def closed_before_use(self, seconds: float) -> bool:
        """Return whether a kept connection was closed within `seconds` of the write, unanswered.

        Not one byte of an answer has come then: the upstream closed the connection just as it was
        used again, and did not take the request. If it closes later, it has worked on the request,
        and sending it again could be paid for twice.
        """
        closed = self.reused and not self._started and isinstance(self.error, Disconnected)
        return closed and self._loop.time() - self._written_at < seconds

    @property
    def reusable(self) -> bool:
        return self.alive and self.ended and self.error is None and self._keep and not self._paused

    def rest(self) -> None:
        """Note that the answer was read: no deadline applies until the next request."""
        self._deadline = float("inf")
        self.idle_since = self._loop.time()

    def settle(self, seconds: float, settled: Callable[[], None]) -> None:
        """Wait up to `seconds` for the end of the framing, and call `settled` if it comes in time.

        Nobody reads the answer any more.
        """
        self._settled = settled
        self.limit(seconds, "The upstream did not end its answer.")

    def close(self) -> None:
        if self.alive:
            self.alive = False
            self.transport.abort() if self._paused else self.transport.close()

    def _resume(self) -> None:
        self._paused = False
        if self.alive:
            self.transport.resume_reading()

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
