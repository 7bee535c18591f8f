"""Read the claims of JSON Web Tokens. No I/O.

The signature is not checked: only the issuer can do that. Source: RFC 7519 (`exp`: seconds since
1970, whole or not) and RFC 7515 (three parts of base64url, joined by dots).
"""

from base64 import urlsafe_b64decode
from datetime import UTC, datetime
from typing import Any

from providers.wire.json_reader import read_json

MOST_TOKEN_CHARS = 16_384  # most characters of a token that is read; web sessions have some hundred


def read_claims(token: str) -> dict[str, Any] | None:
    """Return the payload; None if it is not a JWT or is longer than LONGEST."""
    if len(token) > MOST_TOKEN_CHARS or token.count(".") != 2:
        return None
    payload = token.split(".")[1].rstrip("=")
    try:
        said = read_json(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def read_expiry(token: str) -> datetime | None:
    """Return the expiry that the token states; None if it states none or is not a JWT."""
    ends = (read_claims(token) or {}).get("exp")
    if isinstance(ends, bool) or not isinstance(ends, int | float) or ends <= 0:
        return None
    try:
        return datetime.fromtimestamp(ends, UTC)
    except (ValueError, OverflowError, OSError):
        return None
