"""The credential of a request's headers, and the caller to whom it belongs."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from api import keys
from api.authentication.caller import Caller
from api.limits.caller_limits import load_caller_limits
from api.models import ApiKey
from api.shared_keys import PUBLISHED_KEYS
from providers.exceptions import MISSING_KEY_TEXT, InvalidKey, InvalidRequest
from providers.fast_settings import settings

INVALID_KEY_TEXT = "The API key is not valid."  # one text for unknown, revoked and expired
KEY_LENGTH = 512
ALL_TOKENS_LENGTH = 32_768  # of all tokens that a caller brings, together
TOKEN_LENGTH = 4_096  # of one of them
BEARER_HEADER = "HTTP_AUTHORIZATION"
# headers with nothing but a key; clients of Azure's OpenAI send the second
BARE_KEY_HEADERS = ("HTTP_X_API_KEY", "HTTP_API_KEY")
CALLER_COLUMNS = (
    "pk",
    "user_id",
    "allowed_models",
    "expires_at",
    "stores_content",
    "remembers_sessions",
    "default_model",
    "prefix",
    "user__username",
    "user__team_membership__team_id",
)


def has_credential(meta: Mapping[str, Any]) -> bool:
    """Return whether a request's headers carry a credential, be it valid or not."""
    return BEARER_HEADER in meta or any(name in meta for name in BARE_KEY_HEADERS)


def read_credential(meta: Mapping[str, Any]) -> str:
    """Return the one credential of a request's headers.

    Raises InvalidKey; InvalidRequest when there are two different ones.
    """
    key = read_bearer(meta)
    for name in BARE_KEY_HEADERS:
        bare_key: str = meta.get(name) or ""
        if key and bare_key and key != bare_key:
            raise InvalidRequest(
                "The request carries two different API keys.", code="ambiguous_credentials"
            )
        key = key or bare_key
    if not key:
        raise InvalidKey(MISSING_KEY_TEXT)
    most_chars = ALL_TOKENS_LENGTH if settings.PASSTHROUGH_PROVIDER else KEY_LENGTH
    if len(key) > most_chars or not key.isascii() or not key.isprintable():
        raise InvalidKey(INVALID_KEY_TEXT)
    return key


def read_bearer(meta: Mapping[str, Any]) -> str:
    """Return the key of the Authorization header, or an empty string when there is no header.

    Raises InvalidKey when the header has another form.
    """
    authorization = meta.get(BEARER_HEADER)
    if authorization is None:
        return ""
    scheme, _, bearer = authorization.partition(" ")
    bearer = bearer.strip()
    if scheme.lower() != "bearer" or not bearer:
        raise InvalidKey("Give the API key as “Authorization: Bearer KEY”.")
    return str(bearer)


def load_caller(digest: str) -> Caller | None:
    """Return the caller whose key has this digest, or None.

    One indexed query finds the key, a second one the limits.
    """
    row = ApiKey.objects.filter_valid().filter(digest=digest).values(*CALLER_COLUMNS).first()
    if row is None:
        return None
    expires_at = row["expires_at"]
    team_id = row["user__team_membership__team_id"]
    return Caller(
        row["pk"],
        row["user_id"],
        frozenset(row["allowed_models"]),
        expires_at.timestamp() if expires_at else float("inf"),
        can_store=row["stores_content"],
        remembers_sessions=row["remembers_sessions"],
        default_model=row["default_model"],
        team_id=team_id,
        limits=load_caller_limits(
            row["pk"], row["user_id"], row["prefix"], row["user__username"], team_id
        ),
    )


def has_known_digest(digests: Iterable[str]) -> bool:
    """Return whether one of these digests was ever that of a key here.

    Such a key is never sent to an upstream, even if it is revoked or expired.
    """
    return ApiKey.objects.filter(digest__in=list(digests)).exists()


def make_passthrough_caller(key: str) -> Caller:
    """Return the caller who brings tokens instead of a key; runs in a database thread.

    Raises InvalidKey.
    """
    tokens = tuple(filter(None, map(str.strip, key.split(","))))
    if not PUBLISHED_KEYS.isdisjoint(tokens):  # a program's default, and never a token
        raise InvalidKey(INVALID_KEY_TEXT)
    if not settings.PASSTHROUGH_PROVIDER or not tokens or len(max(tokens, key=len)) > TOKEN_LENGTH:
        raise InvalidKey(INVALID_KEY_TEXT)
    words = re.split(r"[^\w.-]+", key, flags=re.ASCII)  # finds a key in quotes or behind a word
    digests = map(keys.digest_key, {*tokens, *words})
    if keys.KEY_PREFIX in key.lower() or has_known_digest(digests):
        raise InvalidKey(INVALID_KEY_TEXT)
    return Caller(
        key_id=None,
        user_id=None,
        allowed_models=frozenset(),
        expires_timestamp=float("inf"),
        provider=settings.PASSTHROUGH_PROVIDER,
        can_store=False,
        tokens=tokens,
    )
