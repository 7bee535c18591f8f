"""Connect's streaming frames, both ways: one byte of flags, four of length (big-endian), the
message. No I/O.

A message comes out with its flag byte before it, so that the trailer is told apart by whoever reads
it. Source: the Connect protocol, "Streaming RPCs".
"""

from providers.wire.sse import EventTooLong

HEAD_BYTES = 5
COMPRESSED = 0b01
TRAILER = 0b10  # flags


def frame(message: bytes, flags: int = 0) -> bytes:
    return b"%c%b%b" % (flags, len(message).to_bytes(4, "big"), message)


class Splitter:
    """Feed it what each read brought; it returns the messages that became complete, each behind its
    flag byte.
    """

    __slots__ = ("_limit", "_rest")

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._rest = bytearray()

    def feed(self, piece: bytes) -> list[bytes]:
        """Raises EventTooLong as soon as a frame says that it is longer than the limit."""
        rest = self._rest
        at = 0
        rest += piece
        messages: list[bytes] = []
        while len(rest) - at >= HEAD_BYTES:
            length = int.from_bytes(rest[at + 1 : at + HEAD_BYTES], "big")
            if length > self._limit:
                raise EventTooLong
            end = at + HEAD_BYTES + length
            if end > len(rest):
                break
            messages.append(bytes(rest[at : at + 1] + rest[at + HEAD_BYTES : end]))
            at = end
        del rest[:at]
        return messages

    def finish(self) -> list[bytes]:
        """A frame that lacks its end says nothing."""
        return []
