"""An outbound proxy: a server through which upstreams are reached, and its URL.

`http://` and `https://` proxies are asked for a tunnel with CONNECT, `socks5://` ones as RFC 1928
says. Names of upstreams are looked up by the proxy. The proxy's own address is the operator's word:
it may be private.
"""

from dataclasses import dataclass, field

import httpx
from django.conf import settings

DIRECT = "direct"  # in a provider's row: no proxy, whatever the setting PROXY_URL says
SCHEMES = ("http", "https", "socks5", "socks5h")
DEFAULT_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
HIGHEST_PORT = 65_535
SOCKS_NAME_BYTES = 255  # RFC 1929: of a user name and of a password


@dataclass(frozen=True, slots=True)
class OutboundProxy:
    """The address of a proxy, and the credentials that it asks for."""

    scheme: str
    host: str
    port: int
    username: str = ""
    password: str = field(default="", repr=False)

    @property
    def is_socks(self) -> bool:
        return self.scheme.startswith("socks")


def find_default_proxy(allow_private: bool) -> OutboundProxy | None:
    """Return the proxy of the setting PROXY_URL; None for upstreams that may be on this network."""
    if allow_private or not settings.PROXY_URL:
        return None
    return parse_proxy_url(settings.PROXY_URL)


def parse_proxy_url(text: str, password: str = "") -> OutboundProxy:
    """Return the proxy of a URL; `password` is used where the URL has none.

    Raises ValueError with a sentence that does not repeat the URL.
    """
    try:
        url = httpx.URL(text)
        scheme, host, port = url.scheme, url.host, url.port
    except (httpx.InvalidURL, ValueError, TypeError):
        raise ValueError("The proxy's address is not a URL.") from None
    has_more = url.path not in ("", "/") or bool(url.query)
    if scheme not in SCHEMES or not host or has_more or (port or 1) > HIGHEST_PORT:
        schemes = ", ".join(f"{name}://" for name in SCHEMES)
        raise ValueError(f"A proxy's address is a host and a port behind one of {schemes}.")
    proxy = OutboundProxy(
        scheme, host, port or DEFAULT_PORTS[scheme], url.username, url.password or password
    )
    credentials = (proxy.username.encode(), proxy.password.encode())
    if proxy.is_socks and max(map(len, credentials)) > SOCKS_NAME_BYTES:
        raise ValueError(f"The proxy's name and password have at most {SOCKS_NAME_BYTES} bytes.")
    return proxy


def insert_password(text: str, password: str) -> str:
    """Return a proxy's URL with this password."""
    url = httpx.URL(text)
    return str(url.copy_with(username=url.username, password=password))


def split_password(text: str) -> tuple[str, str]:
    """Return a proxy's URL without its password, and the password.

    Raises ValueError with a sentence that does not repeat the URL.
    """
    password = parse_proxy_url(text).password
    if not password:
        return text, ""
    url = httpx.URL(text)
    return str(url.copy_with(username=url.username, password=None)), password
