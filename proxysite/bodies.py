"""The bodies of requests: bytes in memory, or in a file where they are a form with a file in it. Both are bounded
before they are read, where their length is announced, and while they are.
"""

import asyncio
import io
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, cast

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest

from api import keys
from api.authentication import UNKNOWN, find, presented_key
from conversations import files
from providers.exceptions import BodyTooLarge, InvalidKey, RequestTimeout, Saturated
from providers.offloop import in_time, off_loop

Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
WHOLE = "proxysite.whole"  # scope key: the server has the whole request, nothing has to be waited for
UPLOADS = frozenset(("/v1/files", "/v1/files/upload"))  # forms with a file, which need not fit into memory
FORM_BYTES = 65_536  # what a form may add to its file


class CallerLeft(Exception):
    """The caller left before the request was whole."""


def announced(scope: Message) -> int:
    """How long the request says that its body is; 0 when it does not say."""
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(length) if length.isdigit() else 0


def refuse_announced(scope: Message, limit_bytes: int) -> None:
    """Raise BodyTooLarge when the request says that its body is."""
    if announced(scope) > limit_bytes:
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
    except OSError:
        file.close()
        raise Saturated("There is no room for uploads here now.", retry_after_seconds=60) from None
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


async def uploader(scope: Message) -> int:
    """The user who wants to upload, before much is taken in from somebody unknown or somebody who has no room. Raises
    InvalidKey, InvalidRequest.
    """
    key = presented_key(ASGIRequest(dict(scope), io.BytesIO()).META)
    caller = await in_time(off_loop(find, keys.digest(key)))
    if caller is None or caller.user_id is None:
        raise InvalidKey(UNKNOWN)
    await in_time(off_loop(files.require_room, caller.user_id, max(0, announced(scope) - FORM_BYTES)))
    return caller.user_id


class Uploads:
    """How many are on their way, by user: what is half here counts against nobody's room yet."""

    def __init__(self) -> None:
        self._running: Counter[int] = Counter()

    @contextmanager
    def one(self, user_id: int) -> Iterator[None]:
        """Raises Saturated."""
        if self._running[user_id] >= settings.UPLOADS_PER_USER or self._running.total() >= settings.UPLOADS:
            raise Saturated("Too many uploads are running.", retry_after_seconds=5)
        self._running[user_id] += 1
        try:
            yield
        finally:
            self._running[user_id] -= 1
            self._running += Counter()  # forget who has none


def with_length(scope: dict[str, Any], size: int) -> dict[str, Any]:
    """The scope of a request whose body is whole: it has a length, however it came."""
    headers = [pair for pair in scope["headers"] if pair[0] not in (b"transfer-encoding", b"content-length")]
    if size or len(headers) != len(scope["headers"]):
        headers.append((b"content-length", b"%d" % size))
    return scope | {"headers": headers}


class Spooled:
    """What is still received of a request whose body is in a file already."""

    def __init__(self, body: IO[bytes], receive: Receive) -> None:
        self.body, self._receive = body, receive

    async def __call__(self) -> Message:
        return await self._receive()
