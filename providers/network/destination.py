"""Where a provider's credentials go: the origin of its address, and whether a person has agreed to
that origin.

A provider whose address was changed is *set aside* while it has credentials: it is not asked, by
anybody or with anything, until a person who may change tokens confirms that they may be sent to the
new address. Otherwise whoever may edit a provider could read every token of it, by naming a server
of their own.
"""

from typing import TYPE_CHECKING

import httpx

from providers import registry

if TYPE_CHECKING:
    from providers.models import Provider

DEFAULT_PORTS = {"http": 80, "https": 443}


def origin(base_url: str) -> str:
    """Return `scheme://host:port` of a base URL, the port always written; the text itself where it
    is no URL.
    """
    try:
        url = httpx.URL(base_url)
        port = url.port or DEFAULT_PORTS.get(url.scheme)
    except (httpx.InvalidURL, ValueError, TypeError):
        return base_url
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{url.scheme}://{host}:{port}" if host else base_url


def destination(kind: str, base_url: str) -> str:
    """Return the origin that credentials are sent to; empty where the adapter sends nothing
    anywhere.
    """
    if kind in registry.kinds() and not registry.adapter_class(kind).has_url:
        return ""
    return origin(base_url)


def readable(origin: str) -> str:
    """Return an origin as a person writes it: without the scheme and port that everybody
    assumes.
    """
    return (
        origin.removeprefix("https://").removesuffix(":443") if origin.endswith(":443") else origin
    )


def problem(provider: "Provider") -> str:
    """Return why the provider is set aside, as one sentence for the staff; empty when it is not."""
    now = provider.destination
    if not now or now == provider.confirmed_destination:
        return ""
    before = readable(provider.confirmed_destination) or "nowhere"
    return (
        f"The provider's address changed from {before} to {readable(now)}: confirm that its "
        "tokens may be sent there."
    )
