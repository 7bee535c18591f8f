"""Read and write the streaming frames of the Connect protocol. No I/O.

A frame is one byte of flags, four bytes of length (big-endian) and the message. A message is
returned with its flag byte in front, so that the reader can tell the trailer apart. Source: the
Connect protocol, "Streaming RPCs".
"""

from providers.wire.sse import EventTooLong

HEAD_BYTES = 5
# the flags of a frame
COMPRESSED_FLAG = 0b01
TRAILER_FLAG = 0b10


def build_frame(message: bytes, flags: int = 0) -> bytes:
    """Return a message as one frame."""
    return b"%c%b%b" % (flags, len(message).to_bytes(4, "big"), message)


class FrameSplitter:
    """A reader of frames: feed it each piece, and it returns the messages that became complete.

    Each message has its flag byte in front.
    """

    __slots__ = ("_incomplete_frame", "_limit_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._incomplete_frame = bytearray()

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the messages completed by `piece`.

        Raises EventTooLong as soon as a frame announces a length above the limit.
        """
        data = self._incomplete_frame
        data += piece
        start = 0
        messages: list[bytes] = []
        while len(data) - start >= HEAD_BYTES:
            length = int.from_bytes(data[start + 1 : start + HEAD_BYTES], "big")
            if length > self._limit_bytes:
                raise EventTooLong
            end = start + HEAD_BYTES + length
            if end > len(data):
                break
            messages.append(bytes(data[start : start + 1] + data[start + HEAD_BYTES : end]))
            start = end
        del data[:start]
        return messages

    def finish(self) -> list[bytes]:
        """Return no message: a frame without its end is dropped."""
        return []
