"""Reach the host of an upstream step by step, so that a person sees at which step it fails.

The guard of addresses holds here as well. A connection that is made for the test is closed at once.
"""

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from providers.exceptions import Unreachable
from providers.network.address_guard import find_allowed_addresses
from providers.network.target import Origin
from providers.network.tls import make_tls_context, make_tls_error

CONNECT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """The version of TLS, who issued the upstream's certificate, and when it ends."""

    version: str
    issuer: str
    ends_at: datetime | None


async def look_up_origin(origin: Origin) -> list[str]:
    """Return the addresses of the host that may be connected to. Raises Unreachable."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await find_allowed_addresses(origin.host, origin.allow_private)
    except TimeoutError:
        raise Unreachable("The name server does not answer.") from None


async def open_socket(
    origin: Origin, addresses: list[str]
) -> tuple[str, asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first address that accepts. Raises Unreachable with the last problem."""
    problem = "No address."
    for address in addresses:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                return address, *await asyncio.open_connection(address, origin.port)
        except TimeoutError:
            problem = f"{address} port {origin.port} does not answer."
        except OSError as error:
            problem = f"{address} port {origin.port}: {error.strerror or error}."
    raise Unreachable(problem)


async def negotiate_tls(origin: Origin, writer: asyncio.StreamWriter) -> TlsFacts:
    """Negotiate TLS, with the upstream's certificate verified. Raises BadTls, Unreachable."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await writer.start_tls(make_tls_context(), server_hostname=origin.host)
    except ssl.SSLError as error:
        raise make_tls_error(error) from None
    except TimeoutError:
        raise Unreachable("The upstream does not answer the TLS handshake.") from None
    except OSError as error:
        raise Unreachable(f"The TLS handshake failed: {error.strerror or error}.") from None
    return read_tls_facts(writer.get_extra_info("ssl_object"))


def read_tls_facts(connection: ssl.SSLObject) -> TlsFacts:
    certificate = connection.getpeercert() or {}
    names = read_names(certificate.get("issuer", ()))
    ends_at = None
    if isinstance(end := certificate.get("notAfter"), str):
        ends_at = datetime.fromtimestamp(ssl.cert_time_to_seconds(end), UTC)
    issuer = names.get("organizationName") or names.get("commonName") or ""
    return TlsFacts(connection.version() or "", issuer, ends_at)


def read_names(parts: Any) -> dict[str, str]:
    """Return the names of a certificate's subject or issuer, as `getpeercert` has them."""
    return {str(name): str(value) for pairs in parts for name, value in pairs}
