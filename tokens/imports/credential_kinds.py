"""What an imported text is: a key, a session, an access token, a refresh token, or an account with
its password.

A JSON Web Token says what it is and when it ends. Read of published clients of the sites: Kimi's
access tokens carry `app_id` "kimi" and `typ` "access", its refresh tokens another `typ`; K2-Think's
sessions carry `id` and `exp` alone.
"""

import re
from datetime import datetime
from typing import NamedTuple

from providers.upstream.base_adapter import BaseAdapter
from providers.wire import jwt
from tokens.models import Kind

# bounded, as addresses are, so that no line takes long
ACCOUNT = re.compile(
    r"(?P<email>[^\s:@]{1,64}@[^\s:@]{1,188}\.[^\s:@-]{1,63})(?:----|:)(?P<password>.+)"
)


class Reading(NamedTuple):
    kind: Kind
    expires_at: datetime | None = None


class Login(NamedTuple):
    email: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.email})"


def read(token: str, adapter: type[BaseAdapter]) -> Reading:
    """What `token` is for an upstream of this adapter."""
    claims = jwt.claims(token)
    if claims is None:
        return Reading(Kind.KEY)
    ends = jwt.expires_at(token)
    if claims.get("app_id") == "kimi" and claims.get("typ") == "access":
        return Reading(Kind.ACCESS, ends)
    if adapter.refreshes:
        return Reading(Kind.REFRESH)  # its end is not that of the access that comes of it
    if claims.keys() <= {"id", "exp"} and "id" in claims:
        return Reading(Kind.SESSION, ends)
    return Reading(Kind.KEY, ends)


def login(line: str) -> Login | None:
    """`email:password` or `email----password`; None for anything else."""
    found = ACCOUNT.fullmatch(line)
    return Login(found["email"].lower(), found["password"]) if found else None
