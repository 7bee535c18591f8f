"""Read the claims of JSON Web Tokens. No I/O.

The signature is not checked: only the issuer can do that. Source: RFC 7519 (`exp`: seconds since
1970, whole or not) and RFC 7515 (three parts of base64url, joined by dots).
"""

from base64 import urlsafe_b64decode
from datetime import UTC, datetime

from providers.protocol.json_types import JsonObject
from providers.wire.json_reader import read_json

MOST_TOKEN_CHARS = 16_384  # most characters of a token that is read; web sessions have some hundred


def read_claims(token: str) -> JsonObject | None:
    """Return the payload; None if it is not a JWT or is longer than MOST_TOKEN_CHARS."""
    if len(token) > MOST_TOKEN_CHARS or token.count(".") != 2:
        return None
    payload = token.split(".")[1].rstrip("=")
    try:
        claims = read_json(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return None
    return claims if isinstance(claims, dict) else None


def read_expiry(token: str) -> datetime | None:
    """Return the expiry that the token states; None if it states none or is not a JWT."""
    expiry_seconds = (read_claims(token) or {}).get("exp")
    if isinstance(expiry_seconds, bool) or not isinstance(expiry_seconds, int | float):
        return None
    if expiry_seconds <= 0:
        return None
    try:
        return datetime.fromtimestamp(expiry_seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
