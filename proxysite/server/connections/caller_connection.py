"""One caller's connection, with the bounds that a public endpoint needs.

There are deadlines for slow heads and for callers who do not read. The handler is told at once when
a caller leaves, and faults are answered with error objects.
"""

import asyncio
import logging
import socket
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from api import exceptions
from api.relay.lean_request import new_request_id
from providers.exceptions import GatewayError, HeadTooLarge, InvalidRequest, RequestTimeout
from providers.fast_settings import settings
from proxysite.server.connections.request_cycles import OldHttpCycle, RequestCycle
from proxysite.server.connections.upgrades import PlainHttpProtocol
from proxysite.server.lean_handler import LEAVE_CALLBACKS
from proxysite.server.request_bodies import WHOLE_REQUEST, Scope

logger = logging.getLogger(__name__)

WHOLE_BODY_BYTES = 65_536  # uvicorn passes larger bodies on in pieces
BODY_GRACE_SECONDS = 1.0  # beyond BODY_SECONDS, so that the application answers first
CLOSED_TCP_STATES = (7, 8)  # TCP_CLOSE, TCP_CLOSE_WAIT


class CallerConnection(PlainHttpProtocol):
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
        if self.is_upgrade:
            return
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
        f"connection: {answer.get('connection', 'close')}",
        "\r\n",
    ]
    return "\r\n".join(lines).encode("latin-1") + answer.content
