"""One request on a connection and its answer, as uvicorn runs them through the application."""

import sys
from collections.abc import Sequence
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from api import exceptions
from api.relay.lean_request import new_request_id
from providers.exceptions import GatewayError, InternalError, ShuttingDown
from proxysite.server.lean_handler import CUT_ANSWER, WHOLE_ANSWER

LONGEST_ANSWER_BYTES = 2**60  # no answer is that long


class RequestCycle(RequestResponseCycle):
    """One request and its answer.

    A request that the application does not answer gets an error object. Beside ASGI's messages it
    takes a whole answer in one, and the order to close the connection (`WHOLE_ANSWER` and
    `CUT_ANSWER` in `lean_handler.py`).
    """

    async def send(self, message: Any) -> None:
        if message["type"] == WHOLE_ANSWER:
            await self.send_whole_answer(message["status"], message["headers"], message["body"])
        elif message["type"] == CUT_ANSWER:
            self.disconnected = True  # nothing more is written, and uvicorn reports no fault
            self.transport.close()
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
        if message["type"] in (WHOLE_ANSWER, CUT_ANSWER):
            pass  # its length is known, or nothing more is written
        elif message["type"] == "http.response.start":
            if all(name.lower() != b"content-length" for name, _ in message["headers"]):
                self.chunked_encoding = False
                self.expected_content_length = sys.maxsize
        elif self.expected_content_length > LONGEST_ANSWER_BYTES and not message.get(
            "more_body", False
        ):
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)
