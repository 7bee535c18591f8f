"""The bodies of requests: bytes in memory, or in a file where they are a form with a file in it. Both are bounded
before they are read, where their length is announced, and while they are.
"""

import asyncio
import io
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from typing import IO, Any, cast

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest

from api import keys
from api.authentication import UNKNOWN, find, in_time, presented_key
from providers.exceptions import BodyTooLarge, InvalidKey, RequestTimeout
from providers.offloop import off_loop

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
WHOLE = "proxysite.whole"  # scope key: the server has the whole request, nothing has to be waited for
UPLOADS = frozenset(("/v1/files",))  # forms with a file, which need not fit into memory
FORM_BYTES = 65_536  # what a form may add to its file


class CallerLeft(Exception):
    """The caller left before the request was whole."""


def refuse_announced(scope: Message, limit_bytes: int) -> None:
    """Raise BodyTooLarge when the request says that its body is."""
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    if length.isdigit() and int(length) > limit_bytes:
        raise BodyTooLarge(f"The request body is larger than {limit_bytes} bytes.")


async def read_body(scope: Message, receive: Receive, limit_bytes: int) -> bytes:
    """The whole body. Raises BodyTooLarge (before reading, if the length is announced), RequestTimeout, CallerLeft."""
    refuse_announced(scope, limit_bytes)
    if WHOLE in scope:
        return cast(bytes, (await receive())["body"])
    try:
        async with asyncio.timeout(settings.BODY_SECONDS):
            message = await receive()
            body: bytes = message.get("body", b"")
            parts, size = [body], len(body)
            while message.get("more_body"):
                message = await receive()
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > limit_bytes:
                    raise BodyTooLarge(f"The request body is larger than {limit_bytes} bytes.")
    except TimeoutError:
        raise RequestTimeout(f"The request body did not come within {settings.BODY_SECONDS:g} seconds.") from None
    if message["type"] == "http.disconnect":
        raise CallerLeft
    return body if len(parts) == 1 else b"".join(parts)


async def spooled(scope: Message, receive: Receive, limit_bytes: int) -> IO[bytes]:
    """The whole body in a file, which is one of the disk's when it is large. Raises like `read_body`."""
    refuse_announced(scope, limit_bytes)
    file = tempfile.SpooledTemporaryFile(settings.FILE_UPLOAD_MAX_MEMORY_SIZE, dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115
    try:
        async with asyncio.timeout(settings.BODY_SECONDS):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise CallerLeft
                if file.tell() + len(message.get("body", b"")) > limit_bytes:
                    raise BodyTooLarge(f"The request body is larger than {limit_bytes} bytes.")
                file.write(message.get("body", b""))
                more = message.get("more_body", False)
    except TimeoutError:
        file.close()
        raise RequestTimeout(f"The request body did not come within {settings.BODY_SECONDS:g} seconds.") from None
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


async def require_key(scope: Message) -> None:
    """Raise InvalidKey, before much is taken in from somebody unknown."""
    key = presented_key(ASGIRequest(dict(scope), io.BytesIO()).META)
    if await in_time(off_loop(find, keys.digest(key))) is None:
        raise InvalidKey(UNKNOWN)


class Spooled:
    """What is still received of a request whose body is in a file already."""

    def __init__(self, body: IO[bytes], receive: Receive) -> None:
        self.body, self._receive = body, receive

    async def __call__(self) -> Message:
        return await self._receive()
