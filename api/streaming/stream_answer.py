"""Streamed answers: the first chunk decides the HTTP status, and pings fill silence.

Until the first chunk, an error keeps its HTTP status. When nothing has come for PING_SECONDS, the
answer starts with status 200, and a later failure is an error event without [DONE]. One heartbeat
per process looks after all open streams, so that a chunk needs no timer.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import aclosing
from typing import Protocol
from urllib.parse import quote

from django.http import HttpResponse, HttpResponseBase, StreamingHttpResponse

from api.relay.error_fields import FieldNames
from providers.exceptions import GatewayError, InternalError, ShuttingDown
from providers.fast_settings import settings
from providers.protocol.chunks import Batches, Chunk
from providers.protocol.trace import Trace

Message = dict[str, object]  # an ASGI message
Send = Callable[[Message], Awaitable[None]]
SSE_HEADERS = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache, no-store"),
    (b"x-accel-buffering", b"no"),
)
SLICE_BYTES = 256 * 2**10  # largest write: parts of a longer one would be copied again and again


class StreamRenderer(Protocol):
    """A renderer: makes bytes of a batch, of the end, of an error in a begun answer, and of a ping.

    `render_error` makes the answer where an error comes before anything else.
    """

    def render_batch(self, batch: list[Chunk], /) -> bytes: ...
    def render_end(self) -> bytes: ...
    def render_failure(self, error: GatewayError, /) -> bytes: ...
    def render_error(self, error: GatewayError, request_id: str, /) -> HttpResponse: ...
    def render_ping(self) -> bytes: ...


class Heartbeat:
    """All open streams of the process; those that were silent for `seconds` get pings."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._streams: set[StreamAnswer] = set()
        self._pings: set[asyncio.Task[None]] = set()

    def add_stream(self, stream: "StreamAnswer") -> None:
        self._streams.add(stream)

    def remove_stream(self, stream: "StreamAnswer") -> None:
        self._streams.discard(stream)

    async def ping_until_cancelled(self) -> None:
        """Ping silent streams until cancelled."""
        while True:
            await asyncio.sleep(min(1.0, self._seconds / 4))
            latest = time.monotonic() - self._seconds
            silent_streams = [
                stream
                for stream in self._streams
                if stream.written_at <= latest and not stream.is_writing
            ]
            for stream in silent_streams:
                task = asyncio.create_task(stream.send_ping())
                self._pings.add(task)
                task.add_done_callback(self._pings.discard)


async def refuse_send(message: Message) -> None:
    """Raise RuntimeError: the placeholder for the server's `send` until the answer begins."""
    raise RuntimeError("the answer has not begun")


