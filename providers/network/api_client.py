"""Calls to upstreams that are not relayed answers, made with httpx.

Signing in, renewing tokens, checks, lists of models, files, web search, deleting chats: one
`ApiClient` per event loop makes them all. Relayed answers have a faster client
(`providers/network/http_client.py`). Redirects are not followed, cookies are not kept, and nothing
is read from the environment; `providers/network/guarded_transport.py` decides where connections may
go. Raises errors of `providers.exceptions` only.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from typing import Any

import httpx

from providers.exceptions import BadResponse, Unreachable, UpstreamTimeout
from providers.network.guarded_transport import GuardedTransport
from providers.network.proxies.outbound_proxy import OutboundProxy
from providers.network.response import HttpAnswer, OpenAnswer
from providers.network.target import Timeouts
from providers.network.tls import make_tls_context

IDLE_SECONDS = 30.0
SHUTTING_DOWN = "The gateway is shutting down."
SCHEMES = ("http", "https")


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One call: its address, its body, how long it may take and how much may be read.

    `headers` are whole lines (`Name: value\\r\\n`). Of `timeouts` only `connect` and `first_byte`
    are used; the latter is how long the upstream may be silent.
    """

    method: str
    url: httpx.URL = field(repr=False)  # a presigned URL is a secret
    allow_private: bool
    timeouts: Timeouts
    total_seconds: float
    answer_bytes: int
    headers: bytes = field(default=b"", repr=False)
    body: bytes = field(default=b"", repr=False)
    content_type: str = "application/json"
    proxy: OutboundProxy | None = None

    @classmethod
    def from_path(cls, method: str, base_url: str, path: str, **fields: Any) -> "ApiCall":
        """Make a call of a path below a base URL, percent-encoded where needed.

        Raises BadResponse on an invalid address, because an upstream may have given it.
        """
        try:
            url = httpx.URL(f"{base_url.rstrip('/')}/{path}")
        except (httpx.InvalidURL, UnicodeError) as error:
            raise BadResponse("The upstream has no usable address.") from error
        if url.scheme not in SCHEMES or not url.host:
            raise BadResponse("The upstream has no usable address.")
        return cls(method, url, **fields)

    def build_request(self) -> httpx.Request:
        """Make httpx's request, with no other headers than HTTP needs."""
        lines = [line.partition(b": ") for line in self.headers.split(b"\r\n") if line]
        return httpx.Request(
            self.method,
            self.url,
            headers=[
                (b"Content-Type", self.content_type.encode("ascii")),
                (b"Accept-Encoding", b"identity"),
                *((name, value) for name, _, value in lines),
            ],
            content=self.body,
            extensions={
                "allow_private": self.allow_private,
                "proxy": self.proxy,
                "timeout": self._build_timeouts(),
            },
        )

    def _build_timeouts(self) -> dict[str, float | None]:
        silence = self.timeouts.first_byte
        return httpx.Timeout(silence, connect=self.timeouts.connect).as_dict()


class ApiResponse(OpenAnswer):
    """An answer that httpx reads."""

    __slots__ = ("_response",)

    def __init__(self, response: httpx.Response) -> None:
        headers = {name.lower(): value for name, value in response.headers.raw}
        super().__init__(response.status_code, headers)
        self._response = response

    def iterate_body(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives."""
        return self._response.aiter_raw()

    async def read_body(self, limit_bytes: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        async for piece in self.iterate_body():
            size += len(piece)
            if size > limit_bytes:
                raise BadResponse(f"The upstream's answer is longer than {limit_bytes} bytes.")
            pieces.append(piece)
        return b"".join(pieces)


class ForgetfulJar(CookieJar):
    """A cookie jar that stores nothing: no provider may get the cookies of another one."""

    def extract_cookies(self, response: object, request: object) -> None:
        """Ignore the cookies of an answer."""


class ApiClient:
    """A client that makes calls in one event loop, and keeps connections for later calls."""

    def __init__(
        self,
        idle_seconds: float = IDLE_SECONDS,
        get_tls: Callable[[], ssl.SSLContext] = make_tls_context,
    ) -> None:
        self._client = httpx.AsyncClient(
            transport=GuardedTransport(idle_seconds, get_tls),
            cookies=ForgetfulJar(),
            trust_env=False,
            follow_redirects=False,
        )
        self._call_timeouts: set[asyncio.Timeout] = set()  # of the running calls
        self._is_closing = False
        self._is_idle = asyncio.Event()

    async def fetch_answer(self, call: ApiCall) -> HttpAnswer:
        """Make a call and read its whole answer, whatever its status.

        The body of a redirect is not read. Raises ProviderError.
        """
        async with self.open_call(call) as response:
            return await response.read_answer(call.answer_bytes)

    @asynccontextmanager
    async def open_call(self, call: ApiCall) -> AsyncGenerator[ApiResponse, None]:
        """Make a call whose answer is read as it arrives. Raises ProviderError.

        The time limit of the whole call applies until the block is left.
        """
        if self._is_closing:
            raise Unreachable(SHUTTING_DOWN)
        clock = asyncio.timeout(call.total_seconds)
        self._call_timeouts.add(clock)
        try:
            async with clock:
                response = await self._client.send(call.build_request(), stream=True)
                async with aclosing(response):
                    yield ApiResponse(response)
        except TimeoutError:
            if not clock.expired():
                raise
            if self._is_closing:
                raise Unreachable(SHUTTING_DOWN) from None
            raise UpstreamTimeout("The upstream did not answer in time.") from None
        except httpx.HTTPError as error:
            raise BadResponse("The upstream's answer is not valid HTTP.") from error
        finally:
            self._call_timeouts.discard(clock)
            if not self._call_timeouts:
                self._is_idle.set()

    async def close(self) -> None:
        """End the running calls, and close all connections."""
        self._is_closing = True
        if self._call_timeouts:
            self._is_idle.clear()
            now = asyncio.get_running_loop().time()
            for clock in self._call_timeouts:
                if not clock.expired():
                    clock.reschedule(now)
            await self._is_idle.wait()
        await self._client.aclose()
