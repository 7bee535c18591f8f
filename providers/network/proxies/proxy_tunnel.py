"""Ask an outbound proxy for a tunnel to an upstream.

Sources: RFC 9110, section 9.3.6 (CONNECT); RFC 1928 and RFC 1929 (SOCKS5). After the dialogue a
connection carries the bytes of the upstream alone, so that TLS with the upstream begins on it.
"""

import asyncio
from base64 import b64encode
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import ip_address

from providers.exceptions import Unreachable
from providers.network import address_guard, name_lookup
from providers.network.proxies.outbound_proxy import OutboundProxy
from providers.network.target import bracket_ipv6

HEAD_LIMIT_BYTES = 16 * 1024
HEAD_END = b"\r\n\r\n"
LOOKUP_SECONDS = 1.0  # the proxy looks the name up too, so a slow answer is not waited for
UNREACHABLE_TEXT = "The proxy cannot be reached."
REFUSED_TEXT = "The proxy refused the connection to the upstream"
INVALID_TEXT = "The proxy's answer is not valid."
SOCKS_VERSION = 5
NO_CREDENTIALS = 0
NAME_AND_PASSWORD = 2
CONNECT_COMMAND = bytes((SOCKS_VERSION, 1, 0))
IPV4, HOST_NAME, IPV6 = 1, 3, 4  # types of addresses
ADDRESS_BYTES = {IPV4: 4, IPV6: 16}


async def require_allowed_target(host: str, allow_private: bool) -> None:
    """Raise Unreachable when a target is known to be private and that is not allowed.

    A name that does not resolve here is left to the proxy: whoever needs one may have no name
    server that knows the upstream.
    """
    if allow_private:
        return
    addresses: list[str] = []
    is_private = address_guard.has_private_name(host)
    if not is_private:
        with suppress(Unreachable, TimeoutError):
            async with asyncio.timeout(LOOKUP_SECONDS):
                addresses = await name_lookup.resolver.find_addresses(host)
    if is_private or (addresses and not any(map(address_guard.is_public_address, addresses))):
        raise Unreachable(address_guard.PRIVATE_TEXT)


class ProxyDialogue:
    """The dialogue on a new connection to a proxy; `read` returns b"" at its end."""

    def __init__(
        self, write: Callable[[bytes], Awaitable[None]], read: Callable[[], Awaitable[bytes]]
    ) -> None:
        self._write = write
        self._read = read
        self._unread = b""

    async def open_tunnel(self, proxy: OutboundProxy, host: str, port: int) -> None:
        """Have the proxy connect to this host. Raises Unreachable."""
        if proxy.is_socks:
            await self._ask_socks(proxy, host, port)
        else:
            await self._ask_connect(proxy, host, port)
        if self._unread:  # an upstream says nothing before it is asked
            raise Unreachable(INVALID_TEXT)

    async def _ask_connect(self, proxy: OutboundProxy, host: str, port: int) -> None:
        authority = f"{bracket_ipv6(host)}:{port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if proxy.username or proxy.password:
            credentials = b64encode(f"{proxy.username}:{proxy.password}".encode()).decode("ascii")
            lines.append(f"Proxy-Authorization: Basic {credentials}")
        await self._write("\r\n".join([*lines, "", ""]).encode("ascii"))
        while HEAD_END not in self._unread:
            if len(self._unread) > HEAD_LIMIT_BYTES:
                raise Unreachable(INVALID_TEXT)
            await self._receive()
        head, _, self._unread = self._unread.partition(HEAD_END)
        words = head.split(maxsplit=2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise Unreachable(INVALID_TEXT)
        if not words[1].startswith(b"2"):
            raise Unreachable(f"{REFUSED_TEXT} (status {words[1].decode('ascii')}).")

    async def _ask_socks(self, proxy: OutboundProxy, host: str, port: int) -> None:
        method = NO_CREDENTIALS
        if proxy.username or proxy.password:
            method = NAME_AND_PASSWORD
        await self._write(bytes((SOCKS_VERSION, 1, method)))
        if await self._read_exactly(2) != bytes((SOCKS_VERSION, method)):
            raise Unreachable(f"{REFUSED_TEXT}: it wants other credentials.")
        if method == NAME_AND_PASSWORD:
            name = encode_counted(proxy.username)
            await self._write(b"\x01" + name + encode_counted(proxy.password))
            if (await self._read_exactly(2))[1]:
                raise Unreachable(f"{REFUSED_TEXT}: it does not take the credentials.")
        address = encode_socks_host(host) + port.to_bytes(2, "big")
        await self._write(CONNECT_COMMAND + address)
        version, error, _, address_type = await self._read_exactly(4)
        if version != SOCKS_VERSION:
            raise Unreachable(INVALID_TEXT)
        if error:
            raise Unreachable(f"{REFUSED_TEXT} (SOCKS error {error}).")
        size = ADDRESS_BYTES.get(address_type)
        if size is None:
            size = (await self._read_exactly(1))[0]
        await self._read_exactly(size + 2)  # the address and port of the proxy's own end

    async def _read_exactly(self, size: int) -> bytes:
        while len(self._unread) < size:
            await self._receive()
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    async def _receive(self) -> None:
        data = await self._read()
        if not data:
            raise Unreachable("The proxy closed the connection.")
        self._unread += data


def encode_counted(text: str) -> bytes:
    """Return a text with its length in bytes before it."""
    data = text.encode()
    return bytes((len(data),)) + data


def encode_socks_host(host: str) -> bytes:
    """Return a host as SOCKS5 writes it: its type, then the address or the name."""
    try:
        address = ip_address(host)
    except ValueError:
        return bytes((HOST_NAME,)) + encode_counted(host)
    address_type = IPV4 if address.version == 4 else IPV6
    return bytes((address_type,)) + address.packed
