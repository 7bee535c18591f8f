"""A transport of httpx for the callers of a gateway in the same process.

The transport that httpx brings looks at all of its connections whenever one of them becomes free.
With a hundred callers at once that takes several times as long as the requests themselves.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import httptools
import httpx

from proxysite.testing import PATIENCE_SECONDS

MOST_WAITING_BYTES = 2**16  # more than this is not taken from the kernel before it is read


class PooledConnection(asyncio.Protocol):
    """One connection, used for one request after the other."""

    def __init__(self) -> None:
        self.is_open = True
        self._forget_answer("GET")

    def _forget_answer(self, method: str) -> None:
        self._method = method
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._changed = asyncio.Event()
        self._error: httpx.TransportError | None = None
        self.headers: list[tuple[bytes, bytes]] = []
        self.status = 0
        self.has_head = False
        self.is_complete = False
        self.can_be_reused = False

    # --- asyncio calls these ----------------------------------------------------------------------
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._error = httpx.RemoteProtocolError(str(error))
            self.transport.abort()
        self._changed.set()
        if self._waiting_bytes > MOST_WAITING_BYTES:
            self.transport.pause_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_open = False
        if self._error is None and not self.is_complete:
            self._error = (
                httpx.ReadError(str(error))
                if error
                else httpx.RemoteProtocolError("the server closed before the end of its answer")
            )
        self._changed.set()

    # --- httptools calls these --------------------------------------------------------------------
    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:  # an interim answer, as 100 Continue
            self.headers = []
            return
        self.has_head = True
        if self._method == "HEAD":
            self.on_message_complete()

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)
        self._waiting_bytes += len(body)

    def on_message_complete(self) -> None:
        if self.has_head:
            self.is_complete = True
            self.can_be_reused = self._method != "HEAD" and self._parser.should_keep_alive()

    # --- the transport calls these ----------------------------------------------------------------
    async def send_request(self, request: httpx.Request) -> None:
        """Send one request, and wait for the head of its answer."""
        self._forget_answer(request.method)
        head = [b"%s %s HTTP/1.1" % (request.method.encode(), request.url.raw_path)]
        head += [b"%s: %s" % header for header in request.headers.raw]
        self.transport.write(b"\r\n".join([*head, b"", b""]))
        is_chunked = "transfer-encoding" in request.headers
        assert isinstance(request.stream, httpx.AsyncByteStream)
        async for piece in request.stream:
            self.transport.write(b"%x\r\n%s\r\n" % (len(piece), piece) if is_chunked else piece)
        if is_chunked:
            self.transport.write(b"0\r\n\r\n")
        while not self.has_head:
            await self._wait_for_change()

    async def _wait_for_change(self) -> None:
        """Wait for more of the answer. Raises what has ended it, when nothing more can come."""
        self._changed.clear()
        if self._error is not None:
            raise self._error
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._changed.wait()
        except TimeoutError:
            raise httpx.ReadTimeout("nothing more comes") from None

    async def read_pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes."""
        while self._pieces or not self.is_complete:
            if not self._pieces:
                await self._wait_for_change()
                continue
            piece = self._pieces.popleft()
            self._waiting_bytes -= len(piece)
            if not self._pieces and self.is_open:
                self.transport.resume_reading()
            yield piece


class AnswerBody(httpx.AsyncByteStream):
    """The body of an answer; whoever closes it before its end closes the connection."""

    def __init__(self, connection: PooledConnection, free: list[PooledConnection]) -> None:
        self._connection = connection
        self._free = free
        self._is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._connection.read_pieces():
            yield piece

    async def aclose(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._connection.can_be_reused and self._connection.is_open:
            self._free.append(self._connection)
        else:
            self._connection.transport.abort()


class CallerTransport(httpx.AsyncBaseTransport):
    """Connections to one port of this machine, which are kept open and used again."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[PooledConnection] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        connection = await self._find_connection()
        try:
            await connection.send_request(request)
        except BaseException:
            connection.transport.abort()
            raise
        body = AnswerBody(connection, self._free)
        return httpx.Response(connection.status, headers=connection.headers, stream=body)

    async def _find_connection(self) -> PooledConnection:
        while self._free:
            connection = self._free.pop()
            if connection.is_open:
                return connection
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(PooledConnection, "127.0.0.1", self._port)
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error
        return connection

    async def aclose(self) -> None:
        for connection in self._free:
            connection.transport.abort()
        self._free.clear()
