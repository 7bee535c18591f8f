"""A proxy on the loopback that forwards: CONNECT or SOCKS5, with credentials or without.

Sources: RFC 9110, section 9.3.6 (CONNECT); RFC 1928 and RFC 1929 (SOCKS5).
"""

import asyncio
import base64
import ssl
from contextlib import suppress

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class ForwardingProxy:
    """Names of hosts lead to 127.0.0.1; `targets` are those that it was asked for."""

    def __init__(
        self, scheme: str, credentials: str = "", tls: ssl.SSLContext | None = None
    ) -> None:
        self.scheme = scheme
        self.credentials = credentials
        self.targets: list[str] = []
        self.refuses = False  # say no from now on
        self._tls = tls
        self._tasks: set[asyncio.Task[None] | None] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        self._server.close()
        tasks = [task for task in self._tasks if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        speak = self._speak_socks if self.scheme.startswith("socks") else self._speak_connect
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                port = await speak(reader, writer)
                if port is not None:
                    await forward((reader, writer), port)
        finally:
            writer.close()

    async def _speak_connect(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> int | None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, authority, _ = head.split(" ", 2)
        assert method == "CONNECT"
        wanted = base64.b64encode(self.credentials.encode()).decode()
        if self.credentials and f"Proxy-Authorization: Basic {wanted}\r\n" not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            return None
        self.targets.append(authority)
        if self.refuses:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return None
        writer.write(b"HTTP/1.1 200 Connection established\r\n")
        await writer.drain()
        writer.write(b"Via: test\r\n\r\n")
        return int(authority.rpartition(":")[2])

    async def _speak_socks(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> int | None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        method = 2 if self.credentials else 0
        if method not in methods:
            writer.write(b"\x05\xff")
            return None
        writer.write(bytes((5, method)))
        if self.credentials:
            assert await reader.readexactly(1) == b"\x01"
            given = [await self._read_counted(reader), await self._read_counted(reader)]
            is_right = ":".join(given) == self.credentials
            writer.write(b"\x01\x00" if is_right else b"\x01\x01")
            if not is_right:
                return None
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            host = await self._read_counted(reader)
        else:
            host = ".".join(map(str, await reader.readexactly(4)))
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.targets.append(f"{host}:{port}")
        error = 2 if self.refuses else 0
        writer.write(bytes((5, error, 0, 3, 4)) + b"here\x00\x50")
        return None if error else port

    async def _read_counted(self, reader: asyncio.StreamReader) -> str:
        (size,) = await reader.readexactly(1)
        return (await reader.readexactly(size)).decode()


async def forward(caller: Streams, port: int) -> None:
    upstream = await asyncio.open_connection("127.0.0.1", port)
    try:
        await asyncio.gather(copy(caller[0], upstream[1]), copy(upstream[0], caller[1]))
    finally:
        upstream[1].close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
