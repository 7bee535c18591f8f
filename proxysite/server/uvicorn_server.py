"""The server uvicorn, with the bounds that a public endpoint needs.

It adds deadlines for slow heads and for callers who do not read, tells the handler at once when a
caller leaves, answers faults with error objects, and lets running answers finish at shutdown. A
sweep once a second looks at all connections, so that no request pays for a timer.
"""

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any, cast

from uvicorn import Config, Server
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from api import exceptions
from api.relay.lean_request import new_request_id
from providers.exceptions import (
    GatewayError,
    HeadTooLarge,
    InternalError,
    InvalidRequest,
    RequestTimeout,
    ShuttingDown,
)
from providers.fast_settings import settings
from proxysite.server.lean_handler import LEAVE_CALLBACKS, WHOLE_ANSWER
from proxysite.server.request_bodies import WHOLE_REQUEST, Scope

logger = logging.getLogger(__name__)


WHOLE_BODY_BYTES = 65_536  # uvicorn passes larger bodies on in pieces
BODY_GRACE_SECONDS = 1.0  # beyond BODY_SECONDS, so that the application answers first
CLOSED_TCP_STATES = (7, 8)  # TCP_CLOSE, TCP_CLOSE_WAIT
LONGEST_ANSWER_BYTES = 2**60  # no answer is that long
SAME_SIGNAL_SECONDS = 0.5  # a signal to the process and to its group counts once


