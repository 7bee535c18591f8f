"""Receive the bodies of requests, bounded before and while they arrive.

A body whose announced length is too large is refused before it is read. A small body stays in
memory. One larger than BODY_MEMORY_BYTES waits in a file until it is whole. The bytes of all bodies
are counted (`body_budget.py`).
"""

import asyncio
import re
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, Any, cast
from urllib.parse import unquote_to_bytes

from django.conf import settings

from providers.exceptions import BodyTooLarge, InvalidRequest, RequestTimeout, Saturated
from proxysite.server.body_budget import COUNTED_BYTES, BodyShare

Scope = dict[str, Any]
Message = Mapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
RaiseLimit = Callable[[], Awaitable[int]]
# scope key: the server has the whole request, so there is no wait for its body
WHOLE_REQUEST = "proxysite.whole"
# forms with a file, which may be larger than the memory
UPLOAD_PATHS = frozenset(("/v1/files", "/v1/files/upload"))
COMPLETION_PATH = re.compile(r"/v1/uploads/[^/]+/complete")  # a large file is put together
PART_PATH = re.compile(r"/v1/uploads/[^/]+/parts")  # forms with a part of a file
FORM_OVERHEAD_BYTES = 65_536  # bytes that a form may have besides its file
NUL_IN_ADDRESS = "The request's address has a NUL character."
NO_DISK_ROOM = "There is no room for large requests here now."
_file_thread = ThreadPoolExecutor(1, thread_name_prefix="bodies")


def find_upload_limit(method: str, path: str) -> int | None:
    """Return how large the file in a form to this address may be; None where there is no form."""
    if method != "POST":
        return None
    if path in UPLOAD_PATHS:
        return max(int(settings.FILE_LIMIT_BYTES), int(settings.BATCH_FILE_BYTES))
    if PART_PATH.fullmatch(path):
        return int(settings.UPLOAD_PART_BYTES)
    return None


class CallerLeft(Exception):
    """The caller left before the request was whole."""


class BodyBuffer:
    """The body of one request while it arrives.

    It is in memory, or in a file when it has more than `memory_bytes`. With a share, a body larger
    than COUNTED_BYTES is counted.
    """

    def __init__(self, memory_bytes: int, share: BodyShare | None = None) -> None:
        self.size_bytes = 0
        self.share = share
        self._memory_bytes = memory_bytes
        self._parts: list[bytes] = []
        self._file: IO[bytes] | None = None

    def append(self, data: bytes) -> None:
        """Keep the next piece. Raises Saturated, KeyLimitExceeded."""
        self.size_bytes += len(data)
        if self._file is None and self.size_bytes > self._memory_bytes:
            self._open_file()
        self._reserve_bytes()
        if self._file is None:
            self._parts.append(data)
        else:
            self._write_to_file(data)

    def _reserve_bytes(self) -> None:
        """Reserve the bytes that are not counted yet."""
        if self.share is None or self.size_bytes <= COUNTED_BYTES:
            return
        if self._file is None:
            self.share.reserve_memory(self.size_bytes - self.share.memory_bytes)
        else:
            self.share.reserve_disk(self.size_bytes - self.share.disk_bytes)

    def _open_file(self) -> None:
        if self.share is not None:
            self.share.move_to_disk()
        try:
            self._file = tempfile.TemporaryFile(dir=settings.FILE_UPLOAD_TEMP_DIR)  # noqa: SIM115
        except OSError:
            raise Saturated(NO_DISK_ROOM, retry_after_seconds=60) from None
        parts = self._parts
        self._parts = []
        self._write_to_file(b"".join(parts))

    def _write_to_file(self, data: bytes) -> None:
        try:
            cast(IO[bytes], self._file).write(data)
        except OSError:
            raise Saturated(NO_DISK_ROOM, retry_after_seconds=60) from None

    def read(self) -> bytes:
        """Return the whole body as bytes, which takes room in memory. Raises Saturated."""
        if self._file is None:
            if len(self._parts) == 1:  # it need not be copied
                return self._parts[0]
            return b"".join(self._parts)
        with self.take_file() as file:
            return file.read()

    async def read_off_loop(self) -> bytes:
        """Return the whole body like `read`; a file is read in a thread, beside the event loop."""
        if self._file is None:
            return self.read()
        file = self.take_file()
        return await asyncio.get_running_loop().run_in_executor(_file_thread, read_and_close, file)

    def take_file(self) -> IO[bytes]:
        """Return the body as a file for a reader who loads all of it into memory.

        The caller closes the file. Raises Saturated.
        """
        if self.share is not None:
            self.share.move_to_memory()
        return self.take_upload()

    def take_upload(self) -> IO[bytes]:
        """Return the body as a file for a reader who takes it in pieces.

        The caller closes the file.
        """
        file = self._file
        self._file = None
        if file is None:
            folder = settings.FILE_UPLOAD_TEMP_DIR
            file = tempfile.SpooledTemporaryFile(COUNTED_BYTES, dir=folder)  # noqa: SIM115
            file.write(b"".join(self._parts))
            self._parts = []
        file.seek(0)
        return file

    def close(self) -> None:
        """Drop the body, and close its file."""
        self._parts = []
        if self._file is not None:
            self._file.close()
            self._file = None


