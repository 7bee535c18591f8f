"""Connections of the relay client through an outbound proxy."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from providers.exceptions import Unreachable
from providers.network import name_lookup
from providers.network.connection import Connection
from providers.network.proxies.outbound_proxy import OutboundProxy
from providers.network.proxies.proxy_tunnel import (
    UNREACHABLE_TEXT,
    ProxyDialogue,
    require_allowed_target,
)
from providers.network.target import ProxiedOrigin


class DialogueProtocol(asyncio.Protocol):
    """The bytes that a proxy sends before there is a tunnel."""

    def __init__(self) -> None:
        self._received: asyncio.Queue[bytes] = asyncio.Queue()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of its own classes
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received.put_nowait(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._received.put_nowait(b"")

    async def write(self, data: bytes) -> None:
        self.transport.write(data)

    async def read(self) -> bytes:
        return await self._received.get()


async def connect_through_proxy(
    origin: ProxiedOrigin, get_tls: Callable[[], ssl.SSLContext]
) -> Connection:
    """Connect to an origin through its proxy; the caller limits the time.

    Raises Unreachable, OSError, ssl.SSLError.
    """
    await require_allowed_target(origin.host, origin.allow_private)
    protocol = await connect_to_proxy(origin.proxy, get_tls)
    transport = protocol.transport
    try:
        dialogue = ProxyDialogue(protocol.write, protocol.read)
        await dialogue.open_tunnel(origin.proxy, origin.host, origin.port)
        return await begin_answering(transport, origin, get_tls)
    except BaseException:  # also when the caller left; the tunnel is half open
        transport.abort()
        raise


async def connect_to_proxy(
    proxy: OutboundProxy, get_tls: Callable[[], ssl.SSLContext]
) -> DialogueProtocol:
    """Connect to the first address of the proxy that accepts the connection. Raises Unreachable."""
    tls = None
    server_name = None
    if proxy.scheme == "https":
        tls = get_tls()
        server_name = proxy.host
    loop = asyncio.get_running_loop()
    for address in await name_lookup.resolver.find_addresses(proxy.host):
        with suppress(OSError):
            _, protocol = await loop.create_connection(
                DialogueProtocol, address, proxy.port, ssl=tls, server_hostname=server_name
            )
            return protocol
    name_lookup.resolver.mark_addresses_doubtful(proxy.host)
    raise Unreachable(UNREACHABLE_TEXT)


async def begin_answering(
    transport: asyncio.Transport, origin: ProxiedOrigin, get_tls: Callable[[], ssl.SSLContext]
) -> Connection:
    """Return the connection that a tunnel is, after the TLS handshake with the upstream."""
    loop = asyncio.get_running_loop()
    connection = Connection(loop)
    if origin.scheme == "http":
        transport.set_protocol(connection)
        connection.connection_made(transport)
        return connection
    encrypted = await loop.start_tls(transport, connection, get_tls(), server_hostname=origin.host)
    if encrypted is None:
        raise Unreachable(UNREACHABLE_TEXT)
    connection.connection_made(encrypted)
    return connection
