"""A port in front of a gateway that notes which requests a program sends through it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

REQUEST_LINE = re.compile(rb"^([A-Z]+ \S+) HTTP/1\.1\r$", re.MULTILINE)
READ_BYTES = 65_536


class WatchedPort:
    """A relay of bytes to the port of a gateway on this machine."""

    def __init__(self, gateway_url: str) -> None:
        self._gateway_port = int(gateway_url.rpartition(":")[2])
        self._sent: list[bytearray] = []  # by each connection
        self.url = ""

    @property
    def request_lines(self) -> list[str]:
        """Return method and path of each request, in the order of the connections."""
        found = (REQUEST_LINE.findall(bytes(sent)) for sent in self._sent)
        return [line.decode() for lines in found for line in lines]

    async def serve_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass the bytes of one connection on in both directions."""
        sent = bytearray()
        self._sent.append(sent)
        back, forth = await asyncio.open_connection("127.0.0.1", self._gateway_port)
        await asyncio.gather(pass_on(reader, forth, sent), pass_on(back, writer, bytearray()))


async def pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, copy: bytearray
) -> None:
    """Write what is read until its end, and append it to `copy`."""
    with suppress(OSError):
        while piece := await reader.read(READ_BYTES):
            copy += piece
            writer.write(piece)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def watch_port(gateway_url: str) -> AsyncIterator[WatchedPort]:
    """Listen on a port of this machine as long as the block runs."""
    port = WatchedPort(gateway_url)
    server = await asyncio.start_server(port.serve_connection, "127.0.0.1", 0)
    port.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield port
    finally:
        server.close()
