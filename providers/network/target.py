"""The address of a request to an upstream: its origin, the head of the request, its time limits."""

from dataclasses import dataclass, replace

import httpx

from providers.exceptions import BadResponse
from providers.network.proxies.outbound_proxy import OutboundProxy

JSON_TYPE_LINE = b"Content-Type: application/json\r\n"
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits in seconds.

    `connect`: to connect. `first_byte`: to the first byte of the answer. `gap`: between two pieces
    of a stream. `tail`: for anything after the finish reason. `total`: for the whole request.
    """

    connect: float
    first_byte: float
    gap: float
    tail: float
    total: float


@dataclass(frozen=True, slots=True)
class Origin:
    """The target of connections: all requests of one origin share its idle connections."""

    scheme: str
    host: str
    port: int
    allow_private: bool

    @classmethod
    def from_base_url(cls, base_url: str, allow_private: bool) -> "Origin":
        url = httpx.URL(base_url)
        port = url.port or DEFAULT_PORTS.get(url.scheme, 80)
        return cls(url.scheme, url.host, port, allow_private)

    @property
    def authority(self) -> str:
        """Return the host as the `Host` header names it: with the port unless that is usual."""
        host = bracket_ipv6(self.host)
        if self.port == DEFAULT_PORTS.get(self.scheme):
            return host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ProxiedOrigin(Origin):
    """An origin that is reached through an outbound proxy; it shares no connections with others."""

    proxy: OutboundProxy


@dataclass(frozen=True, slots=True)
class Target:
    """One URL to call, with its timeouts.

    `head` is the constant part of the request's head, without the method.
    """

    origin: Origin
    timeouts: Timeouts
    head: bytes

    @classmethod
    def from_base_url(
        cls,
        base_url: str,
        path: str,
        allow_private: bool,
        timeouts: Timeouts,
        content_type: str = "application/json",
    ) -> "Target":
        """Make a target of a base URL and a path, percent-encoded where needed.

        Raises BadResponse on an invalid address, because an upstream may have given it.
        """
        try:
            origin = Origin.from_base_url(base_url, allow_private)
            raw_path = httpx.URL(f"{base_url.rstrip('/')}/{path}").raw_path.decode("ascii")
        except (httpx.InvalidURL, UnicodeError) as error:
            raise BadResponse("The upstream has no usable address.") from error
        lines = (
            f"{raw_path} HTTP/1.1\r\nHost: {origin.authority}\r\n"
            f"Content-Type: {content_type}\r\nAccept-Encoding: identity\r\n"
        )
        return cls(origin, timeouts, lines.encode("ascii"))

    def with_content_type(self, content_type: str) -> "Target":
        """Return the same target for a body of another type than JSON."""
        line = f"Content-Type: {content_type}\r\n".encode("ascii")
        return replace(self, head=self.head.replace(JSON_TYPE_LINE, line, 1))

    def through_proxy(self, proxy: OutboundProxy) -> "Target":
        """Return the same target, reached through this proxy."""
        origin = self.origin
        proxied_origin = ProxiedOrigin(
            origin.scheme, origin.host, origin.port, origin.allow_private, proxy
        )
        return replace(self, origin=proxied_origin)


def bracket_ipv6(host: str) -> str:
    """Return a host as a URL writes it: an IPv6 address stands in brackets."""
    return f"[{host}]" if ":" in host else host
