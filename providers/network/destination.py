"""Find the origin that a provider's credentials go to, and check that a person has confirmed it.

A provider whose address was changed is *set aside* while it has credentials: nobody calls it, with
any credential, until a person who may change tokens confirms that they may be sent to the new
address. Otherwise anyone who may edit a provider could read all its tokens by entering the address
of a server of their own.
"""

from typing import TYPE_CHECKING

import httpx

from providers import registry
from providers.network.target import DEFAULT_PORTS, bracket_ipv6

if TYPE_CHECKING:
    from providers.models import Provider


def find_origin(base_url: str) -> str:
    """Return `scheme://host:port` of a base URL, always with the port.

    Returns the text itself where it is not a URL.
    """
    try:
        url = httpx.URL(base_url)
        port = url.port or DEFAULT_PORTS.get(url.scheme)
    except (httpx.InvalidURL, ValueError, TypeError):
        return base_url
    if not url.host:
        return base_url
    return f"{url.scheme}://{bracket_ipv6(url.host)}:{port}"


def destination(kind: str, base_url: str) -> str:
    """Return the origin that credentials are sent to; empty where the adapter sends nothing."""
    if kind in registry.list_adapter_kinds() and not registry.get_adapter_class(kind).has_url:
        return ""
    return find_origin(base_url)


def render_origin(origin: str) -> str:
    """Return an origin for people: `https://` and port 443 are left out, because they are usual."""
    if not origin.endswith(":443"):
        return origin
    return origin.removeprefix("https://").removesuffix(":443")


def find_destination_problem(provider: "Provider") -> str:
    """Return why the provider is set aside, as one sentence for the staff; empty when it is not."""
    now = provider.destination
    if not now or now == provider.confirmed_destination:
        return ""
    before = render_origin(provider.confirmed_destination) or "nowhere"
    return (
        f"The provider's address changed from {before} to {render_origin(now)}: confirm that its "
        "tokens may be sent there."
    )
