"""Recognize an imported token: key, session, access token or refresh token.

A JSON Web Token says its kind and its expiry itself. Source: published clients of the sites. Kimi's
access tokens carry `app_id` "kimi" and `typ` "access", its refresh tokens another `typ`; K2-Think's
sessions carry `id` and `exp` alone.
"""

from datetime import datetime
from typing import NamedTuple

from providers.upstream.base_adapter import BaseAdapter
from providers.wire import jwt
from tokens.models import Kind


class RecognizedCredential(NamedTuple):
    kind: Kind
    expires_at: datetime | None = None


def recognize_credential(token: str, adapter: type[BaseAdapter]) -> RecognizedCredential:
    """Return the kind of `token` for an upstream of this adapter, and its expiry if known."""
    claims = jwt.read_claims(token)
    if claims is None:
        return RecognizedCredential(Kind.KEY)
    expires_at = jwt.read_expiry(token)
    if claims.get("app_id") == "kimi" and claims.get("typ") == "access":
        return RecognizedCredential(Kind.ACCESS, expires_at)
    if adapter.can_refresh:
        # its expiry is not that of the access token that it brings
        return RecognizedCredential(Kind.REFRESH)
    if claims.keys() <= {"id", "exp"} and "id" in claims:
        return RecognizedCredential(Kind.SESSION, expires_at)
    return RecognizedCredential(Kind.KEY, expires_at)
