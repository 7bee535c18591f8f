"""Answers of upstreams: whole ones, and those whose body may still be on its way."""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from providers.network.connection import Connection

FRAMING_END_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer; the names of its headers are in lower case."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    def get_header(self, name: bytes) -> str:
        """Return a header's value, or an empty string."""
        return self.headers.get(name, b"").decode("latin-1")


class OpenAnswer:
    """An answer whose status and headers have arrived; the names of headers are in lower case."""

    __slots__ = ("headers", "status")

    def __init__(self, status: int, headers: dict[bytes, bytes]) -> None:
        self.status = status
        self.headers = headers

    def get_header(self, name: bytes) -> str:
        """Return a header's value, or an empty string."""
        return self.headers.get(name, b"").decode("latin-1")

    async def read_body(self, limit_bytes: int) -> bytes:
        """Return the whole body. Raises BadResponse when it is longer than `limit_bytes`."""
        raise NotImplementedError

    async def read_answer(self, limit_bytes: int) -> HttpAnswer:
        """Read the whole answer; the body of a redirect is not read."""
        body = b""
        if not 300 <= self.status < 400:
            body = await self.read_body(limit_bytes)
        return HttpAnswer(self.status, self.headers, body)


class Response(OpenAnswer):
    """An answer on one of our own connections.

    Use it as `with`: leaving the block early closes the connection, leaving it at the end of the
    answer keeps the connection for later requests. `release` does either. Read a stream from
    `connection` itself.
    """

    __slots__ = ("_is_finished", "_release", "connection")

    def __init__(self, connection: Connection, release: Callable[[], None]) -> None:
        super().__init__(connection.status, connection.headers)
        self.connection = connection
        self._release = release
        self._is_finished = False

    def __enter__(self) -> "Response":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_finished and not self.connection.has_ended:
            self.connection.call_at_end(FRAMING_END_SECONDS, self._release)
        else:
            self._release()

    def mark_finished(self) -> None:
        """Note that the answer is complete and only its framing may follow.

        Leaving the block then keeps the connection, if the end of the framing comes within
        FRAMING_END_SECONDS.
        """
        self._is_finished = True

    async def read_body(self, limit_bytes: int) -> bytes:
        return await self.connection.read_body(limit_bytes)
