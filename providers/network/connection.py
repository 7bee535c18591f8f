"""One HTTP/1.1 connection to an upstream: an asyncio protocol on httptools.

It carries one request at a time. Bytes of the answer's body wait in `pieces` until the reader takes
them; when more than HIGH_WATER_BYTES wait, reading from the socket pauses, so a slow caller slows
the upstream down. One timer per connection watches a moving deadline. Every broken answer ends in
one of `providers.exceptions`; an answer that ended before its framing said so never looks complete.
Source of the framing rules: RFC 9112.
"""

import asyncio
from collections.abc import Callable
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
        self.is_alive = False
        self.is_reused = False
        self.idle_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._waiter: asyncio.Future[None] | None = None
        self._is_paused = False
        self.is_writing_paused = False
        self.is_half_sent = False  # the body of the request is not written to its end
        self.reset_answer()

    def reset_answer(self) -> None:
        """Prepare for the next request on this connection."""
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.pieces: list[bytes] = []
        self._unread_bytes = 0
        self._head_bytes = 0
        self._has_started = False
        self._has_head = False
        self.has_ended = False
        self._ends_at_close = False
        self._can_keep_alive = False
        self.error: ProviderError | None = None
        self._end_callback: Callable[[], None] | None = None
        self._deadline = float("inf")
        self.final_deadline = float("inf")
        self._written_at = float("inf")
        self._timeout_text = ""
        self.parser = httptools.HttpResponseParser(self)

    # --- called by the transport ------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of its own classes
        self.transport = cast(asyncio.Transport, transport)
        self.is_alive = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_alive = False
        if not self.has_ended:
            if self._has_head and self._ends_at_close and exc is None:
                self.has_ended = True
            else:
                self._fail_answer(
                    Disconnected(
                        "The upstream closed the connection before its answer was complete."
                    )
                )
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wake_reader()

    def data_received(self, data: bytes) -> None:
        # bytes after the end of an answer, or while idle: do not trust this connection
        if self.has_ended:
            self.close()
            return
        self._has_started = True
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail_answer(BadResponse("The upstream switched protocols."))
        except httptools.HttpParserError:
            self._handle_invalid_bytes()
        if not self._has_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_LIMIT_BYTES:
                self._fail_answer(BadResponse("The upstream's answer has too large a head."))
        self._wake_reader()

    def _handle_invalid_bytes(self) -> None:
        """Handle bytes that are not HTTP: close if the answer has ended, else fail it."""
        if self.has_ended:
            self.close()
        else:
            self._fail_answer(BadResponse("The upstream's answer is not valid HTTP."))

    def _fail_answer(self, error: ProviderError) -> None:
        self.error = self.error or error
        self.has_ended = True
        self.close()

    def pause_writing(self) -> None:
        self.is_writing_paused = True

    def resume_writing(self) -> None:
        self.is_writing_paused = False
        self._wake_reader()

    # --- called by the parser ---------------------------------------------------------------------
    def on_message_begin(self) -> None:
        if self.has_ended:  # more than one answer to one request
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.has_ended:
            return
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        if not self.has_ended and (status >= 200 or status == 101):
            headers = self.headers
            self.status = status
            self._has_head = True
            self._ends_at_close = (
                b"content-length" not in headers
                and b"transfer-encoding" not in headers
                and status not in (204, 304)
            )

    def on_body(self, body: bytes) -> None:
        if self._end_callback is not None or self.has_ended:
            self.close()
            return
        self.pieces.append(body)
        self._unread_bytes += len(body)
        if self._unread_bytes > HIGH_WATER_BYTES and not self._is_paused and self.is_alive:
            self._is_paused = True
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        if self.has_ended:
            return
        if self._has_head:
            self.has_ended = True
            self._can_keep_alive = self.parser.should_keep_alive()
            if self._is_paused:  # the next answer must be read
                self._resume_reading()
            if self._end_callback is not None:
                self._loop.call_soon(self._end_callback)
        else:  # an interim answer (100, 103): the final one follows
            self.headers = {}

    # --- called by the reader ---------------------------------------------------------------------
    def write_request(self, message: bytes) -> None:
        """Write one whole request."""
        self._written_at = self._loop.time()
        self.transport.write(message)

    def write_piece(self, data: bytes) -> None:
        """Write a piece of the body of a request whose head is written."""
        if self.is_alive:
            self._written_at = self._loop.time()
            self.transport.write(data)

    @property
    def has_answer_begun(self) -> bool:
        """Return whether the head of the answer is there, or an error that ended it."""
        return self._has_head or self.has_ended

    def limit_silence(self, seconds: float, text: str) -> None:
        """Fail with UpstreamTimeout(text) in `seconds`, unless this is called again before.

        Data that arrives does not move the deadline: whoever takes it calls this again. The whole
        answer is also limited by `final_deadline`, a time of the event loop's clock. While data
        waits for a slow reader, neither limit counts.
        """
        self._deadline = min(self._loop.time() + seconds, self.final_deadline)
        self._timeout_text = text
        if self._timer is not None and self._timer_at > self._deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._set_timer(self._deadline)

    def _set_timer(self, when: float) -> None:
        """Set the timer, and keep its time: uvloop's timers have no `when` once they are due."""
        self._timer_at = when
        self._timer = self._loop.call_at(when, self._check_deadline)

    def _check_deadline(self) -> None:
        self._timer = None
        if self._deadline == float("inf") or not self.is_alive:
            return
        if self._loop.time() < self._deadline:
            self._set_timer(self._deadline)
        # data that waits for a slow reader is no silence of the upstream
        elif self._waiter is not None or not self.pieces:
            self._fail_answer(UpstreamTimeout(self._timeout_text))
            self._wake_reader()
        else:
            self._set_timer(self._loop.time() + 1)

    async def wait_for_head(self) -> None:
        """Wait for status and headers. Raises Disconnected, UpstreamTimeout, BadResponse."""
        while not self._has_head:
            if self.error is not None:
                raise self.error
            await self.wait_for_change()

    async def read_body(self, limit_bytes: int) -> bytes:
        """Return the whole body.

        Raises BadResponse when it is longer than `limit_bytes`, and any error that ended the
        answer.
        """
        while not self.has_ended and self._unread_bytes <= limit_bytes:
            if self._is_paused:
                self._resume_reading()
            await self.wait_for_change()
        if self.error is not None:
            raise self.error
        if self._unread_bytes > limit_bytes:
            raise BadResponse(f"The upstream's answer is longer than {limit_bytes} bytes.")
        body = b"".join(self.pieces)
        self.pieces = []
        self._unread_bytes = 0
        return body

    def take_piece(self, gap_seconds: float) -> bytes:
        """Return the bytes of the body that wait in `pieces`, at most SLICE_BYTES of them.

        Call it when there are some. The silence until the next bytes is limited to `gap_seconds`.
        While `pieces` is not empty after the call, let other tasks run before the next one.
        """
        pieces = self.pieces
        data = pieces[0]
        if len(pieces) > 1:
            data = b"".join(pieces)
        self.pieces = []
        self._unread_bytes = 0
        if self._is_paused:
            self._resume_reading()
        self.limit_silence(gap_seconds, "The upstream's stream stalled.")
        if len(data) > SLICE_BYTES:
            self.pieces = [data[SLICE_BYTES:]]
            self._unread_bytes = len(data) - SLICE_BYTES
            data = data[:SLICE_BYTES]
        return data

    def was_closed_before_use(self, seconds: float) -> bool:
        """Return whether a reused connection was closed within `seconds` of the write, unanswered.

        Not one byte of an answer has come then: most likely the upstream closed the connection just
        as it was used again, and did not take the request. If it closes later, it has worked on the
        request, and sending it again could be paid for twice.
        """
        is_unanswered = not self._has_started and isinstance(self.error, Disconnected)
        is_recent = self._loop.time() - self._written_at < seconds
        return self.is_reused and is_unanswered and is_recent

    @property
    def is_reusable(self) -> bool:
        return (
            self.is_alive
            and self.has_ended
            and self.error is None
            and self._can_keep_alive
            and not self._is_paused
            and not self.is_half_sent
        )

    def mark_idle(self) -> None:
        """Note that the answer was read: no deadline applies until the next request."""
        self._deadline = float("inf")
        self.idle_since = self._loop.time()

    def call_at_end(self, seconds: float, end_callback: Callable[[], None]) -> None:
        """Return at once; call `end_callback` when the framing ends within `seconds`, else close.

        For a stream whose last event was read: nobody reads the answer any more.
        """
        self._end_callback = end_callback
        self.limit_silence(seconds, "The upstream did not end its answer.")

    def close(self) -> None:
        if self.is_alive:
            self.is_alive = False
            if self._is_paused:
                self.transport.abort()
            else:
                self.transport.close()

    def _resume_reading(self) -> None:
        self._is_paused = False
        if self.is_alive:
            self.transport.resume_reading()

    async def wait_for_change(self) -> None:
        """Wait until something has arrived or the answer has ended."""
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake_reader(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
