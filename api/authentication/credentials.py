"""The credential of a request's headers, and the caller to whom it belongs."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from api import keys
from api.authentication.caller import Caller
from api.models import ApiKey
from providers.exceptions import InvalidKey, InvalidRequest
from providers.fast_settings import settings

INVALID_KEY_TEXT = "The API key is not valid."  # one text for unknown, revoked and expired
KEY_LENGTH = 512
ALL_TOKENS_LENGTH = 32_768  # of all tokens that a caller brings, together
TOKEN_LENGTH = 4_096  # of one of them
CALLER_COLUMNS = (
    "pk",
    "user_id",
    "allowed_models",
    "expires_at",
    "stores_content",
    "remembers_sessions",
    "default_model",
)


def read_credential(meta: Mapping[str, Any]) -> str:
    """Return the one credential of a request's headers.

    Raises InvalidKey; InvalidRequest when there are two different ones.
    """
    bearer = read_bearer(meta)
    header: str = meta.get("HTTP_X_API_KEY") or ""
    if bearer and header and bearer != header:
        raise InvalidRequest(
            "The request carries two different API keys.", code="ambiguous_credentials"
        )
    key = bearer or header
    if not key:
        raise InvalidKey("The request carries no API key: give it as “Authorization: Bearer KEY”.")
    most_chars = ALL_TOKENS_LENGTH if settings.PASSTHROUGH_PROVIDER else KEY_LENGTH
    if len(key) > most_chars or not key.isascii() or not key.isprintable():
        raise InvalidKey(INVALID_KEY_TEXT)
    return key


def read_bearer(meta: Mapping[str, Any]) -> str:
    """Return the key of the Authorization header, or an empty string when there is no header.

    Raises InvalidKey when the header has another form.
    """
    authorization = meta.get("HTTP_AUTHORIZATION")
    if authorization is None:
        return ""
    scheme, _, bearer = authorization.partition(" ")
    bearer = bearer.strip()
    if scheme.lower() != "bearer" or not bearer:
        raise InvalidKey("Give the API key as “Authorization: Bearer KEY”.")
    return str(bearer)


def load_caller(digest: str) -> Caller | None:
    """Return the caller whose key has this digest, or None; one indexed query."""
    row = ApiKey.objects.filter_valid().filter(digest=digest).values_list(*CALLER_COLUMNS).first()
    if row is None:
        return None
    key_id, user_id, models, expires_at, stores_content, remembers_sessions, default_model = row
    expires_timestamp = expires_at.timestamp() if expires_at else float("inf")
    return Caller(
        key_id,
        user_id,
        frozenset(models),
        expires_timestamp,
        can_store=stores_content,
        remembers_sessions=remembers_sessions,
        default_model=default_model,
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
