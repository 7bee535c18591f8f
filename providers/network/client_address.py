"""Find the caller's address, also behind proxies that the operator trusts.

Anybody can write `X-Forwarded-For`, so it counts only as far as each hop is one of TRUSTED_PROXIES:
read from the right, the first address that is not one of them is the caller.
"""

import logging
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from django.conf import settings
from django.http import HttpRequest

logger = logging.getLogger(__name__)
IPV6_PREFIX = 64  # bits of the smallest IPv6 network that one customer gets
Address = IPv4Address | IPv6Address
_has_warned = False


def parse_hop_address(text: str) -> Address | None:
    """Return the address that a hop names, with or without a port; None where it names none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def is_trusted_proxy(address: Address) -> bool:
    return any(address in network for network in settings.TRUSTED_PROXIES)


def find_caller_address(request: HttpRequest) -> Address | None:
    """Return the address that sent the request; None where the server does not know it."""
    address = parse_hop_address(request.META.get("REMOTE_ADDR") or "")
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    if forwarded and address is not None and not is_trusted_proxy(address):
        warn_of_untrusted_proxy(address)
    for hop in reversed(forwarded.split(",")):
        if address is None or not is_trusted_proxy(address):
            break
        hop_address = parse_hop_address(hop)
        if hop_address is None:
            break
        address = hop_address
    return address


def warn_of_untrusted_proxy(peer: Address) -> None:
    """Log once per process that an untrusted proxy seems to stand in front of the gateway.

    Only a private address is reported. Until it is trusted, all its callers count as one address.
    """
    global _has_warned
    if not _has_warned and peer.is_private:
        _has_warned = True
        text = (
            "X-Forwarded-For from %s is not believed: if that is your proxy, name it in "
            "TRUSTED_PROXIES"
        )
        logger.warning(text, peer)


def render_caller_address(request: HttpRequest) -> str:
    """Return the caller's address as text, for logs; `unknown` where there is none."""
    return str(find_caller_address(request) or "unknown")


def counted_address(request: HttpRequest) -> str | None:
    """Return the address under which failures are counted, or None.

    For IPv6 it is the network of the first IPV6_PREFIX bits, because one customer has all of it.
    """
    address = find_caller_address(request)
    if address is None:
        return None
    if isinstance(address, IPv6Address):
        address = IPv6Network((address, IPV6_PREFIX), strict=False).network_address
    return str(address)