def read_and_close(file: IO[bytes]) -> bytes:
    """Return all bytes of a file, and close it."""
    with file:
        return file.read()


def require_readable_address(scope: Message) -> None:
    """Raise InvalidRequest when the address has bytes that are not UTF-8, or a NUL.

    The server puts U+FFFD in place of bytes that it cannot read, which would make one address of
    many. Postgres fails on a text with a NUL; because of this check no view needs a check of its
    own.
    """
    raw_path: bytes = scope.get("raw_path") or b""
    if b"%" in raw_path:
        try:
            path = unquote_to_bytes(raw_path).decode()
        except UnicodeDecodeError:
            raise InvalidRequest("The request's address is not UTF-8.") from None
        if "\0" in path:
            raise InvalidRequest(NUL_IN_ADDRESS)
    query: bytes = scope.get("query_string", b"")
    if b"%00" in query or b"\0" in query:
        raise InvalidRequest(NUL_IN_ADDRESS)


def announced_bytes(scope: Message) -> int:
    """Return the announced length of the body in bytes; 0 when the request announces none."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


def refuse_large_announced(scope: Message, limit_bytes: int) -> None:
    """Raise BodyTooLarge when the request announces a body larger than the limit."""
    if announced_bytes(scope) > limit_bytes:
        raise body_too_large(limit_bytes)


def body_too_large(limit_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The request body is larger than {limit_bytes} bytes.")


async def read_body(
    scope: Message, receive: Receive, limit_bytes: int, share: BodyShare | None = None
) -> bytes:
    """Return the whole body. A body larger than COUNTED_BYTES is counted in `share`.

    Raises BodyTooLarge, Saturated and KeyLimitExceeded (before reading, if the length is
    announced), RequestTimeout, CallerLeft.
    """
    if WHOLE_REQUEST in scope:
        body = cast(bytes, (await receive())["body"])
        if len(body) > limit_bytes:
            raise body_too_large(limit_bytes)
        return body
    refuse_large_announced(scope, limit_bytes)
    size_bytes = announced_bytes(scope)
    if share is not None and size_bytes > COUNTED_BYTES:
        share.require_room(size_bytes)
    buffer = BodyBuffer(settings.BODY_MEMORY_BYTES, share)
    try:
        await receive_into(buffer, receive, limit_bytes)
        return await buffer.read_off_loop()
    finally:
        buffer.close()


async def receive_into(
    buffer: BodyBuffer, receive: Receive, limit_bytes: int, raise_limit: RaiseLimit | None = None
) -> None:
    """Receive the body into the buffer.

    When the body grows beyond the limit, `raise_limit` is called once, if given: it returns a
    larger limit or raises. Raises BodyTooLarge, Saturated, KeyLimitExceeded, RequestTimeout,
    CallerLeft.
    """
    try:
        async with asyncio.timeout(settings.BODY_SECONDS):
            await receive_pieces(buffer, receive, limit_bytes, raise_limit)
    except TimeoutError:
        seconds = f"{settings.BODY_SECONDS:g}"
        raise RequestTimeout(f"The request body did not come within {seconds} seconds.") from None


async def receive_pieces(
    buffer: BodyBuffer, receive: Receive, limit_bytes: int, raise_limit: RaiseLimit | None
) -> None:
    """Receive the pieces of a body like `receive_into`, without a deadline."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise CallerLeft
        data: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        if raise_limit is not None and buffer.size_bytes + len(data) > limit_bytes:
            limit_bytes = await raise_limit()
            raise_limit = None
        if buffer.size_bytes + len(data) > limit_bytes:
            raise body_too_large(limit_bytes)
        buffer.append(data)


class RunningUploads:
    """A count of the running uploads by user, UPLOADS and UPLOADS_PER_USER at most.

    It bounds uploads that have not arrived yet, which no storage quota counts.
    """

    def __init__(self) -> None:
        self._count_by_user: Counter[int] = Counter()

    @contextmanager
    def count_upload(self, user_id: int) -> Iterator[None]:
        """Count one upload during the block. Raises Saturated."""
        if (
            self._count_by_user[user_id] >= settings.UPLOADS_PER_USER
            or self._count_by_user.total() >= settings.UPLOADS
        ):
            raise Saturated("Too many uploads are running.", retry_after_seconds=5)
        self._count_by_user[user_id] += 1
        try:
            yield
        finally:
            self._count_by_user[user_id] -= 1
            self._count_by_user += Counter()  # drops users without a running upload


def with_content_length(scope: Scope, size_bytes: int) -> Scope:
    """Return the scope of a request whose body is whole, with a content-length header."""
    headers = [
        pair
        for pair in scope["headers"]
        if pair[0] not in (b"transfer-encoding", b"content-length")
    ]
    if size_bytes or len(headers) != len(scope["headers"]):
        headers.append((b"content-length", b"%d" % size_bytes))
    return scope | {"headers": headers}


class BodyInFile:
    """The `receive` of a request whose body is in a file already."""

    def __init__(self, body: IO[bytes], receive: Receive, *, is_upload: bool) -> None:
        self.body = body
        self._receive = receive
        self.is_upload = is_upload

    async def __call__(self) -> Message:
        return await self._receive()