class StreamAnswer(StreamingHttpResponse):
    """An SSE answer that the lean handler sends with `send_answer`.

    It is a Django response, so that middleware can add headers.
    """

    def __init__(
        self, batches: Batches, renderer: StreamRenderer, heartbeat: Heartbeat, request_id: str
    ) -> None:
        super().__init__(())
        del self.headers["content-type"]
        self._batches = batches
        self._renderer = renderer
        self._heartbeat = heartbeat
        self._request_id = request_id
        self._send: Send = refuse_send
        self._began = time.monotonic()
        self.written_at = self._began
        self._head_sent = False
        self._is_over = False
        self.is_writing = False
        self.message_positions: FieldNames | None = None  # renames the field of an error
        self.trace: Trace | None = None  # set when upstreams make the answer now
        self.limit_headers: list[tuple[bytes, bytes]] = []  # of a caller with limits

    async def send_answer(self, send: Send) -> None:
        """Send the answer and return when it is sent.

        Raises CancelledError when the caller left.
        """
        self._send = send
        self._heartbeat.add_stream(self)
        try:
            async with aclosing(self._batches) as batches:
                async for batch in batches:
                    await self._send_data(self._renderer.render_batch(batch))
            await self._send_data(self._renderer.render_end(), last=True)
        except GatewayError as error:
            await self._send_error(error)
        except asyncio.CancelledError as cancelled:
            if cancelled.args:  # a reason means that the server is shutting down
                await self._send_error(ShuttingDown("The server is shutting down."))
            raise
        except Exception:  # a fault of ours: the caller gets an error event, and it is raised again
            await self._send_error(InternalError("Something went wrong here."))
            raise
        finally:
            self._is_over = True
            self._heartbeat.remove_stream(self)

    async def send_ping(self) -> None:
        """Send a ping, so that the caller and the proxies in between keep the connection open."""
        if not self._is_over and not self.is_writing:
            await self._send_data(self._renderer.render_ping())

    async def _send_data(self, data: bytes, last: bool = False) -> None:
        """Send a part of the body; an empty part is only sent when it is the last one."""
        if not data and not last:
            return
        self.is_writing = True
        self._is_over = self._is_over or last
        if not self._head_sent:
            await self._send_head(200, SSE_HEADERS)
        if len(data) > SLICE_BYTES:
            for start in range(0, len(data), SLICE_BYTES):
                slice_ = data[start : start + SLICE_BYTES]
                await self._send({"type": "http.response.body", "body": slice_, "more_body": True})
            data = b""
        if data or last:
            await self._send({"type": "http.response.body", "body": data, "more_body": not last})
        self.written_at = time.monotonic()
        self.is_writing = False

    async def _send_head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._head_sent = True
        all_headers = [
            *headers,
            *encode_headers(self),
            *answer_headers(self._request_id, self._began),
            *self.limit_headers,
        ]
        if status == 200 and self.trace is not None:
            all_headers += upstream_headers(self.trace)
        await self._send({"type": "http.response.start", "status": status, "headers": all_headers})

    async def _send_error(self, error: GatewayError) -> None:
        if self.message_positions is not None:
            self.message_positions.rename_param(error)
        if self._head_sent:
            await self._send_data(self._renderer.render_failure(error), last=True)
            return
        answer = self._renderer.render_error(error, self._request_id)
        for name in ("x-request-id", *self.headers):
            answer.headers.pop(name, None)  # `_send_head` adds it
        await self._send_head(answer.status_code, encode_headers(answer))
        await self._send({"type": "http.response.body", "body": answer.content})


def encode_headers(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    """Return the headers of a Django response in the form of ASGI."""
    return [
        (name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.items()
    ]


def answer_headers(request_id: str, began: float) -> list[tuple[bytes, bytes]]:
    """Return the headers of every relayed answer; `began` is on the monotonic clock."""
    return [
        (b"x-request-id", request_id.encode("ascii")),
        (b"openai-processing-ms", b"%d" % ((time.monotonic() - began) * 1000)),
        (b"openai-version", b"2020-10-01"),
        (b"vary", b"Authorization"),
    ]


def upstream_headers(trace: Trace) -> list[tuple[bytes, bytes]]:
    """Return the headers that say who answered, and which fields of the request it did not get.

    There are none before the answer has begun. NAME_UPSTREAMS leaves out the names.
    """
    attempt = trace.answering_attempt
    if attempt is None or attempt.first_byte_ms is None:
        return []
    headers = []
    if settings.NAME_UPSTREAMS:
        model = attempt.model if attempt.model.isascii() else quote(attempt.model)
        headers = [
            (b"x-proxysite-provider", attempt.provider.encode("ascii")),
            (b"x-proxysite-model", model.encode("ascii")),
        ]
    if attempt.omitted_fields:
        names = quote(", ".join(attempt.omitted_fields), safe=", ")
        headers.append((b"x-proxysite-omitted", names.encode("ascii")))
    return headers


class JsonAnswer(HttpResponse):
    """A whole JSON answer with the headers of every relayed answer."""

    def __init__(self, content: bytes, request_id: str, began: float) -> None:
        super().__init__(content, content_type="application/json")
        self.raw_headers = [(b"cache-control", b"no-store"), *answer_headers(request_id, began)]
