"""Send the body of a request from a file, in pieces, no faster than the upstream takes it."""

import asyncio
from typing import IO

from msgspec import Struct

from providers.network.connection import Connection

PIECE_BYTES = 256 * 2**10
STALLED = "The upstream stopped reading the request."


class Upload(Struct, frozen=True):
    """The body of a request: `start`, then the whole file of `file_bytes`, then `end`."""

    file: IO[bytes]
    file_bytes: int
    start: bytes = b""
    end: bytes = b""

    @property
    def size_bytes(self) -> int:
        """Return the length of the whole body."""
        return len(self.start) + self.file_bytes + len(self.end)


async def send_upload(connection: Connection, upload: Upload, gap_seconds: float) -> None:
    """Write the body behind a head that was written.

    Stops early when the upstream has answered or closed the connection, which is then used for no
    other request. Raises UpstreamTimeout when the upstream takes nothing for `gap_seconds`.
    """
    connection.is_half_sent = True
    connection.write_piece(upload.start)
    await asyncio.to_thread(upload.file.seek, 0)
    while piece := await asyncio.to_thread(upload.file.read, PIECE_BYTES):
        connection.limit_silence(gap_seconds, STALLED)
        while connection.is_writing_paused and not connection.has_answer_begun:
            await connection.wait_for_change()
        if connection.has_answer_begun:
            return
        connection.write_piece(piece)
    connection.write_piece(upload.end)
    connection.is_half_sent = False
