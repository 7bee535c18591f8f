"""Bodies that callers send compressed (`Content-Encoding`), unpacked while they arrive.

The unpacked pieces pass through the same limits as a plain body. A piece is small, so a few bytes
that unpack to gigabytes are refused at the limit, and other requests go on in between.
"""

import asyncio
import zlib
from typing import cast

from providers.exceptions import InvalidRequest, UnsupportedMediaType
from proxysite.server.request_bodies import WHOLE_REQUEST, CallerLeft, Message, Receive, Scope

PIECE_BYTES = 2**18  # unpacked at a time, which takes about a millisecond
GZIP_WINDOW = 16 + zlib.MAX_WBITS  # parameters of zlib: a gzip stream, a zlib stream, a bare one
ZLIB_WINDOW = zlib.MAX_WBITS
BARE_WINDOW = -zlib.MAX_WBITS
GZIP_NAMES = ("gzip", "x-gzip")
DEFLATE = "deflate"


def unpack_body(scope: Message, receive: Receive) -> tuple[Scope, Receive]:
    """Return scope and `receive` of the same request as if its body were not compressed.

    Raises UnsupportedMediaType.
    """
    coding = read_content_coding(scope)
    if not coding:
        return cast(Scope, scope), receive
    if coding not in (*GZIP_NAMES, DEFLATE):
        text = f"The content-encoding {coding!a} is not known here: send gzip, deflate or none."
        raise UnsupportedMediaType(text, param="content-encoding")
    headers = [pair for pair in scope["headers"] if pair[0] != b"content-encoding"]
    plain_scope = {name: value for name, value in scope.items() if name != WHOLE_REQUEST}
    return plain_scope | {"headers": headers}, CompressedBody(receive, coding)


def read_content_coding(scope: Message) -> str:
    """Return how the body is compressed, in small letters; an empty text if it is not."""
    codings = [value for name, value in scope["headers"] if name == b"content-encoding"]
    if not codings:
        return ""
    coding = b",".join(codings).decode("latin-1").strip().lower()
    return "" if coding == "identity" else coding[:100]


class CompressedBody:
    """The `receive` of a request whose body is compressed: it gives the unpacked body in pieces."""

    def __init__(self, receive: Receive, coding: str) -> None:
        self._receive = receive
        self._coding = coding
        self._packed = b""  # what has arrived and is not unpacked yet
        self._has_more = True  # more of the packed body is to come
        self._is_passed = False  # the body is passed on: what comes now is the caller's leaving
        self._unpacker: zlib._Decompress | None = None

    async def __call__(self) -> Message:
        """Return the next piece of the unpacked body. Raises InvalidRequest, CallerLeft."""
        if self._is_passed:
            return await self._receive()
        if not self._packed or self._unpacker is None:
            await self._receive_packed()
        await asyncio.sleep(0)
        data = self._unpack_piece()
        self._is_passed = not self._has_more and not self._packed and len(data) < PIECE_BYTES
        if self._is_passed and self._unpacker is not None and not self._unpacker.eof:
            raise self._broken_body()
        return {"type": "http.request", "body": data, "more_body": not self._is_passed}

    async def _receive_packed(self) -> None:
        """Receive until there is enough to unpack, or the packed body is whole."""
        while self._has_more and len(self._packed) < 2:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise CallerLeft
            self._packed += message.get("body", b"")
            self._has_more = message.get("more_body", False)

    def _unpack_piece(self) -> bytes:
        """Unpack PIECE_BYTES at most. Raises InvalidRequest, also for data behind the end."""
        if self._unpacker is None:
            if not self._packed:
                return b""
            self._unpacker = zlib.decompressobj(choose_window(self._coding, self._packed))
        try:
            data = self._unpacker.decompress(self._packed, PIECE_BYTES)
        except zlib.error:
            raise self._broken_body() from None
        if self._unpacker.unused_data:
            raise self._broken_body()
        self._packed = self._unpacker.unconsumed_tail
        return data

    def _broken_body(self) -> InvalidRequest:
        text = f"The body is not valid {self._coding}, as its content-encoding says."
        return InvalidRequest(text, param="content-encoding")


def choose_window(coding: str, packed: bytes) -> int:
    """Return zlib's parameter for this stream; `deflate` comes with zlib's head and without it."""
    if coding in GZIP_NAMES:
        return GZIP_WINDOW
    head = int.from_bytes(packed[:2], "big")
    has_zlib_head = len(packed) >= 2 and packed[0] & 0x0F == zlib.DEFLATED and head % 31 == 0
    return ZLIB_WINDOW if has_zlib_head else BARE_WINDOW
