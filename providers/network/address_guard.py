"""Decide which addresses an upstream may have: the only guard against server-side request forgery.

It works when a provider is saved and again when a connection is made. A base URL is parsed by the
parser that connects (httpx.URL); an address is checked after its name was resolved, and the
connection goes to that very address.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import httpx
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from providers.exceptions import Unreachable
from providers.network import name_lookup

PRIVATE_TEXT = "The upstream's address is private and the provider does not allow that."
ALLOW_HINT = gettext_noop("tick “allow private” (--allow-private)")
# addresses of single endpoints, which people paste in place of the base URL; longer ones first
ENDPOINT_ENDINGS = (
    "/chat/completions",
    "/completions",
    "/embeddings",
    "/responses",
    "/messages",
    "/models",
)
# Python's ipaddress calls these global, but they lead to other networks
TUNNEL_NETWORKS = [
    ip_network(text)
    for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "::/96", "fec0::/10")
]


def is_public_address(address: str) -> bool:
    """Return whether `address` (text of an IPv4 or IPv6 address) is an ordinary internet host."""
    parsed: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        elif any(parsed in network for network in TUNNEL_NETWORKS):
            return False
    return parsed.is_global and not parsed.is_multicast and not parsed.is_reserved


async def find_allowed_addresses(host: str, allow_private: bool) -> list[str]:
    """Look up the addresses of `host`, and return those that may be connected to.

    Raises Unreachable when the name does not resolve or no address is allowed.
    """
    addresses = await name_lookup.resolver.find_addresses(host)
    allowed = [address for address in addresses if allow_private or is_public_address(address)]
    if not allowed:
        raise Unreachable(PRIVATE_TEXT)
    return allowed


def find_base_url_problem(text: str, allow_private: bool) -> str | None:
    """Return the fault in a base URL, as a sentence for the person who typed it, or None."""
    try:
        url = httpx.URL(text)
        host = url.host
        port = url.port
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        return _("Not a URL: %(error)s.") % {"error": str(error).rstrip(".")}
    if port is not None and not 0 < port < 65_536:
        return _("The port is a number from 1 to 65535.")
    if url.scheme not in ("http", "https") or not host:
        text = _("Give an address that begins with https:// (or http://, then %(hint)s).")
        return text % {"hint": _(ALLOW_HINT)}
    if url.userinfo or url.fragment or url.query or "#" in text or "?" in text or "@" in text:
        return _("A base URL has no user, query or fragment.")
    if (
        text != text.strip()
        or not text.isascii()
        or not text.isprintable()
        or "\\" in text
        or " " in text
    ):
        return _("A base URL is plain ASCII without spaces or backslashes.")
    if "" in host.split(".") or "%" in host:
        return _("The host name is not in its plain form.")
    for ending in ENDPOINT_ENDINGS:
        if url.path.rstrip("/").endswith(ending):
            text = _("Leave %(ending)s out: a base URL is what stands before it.")
            return text % {"ending": ending}
    if allow_private:
        return None
    problem = _find_host_problem(host)
    if problem is None and url.scheme != "https":
        return _(
            "Over plain http everybody on the way can read the token: use https, or allow "
            "private addresses (only for a host of your own)."
        )
    return problem


def has_private_name(host: str) -> bool:
    """Return whether a host's name is of a private network, whatever it resolves to."""
    return host == "localhost" or host.endswith((".localhost", ".local", ".internal"))


def _find_host_problem(host: str) -> str | None:
    """Return the fault in the host of a provider that must be public, or None."""
    if has_private_name(host):
        return _("This host is private: %(hint)s if that is meant.") % {"hint": _(ALLOW_HINT)}
    try:
        is_public = is_public_address(host)
    except ValueError:
        # a last label of digits or 0x… is another spelling of an IPv4 address
        last_label = host.rsplit(".", 1)[-1]
        if last_label.isdigit() or last_label.lower().startswith("0x"):
            return _("Write the address in its plain form.")
        return None
    if not is_public:
        return _("This address is private: %(hint)s if that is meant.") % {"hint": _(ALLOW_HINT)}
    return None
