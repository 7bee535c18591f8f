"""Scripts of an upstream: the answer to one request, byte by byte.

A script is an async function of one `Exchange`, which holds the request and its connection. It
sends pieces in order: bytes go out as they are, a `Gate` waits until the test opens it (PAUSE is
the upstream's own gate, `Upstream.gate`, for scripts in tables), CUT resets the connection, END
closes it. The server that plays scripts is in `upstream_server.py`.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from providers.protocol.json_types import JsonObject
from proxysite.testing import PATIENCE_SECONDS, speech

DONE = "[DONE]"
HELLO = ("Hello", " there", "!")


class Gate:
    """A point in a script where the upstream waits; the test can wait until it is reached."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._opened = asyncio.Event()

    def open(self) -> None:
        self._opened.set()

    async def wait_until_reached(self) -> None:
        """Wait until the upstream has come to the gate."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.reached.wait()

    async def wait_until_open(self) -> None:
        self.reached.set()
        await self._opened.wait()


class StreamAction(Enum):
    CUT = "reset the connection"
    END = "close the connection"
    PAUSE = "wait at the upstream's own gate"


CUT, END, PAUSE = StreamAction
Piece = bytes | Gate | StreamAction
Event = JsonObject | str | Piece  # an object or a text becomes an event of a stream
Script = Callable[["Exchange"], Awaitable[None]]


@dataclass(slots=True, frozen=True)
class Request:
    """A request as it came in: the bytes of its head and of its body."""

    head: bytes
    body: bytes

    @property
    def method(self) -> str:
        return self.head.split(b" ", 1)[0].decode()

    @property
    def path(self) -> str:
        return self.head.split(b" ", 2)[1].decode()

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = (line.partition(":") for line in lines if line)
        return {name.lower(): value.strip() for name, _, value in pairs}

    @property
    def bearer_token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Exchange:
    """One request and its connection; `gateway_left` is set when the gateway has closed it."""

    request: Request
    writer: asyncio.StreamWriter
    gate: Gate
    connection: int  # number of the upstream's connection, from 1
    gateway_left: asyncio.Event = field(default_factory=asyncio.Event)
    sent_bytes: int = 0

    async def send(self, data: bytes) -> None:
        """Write, and wait while the gateway does not read.

        Raises ConnectionError when the gateway has left.
        """
        if self.writer.is_closing():
            raise ConnectionResetError
        self.writer.write(data)
        await self.writer.drain()
        self.sent_bytes += len(data)

    async def play_pieces(self, *pieces: Piece) -> None:
        for piece in pieces:
            if isinstance(piece, Gate) or piece is PAUSE:
                await (self.gate if piece is PAUSE else piece).wait_until_open()
            elif piece is CUT:
                linger = struct.pack("ii", 1, 0)
                self.writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, linger
                )
                self.writer.transport.abort()
            elif piece is END:
                self.writer.close()
            elif isinstance(piece, bytes):
                await self.send(piece)

    async def wait_until_left(self) -> None:
        """Wait until the gateway has closed the connection."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.gateway_left.wait()


# --- scripts --------------------------------------------------------------------------------------
def encode_response_head(status: int, headers: dict[str, str]) -> bytes:
    lines = [
        f"HTTP/1.1 {status} Whatever",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")


def build_event(content: Event) -> Piece:
    """Return one event of a stream as bytes; gates and actions are returned as they are."""
    if isinstance(content, dict):
        content = json.dumps(content)
    if isinstance(content, str):
        return f"data: {content}\n\n".encode()
    return content


def send_pieces(*pieces: Piece) -> Script:
    """Return a script that sends exactly these pieces."""

    async def play_script(exchange: Exchange) -> None:
        await exchange.play_pieces(*pieces)

    return play_script


def send_reply(body: object = b"", status: int = 200, **headers: str) -> Script:
    """Return a script that sends a whole answer; an object goes out as JSON.

    Underscores in the names of headers stand for hyphens.
    """
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    named = {"content-type": "application/json", "content-length": str(len(data))} | named
    return send_pieces(encode_response_head(status, named) + data)


def send_refusal(
    status: int, message: str = "No.", code: str | None = None, kind: str = "", **headers: str
) -> Script:
    """Return a script that sends an error in OpenAI's form."""
    return send_reply(
        speech.openai_error_body(message, kind or "some_error", code), status, **headers
    )


def send_stream(*events: Event, **headers: str) -> Script:
    """Return a script that streams events in chunked encoding, each written by itself.

    The end of the stream is sent after all events, unless the pieces close the connection.
    """
    named = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    pieces = [encode_chunked(build_event(event)) for event in events]
    if END not in events and CUT not in events:
        pieces.append(b"0\r\n\r\n")
    return send_pieces(encode_response_head(200, named), *pieces)


def encode_chunked(piece: Piece) -> Piece:
    """Return bytes in chunked encoding; gates and actions are returned as they are."""
    if not isinstance(piece, bytes):
        return piece
    return b"%x\r\n%b\r\n" % (len(piece), piece)


def answer_honestly(*texts: str, n: int = 1) -> Script:
    """Return a script that answers the request like an honest server.

    The answer is whole or streamed as requested, with usage where the request wants it.
    """

    async def answer_request(exchange: Exchange) -> None:
        body = exchange.request.json
        if exchange.request.path.endswith("/embeddings"):
            return await send_reply(speech.embedding_list([0.5, -0.25]))(exchange)
        is_chat = exchange.request.path.endswith("/chat/completions")
        if not body.get("stream"):
            return await send_reply(build_whole_answer(texts or HELLO, is_chat, n))(exchange)
        chunks = build_streamed_answer(texts or HELLO, is_chat)
        if not (body.get("stream_options") or {}).get("include_usage"):
            chunks.pop()
        return await send_stream(*chunks, DONE)(exchange)

    return answer_request


def build_whole_answer(texts: Sequence[str], is_chat: bool, n: int) -> JsonObject:
    if is_chat:
        return speech.chat_completion("".join(texts), n=n)
    return speech.text_completion("".join(texts), usage=speech.token_usage())


def build_streamed_answer(texts: Sequence[str], is_chat: bool) -> list[JsonObject]:
    if is_chat:
        return speech.streamed_completion(*texts)
    return speech.streamed_text_completion("".join(texts))


async def keep_silent(exchange: Exchange) -> None:
    """Accept the request, and never answer."""
    await exchange.gateway_left.wait()
