"""Read the stream of one answer: bytes from the connection in, lists of chunks out."""

import asyncio

from providers.network.response import Response
from providers.network.target import Timeouts
from providers.protocol.chunks import Chunk
from providers.upstream.stream_reader import StreamReader

TAIL_STALLED = "The upstream's stream stalled at its end."


class AnswerStream:
    """The stream of an answer whose head has arrived; `reader` makes chunks of its bytes.

    Call `read_batch` until it returns an empty list. Whether the stream ended well is asked of the
    reader (`require_finish`).
    """

    __slots__ = ("_gap_seconds", "_reader", "_response", "_tail_seconds")

    def __init__(self, response: Response, reader: StreamReader, timeouts: Timeouts) -> None:
        self._response = response
        self._reader = reader
        self._gap_seconds = timeouts.gap
        self._tail_seconds = timeouts.tail

    async def read_batch(self) -> list[Chunk]:
        """Wait for the next chunks and return them; an empty list at the end of the stream.

        Raises ProviderError when the stream breaks off before its finish reason.
        """
        connection = self._response.connection
        reader = self._reader
        while not reader.is_over:
            if reader.is_finished:
                connection.limit_silence(self._tail_seconds, TAIL_STALLED)
            while not connection.pieces:
                if connection.has_ended:
                    return self._read_end()
                await connection.wait_for_change()
            piece = connection.take_piece(self._gap_seconds)
            if reader.waiting_bytes and reader.ends_large_event(piece):
                batch = await reader.feed_in_thread(piece)
            else:
                batch = reader.feed(piece)
            if connection.pieces:
                await asyncio.sleep(0)  # a large read comes in slices: others get their turn
            if batch:
                return batch
        return []

    def _read_end(self) -> list[Chunk]:
        """Return the chunks of a last event that lacks its blank line.

        An error of the connection counts only before the finish reason: after it the answer is
        complete without the stream's end.
        """
        reader = self._reader
        batch: list[Chunk] = []
        error = self._response.connection.error
        if error is None:
            batch = reader.read_last_event()
        elif not reader.is_finished:
            raise error
        reader.is_over = True
        return batch

    def keep_connection(self) -> None:
        """Have the connection kept for later requests if the upstream has marked the end."""
        if self._reader.has_done_marker:
            self._response.mark_finished()