class RequestCycle(RequestResponseCycle):
    """One request and its answer.

    A request that the application does not answer gets an error object. Beside ASGI's messages it
    takes a whole answer in one (`WHOLE_ANSWER` in `lean_handler.py`).
    """

    async def send(self, message: Any) -> None:
        if message["type"] == WHOLE_ANSWER:
            await self.send_whole_answer(message["status"], message["headers"], message["body"])
        else:
            await super().send(message)

    async def send_whole_answer(
        self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes
    ) -> None:
        """Write an answer whose headers have a Content-Length, in one piece.

        uvicorn checks each header by regular expressions. Here the line ends of all headers are
        counted, which finds the same fault: a header that would begin another one. Raises
        ValueError then.
        """
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        lines = [STATUS_LINE[status]]
        for name, value in self.default_headers:
            lines.append(b"%b: %b\r\n" % (name, value))
        for name, value in headers:
            lines.append(b"%b: %b\r\n" % (name, value))
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
            raise ValueError("A header has a line end.")
        self.response_started = True
        self.waiting_for_100_continue = False
        self.transport.write(b"%b\r\n%b" % (head, body))
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    async def send_500_response(self) -> None:
        """Send an error object: the application failed, or was cancelled when the server ended."""
        error: GatewayError = ShuttingDown("The server is shutting down.", retry_after_seconds=1)
        if isinstance(sys.exc_info()[1], Exception):
            error = InternalError("Something went wrong here.")
        answer = exceptions.render_error(error, new_request_id())
        headers = {
            **answer.headers,
            "content-length": str(len(answer.content)),
            "connection": "close",
        }
        pairs = [
            (name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()
        ]
        await self.send(
            {"type": "http.response.start", "status": answer.status_code, "headers": pairs}
        )
        await self.send({"type": "http.response.body", "body": answer.content, "more_body": False})


class OldHttpCycle(RequestCycle):
    """A request of HTTP/1.0, which has no chunked encoding.

    An answer of unknown length ends with the connection.
    """

    async def send(self, message: Any) -> None:
        if message["type"] == WHOLE_ANSWER:
            pass  # its length is known
        elif message["type"] == "http.response.start":
            if all(name.lower() != b"content-length" for name, _ in message["headers"]):
                self.chunked_encoding = False
                self.expected_content_length = sys.maxsize
        elif self.expected_content_length > LONGEST_ANSWER_BYTES and not message.get(
            "more_body", False
        ):
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


class CallerConnection(HttpToolsProtocol):
    """One caller's connection.

    `head_since` and `body_since` are when the head or body that is being read began, `stuck_since`
    when the caller stopped reading; None while that is not so.
    """

    head_since: float | None = None
    body_since: float | None = None
    stuck_since: float | None = None
    head_bytes = 0
    is_refused = False
    head_error: GatewayError | None = None
    # not `cycle`, which may be a request that waits behind the running one
    running_cycle: RequestResponseCycle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self.head_since = self.loop.time()

    def data_received(self, data: bytes) -> None:
        if self.is_refused:
            return
        if self.head_since is not None:
            self.head_bytes += len(data)
        super().data_received(data)
        if self.head_since is not None and self.head_bytes > settings.HEAD_LIMIT_BYTES:
            self.refuse_request(HeadTooLarge("The request's head is too large."))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.head_since = self.loop.time()
        cast(Scope, self.scope)[LEAVE_CALLBACKS] = []

    def on_headers_complete(self) -> None:
        if self.head_bytes > settings.HEAD_LIMIT_BYTES:
            self.check_head()
        self.body_since = self.head_since
        self.head_since = None
        self.head_bytes = 0
        super().on_headers_complete()

    def check_head(self) -> None:
        """Raise HeadTooLarge unless the head alone is within its limit.

        Called when head and body came at once and together exceed the limit. The parser then gives
        up.
        """
        if (
            sum(len(name) + len(value) + 4 for name, value in self.headers)
            > settings.HEAD_LIMIT_BYTES
        ):
            self.head_error = HeadTooLarge("The request's head is too large.")
            raise self.head_error

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self.running_cycle = cycle
        is_old = cycle.scope["http_version"] == "1.0"
        cycle.__class__ = OldHttpCycle if is_old else RequestCycle
        super()._start_asgi_task(cycle, app)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self.body_since = None
        if len(self.cycle.body) <= WHOLE_BODY_BYTES:
            cast(Scope, self.scope)[WHOLE_REQUEST] = True

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.notify_leaving()

    def notify_leaving(self) -> None:
        """Tell the running request that its caller left, and drop the requests behind it."""
        self.pipeline.clear()
        cycle = self.running_cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            for leave in cast(Scope, cycle.scope)[LEAVE_CALLBACKS]:
                leave()

    def pause_writing(self) -> None:
        self.stuck_since = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self.stuck_since = None
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        self.refuse_request(
            self.head_error or InvalidRequest("The request is not valid HTTP.", code="invalid_http")
        )

    def refuse_request(self, error: GatewayError) -> None:
        """Answer with an error object and close, without asking the application.

        While a request before it is being answered, nothing is written into that answer: the
        connection ends after it.
        """
        self.head_since = None
        self.is_refused = True
        cycle = self.running_cycle
        if cycle is not None and not cycle.response_complete and not cycle.more_body:
            cycle.keep_alive = False
            self.flow.pause_reading()
            return
        self.transport.write(encode_error(error))
        self.transport.close()

    def close_if_stuck(self, now: float) -> None:
        """Close the connection when it has been too slow, or when its caller has left unseen.

        A caller can leave unseen while nothing is read from the connection.
        """
        if self.head_since is not None and now - self.head_since > settings.HEAD_SECONDS:
            self.refuse_request(
                RequestTimeout(
                    f"The request's head did not come within {settings.HEAD_SECONDS:g} seconds."
                )
            )
        elif (
            self.body_since is not None
            and now - self.body_since > settings.BODY_SECONDS + BODY_GRACE_SECONDS
        ):
            self.transport.close()  # the reader of the body has answered by now
        elif self.stuck_since is not None and now - self.stuck_since > settings.STALL_SECONDS:
            logger.warning(
                "a caller that read nothing for %g s was dropped", settings.STALL_SECONDS
            )
            self.transport.abort()
        elif self.flow.read_paused and self.has_left_unseen():
            self.notify_leaving()
            self.transport.abort()

    def has_left_unseen(self) -> bool:
        """Return whether the caller closed the connection, which a paused read does not show.

        Asks the kernel, on Linux only.
        """
        peer = self.transport.get_extra_info("socket")
        if peer is None or not hasattr(socket, "TCP_INFO"):
            return False
        return bool(peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in CLOSED_TCP_STATES)


def encode_error(error: GatewayError) -> bytes:
    """Return the whole answer with an error object, after which the connection ends."""
    answer = exceptions.render_error(error, new_request_id())
    lines = [
        f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}",
        *(f"{name}: {value}" for name, value in answer.items() if name.lower() != "connection"),
        f"content-length: {len(answer.content)}",
        "connection: close",
        "\r\n",
    ]
    return "\r\n".join(lines).encode("latin-1") + answer.content


class GracefulServer(Server):
    """The server of uvicorn with the sweep; a second signal of either kind ends it at once."""

    supervisor_pid: int | None = None  # the process id of the supervisor; a worker ends with it
    _signalled_at = 0.0

    async def on_tick(self, counter: int) -> bool:
        if self.supervisor_pid is not None and os.getppid() != self.supervisor_pid:
            self.should_exit = True
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, CallerConnection):
                    connection.close_if_stuck(now)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.should_exit and now - self._signalled_at < SAME_SIGNAL_SECONDS:
            return
        self._signalled_at = now
        if self.should_exit:
            self.force_exit = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.loaded_app.drain_gateway()
        await super().shutdown(sockets)
        self._captured_signals.clear()  # the server ended as requested: exit status 0


def make_uvicorn_config(**options: Any) -> Config:
    """Return the configuration of uvicorn for `application`."""
    return Config(
        "proxysite.asgi:application",
        http=CallerConnection,
        ws="none",
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.KEEPALIVE_SECONDS,
        timeout_graceful_shutdown=settings.GRACE_SECONDS,
        backlog=4096,
        **options,
    )
