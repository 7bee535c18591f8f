"""The transport of httpx to upstreams: each connection goes to an address that was checked here.

An `httpx.AsyncClient` sends its requests through `GuardedTransport`.
`providers/network/name_lookup.py` looks up a host, `providers/network/address_guard.py` checks its
addresses, and the connection goes to the very address that was checked; TLS proves the host's name.
Every failure is raised as one of `providers.exceptions`. The extension `allow_private` of a request
says that it may go to a private address; such requests have a pool of their own, so that no
connection that was allowed for one provider serves another one.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import httpcore
import httpx
from django.conf import settings

from providers.exceptions import (
    BadResponse,
    Disconnected,
    ProviderError,
    Unreachable,
    UpstreamTimeout,
)
from providers.network import address_guard, name_lookup
from providers.network.proxies.outbound_proxy import OutboundProxy
from providers.network.proxies.proxy_tunnel import (
    UNREACHABLE_TEXT,
    ProxyDialogue,
    require_allowed_target,
)
from providers.network.tls import make_tls_error

IDLE_CONNECTIONS = 100
DIALOGUE_BYTES = 4_096  # read at a time from a proxy
# words of httpcore and h11 for an answer that ended too early
CLOSED_PHRASES = ("disconnected", "closed connection")


PoolKey = tuple[bool, OutboundProxy | None]
Connect = Callable[[str], Awaitable[httpcore.AsyncNetworkStream]]


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """A network backend that connects to checked addresses only, or through a proxy."""

    def __init__(
        self,
        allow_private: bool,
        proxy: OutboundProxy | None,
        get_tls: Callable[[], ssl.SSLContext],
    ) -> None:
        self._allow_private = allow_private
        self._proxy = proxy
        self._get_tls = get_tls
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the name is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of `host` that is allowed and accepts the connection.

        The look-up and the connection together take at most `timeout` seconds. Raises Unreachable,
        UpstreamTimeout.
        """
        connect = partial(
            self._inner.connect_tcp,
            port=port if self._proxy is None else self._proxy.port,
            timeout=None,
            local_address=local_address,
            socket_options=socket_options,
        )
        try:
            async with asyncio.timeout(timeout):
                if self._proxy is not None:
                    return await self._connect_through(self._proxy, (host, port), connect)
                addresses = await address_guard.find_allowed_addresses(host, self._allow_private)
                return await self._connect_to_first(host, addresses, connect)
        except TimeoutError:
            raise UpstreamTimeout("Connecting to the upstream took too long.") from None

    async def _connect_through(
        self, proxy: OutboundProxy, target: tuple[str, int], connect: Connect
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the proxy, and have it connect to the target. Raises Unreachable."""
        await require_allowed_target(target[0], self._allow_private)
        addresses = await name_lookup.resolver.find_addresses(proxy.host)
        try:
            stream = await self._connect_to_first(proxy.host, addresses, connect)
        except Unreachable:
            raise Unreachable(UNREACHABLE_TEXT) from None
        try:
            if proxy.scheme == "https":
                stream = await stream.start_tls(self._get_tls(), proxy.host)
            dialogue = ProxyDialogue(stream.write, partial(stream.read, DIALOGUE_BYTES))
            await dialogue.open_tunnel(proxy, *target)
        except BaseException:  # also when the caller left; the tunnel is half open
            await stream.aclose()
            raise
        return stream

    async def _connect_to_first(
        self, host: str, addresses: Iterable[str], connect: Connect
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address that accepts the connection. Raises Unreachable."""
        for address in addresses:
            with suppress(httpcore.ConnectError):
                return await connect(address)
        name_lookup.resolver.mark_addresses_doubtful(host)
        raise Unreachable("The upstream cannot be reached.")


class GuardedTransport(httpx.AsyncBaseTransport):
    """Pools of HTTP/1.1 connections: one for public addresses only, one for any address.

    Each proxy has two pools of its own.
    A pool, and its TLS context (`get_tls`), is made when it is first used.
    """

    def __init__(self, idle_seconds: float, get_tls: Callable[[], ssl.SSLContext]) -> None:
        self._idle_seconds = idle_seconds
        self._get_tls = get_tls
        self._pools: dict[PoolKey, httpcore.AsyncConnectionPool] = {}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and wait for the head of its answer. Raises ProviderError.

        A kept connection may be closed just as it is used again. Within RESEND_SECONDS the request
        is then sent once more.
        """
        extensions = request.extensions
        pool = self._get_pool(bool(extensions.get("allow_private")), extensions.get("proxy"))
        tries = ConnectionTrace()
        try:
            with translate_errors():
                answer = await pool.handle_async_request(convert_request(request, tries))
        except Disconnected:
            if not tries.can_resend():
                raise
            with translate_errors():
                answer = await pool.handle_async_request(convert_request(request, tries))
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=AnswerStream(answer),
            extensions=answer.extensions,
        )

    def _get_pool(
        self, allow_private: bool, proxy: OutboundProxy | None
    ) -> httpcore.AsyncConnectionPool:
        """Return the pool for requests that may, or may not, go to private addresses."""
        key = (allow_private, proxy)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = httpcore.AsyncConnectionPool(
                ssl_context=self._get_tls(),
                max_connections=None,
                max_keepalive_connections=IDLE_CONNECTIONS,
                keepalive_expiry=self._idle_seconds,
                network_backend=GuardedBackend(allow_private, proxy, self._get_tls),
            )
        return pool

    async def aclose(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            await pool.aclose()


class AnswerStream(httpx.AsyncByteStream):
    """The body of an answer as it arrives."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with translate_errors():
            async for piece in self._answer.aiter_stream():
                yield piece

    async def aclose(self) -> None:
        """Close the connection, or keep it if the answer was read to its end."""
        await self._answer.aclose()


class ConnectionTrace:
    """A record of httpcore's `trace` events: was a request sent on a kept connection, and when."""

    def __init__(self) -> None:
        self._has_connected = False
        self._sent_at = float("-inf")

    async def __call__(self, event: str, info: dict[str, object]) -> None:
        """Record one event of httpcore."""
        if event == "connection.connect_tcp.started":
            self._has_connected = True
        elif event == "http11.send_request_headers.started":
            self._sent_at = time.monotonic()

    def can_resend(self) -> bool:
        """Return whether the request went over a kept connection, less than RESEND_SECONDS ago.

        Ask when the upstream has closed the connection: it cannot have worked on the request then.
        """
        seconds = time.monotonic() - self._sent_at
        return not self._has_connected and seconds < settings.RESEND_SECONDS


def convert_request(request: httpx.Request, connection_trace: ConnectionTrace) -> httpcore.Request:
    """Convert httpx's request to httpcore's."""
    url = request.url
    return httpcore.Request(
        method=request.method,
        url=httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        ),
        headers=request.headers.raw,
        content=request.stream,
        extensions={**request.extensions, "trace": connection_trace},
    )


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise errors of httpcore and the system as one of `providers.exceptions`."""
    try:
        yield
    except httpcore.ConnectTimeout as error:
        raise UpstreamTimeout("Connecting to the upstream took too long.") from error
    except httpcore.TimeoutException as error:
        raise UpstreamTimeout("The upstream sent nothing in time.") from error
    except (httpcore.ConnectError, ssl.SSLError) as error:
        raise read_connect_error(error) from error
    except (httpcore.NetworkError, OSError) as error:
        raise Disconnected(
            "The upstream closed the connection before its answer was complete."
        ) from error
    except httpcore.RemoteProtocolError as error:
        raise read_protocol_error(str(error)) from error
    except (httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
        raise BadResponse("The request to the upstream cannot be sent.") from error


def read_connect_error(error: BaseException) -> ProviderError:
    """Return BadTls for a failure of TLS, Unreachable for one of the network."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__context__  # httpcore clears the `__cause__`
    if cause is None:
        return Unreachable("The upstream cannot be reached.")
    return make_tls_error(cause)


def read_protocol_error(message: str) -> ProviderError:
    """Return Disconnected for an answer that ended too early, BadResponse for invalid HTTP."""
    if any(words in message for words in CLOSED_PHRASES):
        return Disconnected("The upstream closed the connection before its answer was complete.")
    return BadResponse("The upstream's answer is not valid HTTP.")
