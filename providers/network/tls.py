"""TLS with upstreams: always verified, and its failures explained."""

import ssl

from providers.exceptions import BadTls


def make_tls_context() -> ssl.SSLContext:
    """Return a context for verified TLS 1.2 or newer; nothing turns verification off."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context


def make_tls_error(error: ssl.SSLError) -> BadTls:
    """Return the error to raise for a failed handshake."""
    reason = getattr(error, "verify_message", "") or error.reason or "handshake failed"
    return BadTls(f"TLS with the upstream failed: {reason}.")
