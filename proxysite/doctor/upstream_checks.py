"""Check the providers: their tokens, and the way to them with its certificate."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from providers.exceptions import GatewayError
from providers.models import Provider
from providers.network.reachability import look_up_origin, negotiate_tls, open_socket
from providers.network.target import Origin
from proxysite.doctor.findings import OK, PROBLEM, WARNING, Finding
from tokens.models import UpstreamToken

CERTIFICATE_DAYS = 14  # a certificate that ends sooner is a warning


def check_tokens() -> Iterator[Finding]:
    """Yield for each provider how many of its tokens can be used."""
    providers = list(Provider.objects.filter(enabled=True).order_by("name"))
    if not providers:
        yield Finding("providers", WARNING, "There is none.", "Add one: manage.py add_provider")
    for provider in providers:
        subject = f"tokens of {provider.name}"
        tokens = UpstreamToken.objects.filter(provider=provider)
        counts = tokens.count_by_activity()
        text = f"{counts['active']} of {counts['total']} can be used"
        if not counts["total"] and (not provider.needs_token or provider.mode == "guest"):
            yield Finding(subject, OK, "it needs none")
        elif counts["active"] or not provider.needs_token or provider.mode == "guest":
            yield Finding(subject, OK, text)
        elif counts["total"]:
            yield Finding(
                subject, PROBLEM, f"{text}.", f"manage.py list_tokens {provider.name} says why."
            )
        else:
            yield Finding(
                subject, WARNING, "It has none.", f"manage.py import_tokens {provider.name} FILE"
            )


def check_reachability() -> Iterator[Finding]:
    """Yield for each address of a provider whether it can be reached. Asks the network.

    Providers behind a proxy are left out: the proxy connects to them.
    """
    origins = {
        Origin.from_base_url(provider.base_url, provider.allow_private)
        for provider in Provider.objects.filter(enabled=True, proxy_url="").exclude(base_url="")
    }
    for origin in sorted(origins, key=lambda origin: (origin.host, origin.port)):
        yield asyncio.run(reach_origin(origin))


async def reach_origin(origin: Origin) -> Finding:
    """Connect to a host, and return how that went; the connection is closed at once."""
    subject = f"way to {origin.host}"
    try:
        addresses = await look_up_origin(origin)
        address, _reader, writer = await open_socket(origin, addresses)
        try:
            if origin.scheme != "https":
                return Finding(subject, OK, f"{address} accepts connections")
            facts = await negotiate_tls(origin, writer)
        finally:
            writer.close()
    except GatewayError as error:
        return Finding(
            subject, PROBLEM, str(error), "manage.py test_provider shows the single steps."
        )
    left = facts.ends_at - datetime.now(UTC) if facts.ends_at else timedelta.max
    if left < timedelta(days=CERTIFICATE_DAYS):
        return Finding(
            subject,
            WARNING,
            f"Its certificate ends in {left.days} days.",
            "Tell whoever runs the upstream.",
        )
    return Finding(subject, OK, f"{facts.version}, the certificate of {facts.issuer} is valid")
