"""Answers that are relayed as they are: audio while it comes, events, and whole bodies.

Until the first chunk an error keeps its HTTP status. After it there is no way to tell an error
inside of bytes such as audio: the connection is closed before the answer's end, so that no client
takes the part for the whole. Events end with an error event.
"""

import asyncio
import time
from contextlib import aclosing

from django.http import StreamingHttpResponse

from api import exceptions
from api.streaming.stream_answer import (
    JsonAnswer,
    Send,
    answer_headers,
    encode_headers,
    refuse_send,
    upstream_headers,
)
from providers.exceptions import GatewayError, InternalError, ShuttingDown
from providers.protocol.chunks import Batches
from providers.protocol.relayed_request import CONTENT, CONTENT_TYPE
from providers.protocol.trace import Trace

EVENT_TYPE = "text/event-stream"
RELAYED_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"x-content-type-options", b"nosniff"),
)


class AnswerCut(Exception):
    """An answer broke off after its beginning: the server closes the connection."""


class WholeAnswer(JsonAnswer):
    """A whole answer of any type with the headers of every relayed answer."""

    def __init__(self, content: bytes, content_type: str, request_id: str, began: float) -> None:
        super().__init__(content, request_id, began)
        self["content-type"] = content_type
        self["x-content-type-options"] = "nosniff"


class RelayedAnswer(StreamingHttpResponse):
    """An answer in pieces, which the lean handler sends with `send_answer`.

    It is a Django response, so that middleware can add headers.
    """

    def __init__(self, batches: Batches, trace: Trace, request_id: str) -> None:
        super().__init__(())
        del self.headers["content-type"]
        self._batches = batches
        self._trace = trace
        self._request_id = request_id
        self._send: Send = refuse_send
        self._began = time.monotonic()
        self._content_type = ""  # empty until the head is sent
        self.limit_headers: list[tuple[bytes, bytes]] = []  # of a caller with limits

    async def send_answer(self, send: Send) -> None:
        """Send the answer and return when it is sent.

        Raises CancelledError when the caller left, AnswerCut when the answer broke off.
        """
        self._send = send
        try:
            await self._send_content()
        except GatewayError as error:
            await self._send_error(error)
        except asyncio.CancelledError as cancelled:
            if cancelled.args:  # a reason means that the server is shutting down
                await self._send_error(ShuttingDown("The server is shutting down."))
            raise
        except Exception:  # a fault of ours: the caller gets an error, and it is raised again
            await self._send_error(InternalError("Something went wrong here."))
            raise

    async def _send_content(self) -> None:
        """Send all chunks, and the end of the answer. Raises GatewayError."""
        async with aclosing(self._batches) as batches:
            async for batch in batches:
                for chunk in batch:
                    await self._send_chunk(chunk[CONTENT], chunk.get(CONTENT_TYPE, ""))
        await self._send({"type": "http.response.body", "body": b""})

    async def _send_chunk(self, content: bytes, content_type: str) -> None:
        """Send one piece of the answer, after the head if it is the first."""
        if not self._content_type:
            self._content_type = content_type
            headers = [
                (b"content-type", content_type.encode("latin-1")),
                *RELAYED_HEADERS,
                *upstream_headers(self._trace),
            ]
            await self._send_head(200, headers)
        await self._send({"type": "http.response.body", "body": content, "more_body": True})

    async def _send_head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the status with these headers and those of every answer."""
        all_headers = [
            *headers,
            *encode_headers(self),
            *answer_headers(self._request_id, self._began),
            *self.limit_headers,
        ]
        await self._send({"type": "http.response.start", "status": status, "headers": all_headers})

    async def _send_error(self, error: GatewayError) -> None:
        """Send an error, as far as the answer that has begun can carry one."""
        if not self._content_type:
            answer = exceptions.render_error(error, self._request_id)
            del answer.headers["x-request-id"]  # `_send_head` adds it
            await self._send_head(answer.status_code, encode_headers(answer))
            await self._send({"type": "http.response.body", "body": answer.content})
        elif EVENT_TYPE in self._content_type:
            event = exceptions.render_error_event(error)
            await self._send({"type": "http.response.body", "body": event})
        else:
            raise AnswerCut(error.message)
