"""One request to the faulty upstream, and the ways to answer it, proper and broken."""

import asyncio
import json
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import uuid4

import h11

from providers.protocol.json_types import JsonObject
from proxysite.conformance.timings import Timings

Headers = dict[str, str]


@dataclass(slots=True)
class LoggedRequest:
    """One request as it is logged; `at` is in seconds since the log was cleared.

    `fault` names the fault that was played, "" as long as none was. `ending` says how the answer
    ended.
    """

    number: int
    at: float
    model: str
    attempt: int  # number of the request for this model, from 1
    credential: str  # a digest
    streams: bool
    last_role: str
    prompt_chars: int
    body: JsonObject
    fault: str = ""
    ending: str = ""
    retry_after_seconds: float | None = None
    usage: dict[str, int] | None = None
    left_after: float | None = None  # seconds after which the gateway left, if it left first


class GatewayLeft(Exception):
    """The gateway has closed the connection."""


@dataclass(slots=True)
class FaultyExchange:
    """One request and its connection, with methods that answer it.

    `since` is the moment, on the monotonic clock, at which the log was cleared.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    protocol: h11.Connection
    logged_request: LoggedRequest
    timings: Timings
    since: float = 0.0
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex[:24]}")

    @property
    def seconds_since_reset(self) -> float:
        """Return the seconds since the log was cleared."""
        return time.monotonic() - self.since

    # --- whole answers ----------------------------------------------------------------------------
    async def send_json(self, status: int, body: object, headers: Headers | None = None) -> None:
        data = json.dumps(body).encode()
        await self.send_head(status, "application/json", len(data), headers)
        await self.send_part(data)
        await self.send_end()

    async def send_error_object(
        self, status: int, message: str, code: str | None, **more: str
    ) -> None:
        """Answer with an error of OpenAI's form, and log the fault; `more` are headers."""
        self.logged_request.fault = f"{status} {code or ''}".strip()
        self.logged_request.ending = str(status)
        kind = "invalid_request_error" if status == 400 else "server_error"
        error = {"message": message, "type": kind, "param": None, "code": code}
        headers = {name.replace("_", "-"): value for name, value in more.items()}
        await self.send_json(status, {"error": error}, headers)

    # --- piece by piece ---------------------------------------------------------------------------
    async def send_head(
        self, status: int, kind: str, length: int | None = None, headers: Headers | None = None
    ) -> None:
        lines = {"content-type": kind} | (headers or {})
        if length is not None:
            lines["content-length"] = str(length)
        head = h11.Response(status_code=status, headers=[*lines.items()])
        await self._write_bytes(self.protocol.send(head))

    async def send_part(self, data: bytes) -> None:
        await self._write_bytes(self.protocol.send(h11.Data(data=data)))

    async def send_event(self, event: JsonObject | str) -> None:
        text = event if isinstance(event, str) else json.dumps(event)
        await self.send_part(f"data: {text}\n\n".encode())

    async def send_end(self) -> None:
        await self._write_bytes(self.protocol.send(h11.EndOfMessage()))

    async def _write_bytes(self, data: bytes | None) -> None:
        if self.writer.is_closing():
            raise GatewayLeft
        self.writer.write(data or b"")
        try:
            await self.writer.drain()
        except OSError:
            raise GatewayLeft from None

    # --- how connections end ----------------------------------------------------------------------
    def close_connection(self) -> None:
        """Close the connection, even when a part of the answer is missing."""
        self.writer.close()

    def reset_connection(self) -> None:
        """End the connection with a TCP reset."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()

    async def stay_silent(self, seconds: float) -> None:
        """Send nothing for so many seconds. Raises GatewayLeft."""
        began = time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while data := await self._read_bytes():
                    self.protocol.receive_data(data)
                self.logged_request.left_after = round(time.monotonic() - began, 3)
                raise GatewayLeft

    async def _read_bytes(self) -> bytes:
        try:
            return await self.reader.read(65_536)
        except OSError:
            return b""
