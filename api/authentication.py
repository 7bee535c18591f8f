"""Authentication: the credential of a request becomes a Caller, for lean views and DRF views.

`Keyring` is the cache of the relaying endpoints, from digest to Caller. A miss costs one indexed
query, shared by all requests that ask at the same time. Only those keys are dropped from it that
changed, were deleted, or whose user was switched on or off. With PASSTHROUGH_PROVIDER, a bearer
that is no key of ours is taken as tokens of that provider, separated by commas. They are used for
this request and stored nowhere.
"""

import asyncio
import hmac
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, cast

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.http import HttpRequest
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from api import keys
from api.models import ApiKey
from providers.database.changed_rows import Changes, read_changes
from providers.database.database_threads import QUICK, await_in_time
from providers.exceptions import Forbidden, InvalidKey, InvalidRequest
from providers.fast_settings import settings

INVALID_KEY_TEXT = "The API key is not valid."  # one text for unknown, revoked and expired
KEY_LENGTH = 512
ALL_TOKENS_LENGTH = 32_768  # of all tokens that a caller brings, together
TOKEN_LENGTH = 4_096  # of one of them
# fields with which a caller chooses other models or services at the upstream: OpenRouter's,
# LiteLLM's, Vercel's
UPSTREAM_CHOICE_FIELDS = frozenset(
    """
    models provider route plugins transforms preset fallbacks context_window_fallbacks
    content_policy_fallbacks deployment_id model_list providerOptions provider_options
    """.split()
)
LAST_USE_STEP_SECONDS = 60  # the last use is written at most once in that time
LAST_USE_SQLITE = "UPDATE api_apikey SET last_used_at = %s WHERE id = %s"
LAST_USE_POSTGRES = """
    WITH used AS (SELECT * FROM unnest(%s::bigint[], %s::timestamptz[]) AS u (id, at)),
    free AS (
        SELECT id FROM api_apikey WHERE id = ANY(%s::bigint[])
        ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE api_apikey AS key SET last_used_at = greatest(key.last_used_at, used.at)
    FROM used JOIN free USING (id) WHERE key.id = used.id
"""


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of a valid API key, or an unknown caller who brings tokens of `provider`.

    `expires_timestamp` is a UNIX time.
    """

    key_id: int | None
    user_id: int | None
    allowed_models: frozenset[str]
    expires_timestamp: float
    provider: str = ""
    can_store: bool = True  # content may be stored
    tokens: tuple[str, ...] = field(default=(), repr=False)

    def can_use_model(self, name: str, public_id: str) -> bool:
        """Return whether the key may use the model.

        `name` is the caller's name for it: its public id or an alias of it.
        """
        return (
            not self.allowed_models
            or public_id in self.allowed_models
            or name in self.allowed_models
        )

    def require_model(self, name: str, public_id: str) -> None:
        """Raise Forbidden unless the key may use the model."""
        if not self.can_use_model(name, public_id):
            raise Forbidden(f"This API key may not use the model {name!r}.", param="model")

    def reject_model_choice(self, body: Mapping[str, Any]) -> None:
        """Raise InvalidRequest when a limited key's body may make the upstream use another model.

        Such fields name the upstream's own models and services, which the key's list does not
        cover.
        """
        if self.allowed_models and not UPSTREAM_CHOICE_FIELDS.isdisjoint(body):
            field = min(UPSTREAM_CHOICE_FIELDS & body.keys())
            why = (
                f"This API key is limited to certain models, so {field!r}, which may choose "
                "others, is not accepted."
            )
            raise InvalidRequest(why, param=field, code="unsupported_parameter")

    def require_storing(self) -> None:
        """Raise Forbidden unless content that is sent with the key may be stored."""
        if not self.can_store or self.user_id is None:
            raise Forbidden(
                "Nothing that is said with this API key is kept.", code="storage_disabled"
            )


def read_credential(meta: dict[str, Any]) -> str:
    """Return the one credential of a request's headers.

    Raises InvalidKey; InvalidRequest when there are two different ones.
    """
    authorization = meta.get("HTTP_AUTHORIZATION")
    header = meta.get("HTTP_X_API_KEY")
    bearer = None
    if authorization is not None:
        scheme, _, bearer = authorization.partition(" ")
        bearer = bearer.strip()
        if scheme.lower() != "bearer" or not bearer:
            raise InvalidKey("Give the API key as “Authorization: Bearer KEY”.")
    if bearer and header and bearer != header:
        raise InvalidRequest(
            "The request carries two different API keys.", code="ambiguous_credentials"
        )
    key: str | None = bearer or header
    if not key:
        raise InvalidKey("The request carries no API key: give it as “Authorization: Bearer KEY”.")
    if len(key) > (KEY_LENGTH if not settings.PASSTHROUGH_PROVIDER else ALL_TOKENS_LENGTH) or not (
        key.isascii() and key.isprintable()
    ):
        raise InvalidKey(INVALID_KEY_TEXT)
    return key


def load_caller(digest: str) -> Caller | None:
    """Return the caller whose key has this digest, or None; one indexed query."""
    row = (
        ApiKey.objects.valid()
        .filter(digest=digest)
        .values_list("pk", "user_id", "allowed_models", "expires_at", "stores_content")
        .first()
    )
    if row is None:
        return None
    key_id, user_id, models, expires_at, stores = row
    expires = expires_at.timestamp() if expires_at else float("inf")
    return Caller(key_id, user_id, frozenset(models), expires, can_store=stores)


def has_known_digest(digests: Iterable[str]) -> bool:
    """Return whether one of these digests was ever that of a key here.

    Such a key is never sent to an upstream, even if it is revoked or expired.
    """
    return ApiKey.objects.filter(digest__in=list(digests)).exists()


def make_passthrough_caller(key: str) -> Caller:
    """Return the caller who brings tokens instead of a key; runs in a database thread.

    Raises InvalidKey.
    """
    tokens = tuple(token for part in key.split(",") if (token := part.strip()))
    if not settings.PASSTHROUGH_PROVIDER or not tokens or len(max(tokens, key=len)) > TOKEN_LENGTH:
        raise InvalidKey(INVALID_KEY_TEXT)
    pieces = {
        *tokens,
        *re.split(r"[^\w.-]+", key, flags=re.ASCII),
    }  # also finds a key in quotes or behind a word
    if keys.KEY_PREFIX in key.lower() or has_known_digest(map(keys.digest_key, pieces)):
        raise InvalidKey(INVALID_KEY_TEXT)
    return Caller(
        None, None, frozenset(), float("inf"), settings.PASSTHROUGH_PROVIDER, False, tokens
    )


def read_changed_keys(known_version: int) -> Changes:
    """Return the ids of the keys that changed after `known_version`; for a database thread."""
    return read_changes("keys", ApiKey.objects.all(), ("id",), known_version)


class Keyring:
    """The cache of callers.

    `unwritten_uses` maps key ids to the times of uses that are not written yet. `version_in_force`
    is the version of the topic "keys" up to which changes are in force.
    """

    def __init__(self, most_callers: int) -> None:
        self.version_in_force = -1
        self._most_callers = most_callers
        self._callers: dict[str, Caller] = {}
        self._digests_by_key: dict[int | None, str] = {}  # key id -> digest of the cached callers
        self._running_queries: dict[str, asyncio.Future[Caller | None]] = {}
        self._generation = 0
        self._noted_uses: dict[int, float] = {}
        self.unwritten_uses: dict[int, datetime] = {}

    @cached_property
    def _hasher(self) -> hmac.HMAC:
        """Return the hasher that holds the pepper.

        Each key goes into a copy, which is cheaper than hmac.digest and keeps the GIL.
        """
        return hmac.new(f"key:{settings.KEY_PEPPER}".encode(), digestmod="sha256")

    def clear_callers(self) -> None:
        """Empty the cache, so that every key is read from the database again."""
        self._callers.clear()
        self._digests_by_key.clear()
        self._forget_queries()

    def apply_changes(self, changes: Changes) -> None:
        """Drop the keys that changed from the cache."""
        if changes.has_all_rows:
            self.clear_callers()
        else:
            for key_id in (*(row[0] for row in changes.rows), *map(int, changes.deleted_ids)):
                self._callers.pop(self._digests_by_key.pop(key_id, ""), None)
            self._forget_queries()
        self.version_in_force = changes.version

    def _forget_queries(self) -> None:
        """Forget the running queries, whose results may be from before a change.

        Their results are used once and not cached.
        """
        self._running_queries.clear()
        self._generation += 1

    async def identify_caller(self, meta: dict[str, Any]) -> Caller:
        """Return the caller of a request with these headers (Django's META).

        Raises InvalidKey, InvalidRequest, DatabaseUnavailable.
        """
        key = read_credential(meta)
        hasher = self._hasher.copy()
        hasher.update(key.encode())
        digest = hasher.hexdigest()
        caller = self._callers.get(digest) or await self._query_caller(digest)
        now = time.time()
        if caller is None:
            if not settings.PASSTHROUGH_PROVIDER:
                raise InvalidKey(INVALID_KEY_TEXT)
            return await await_in_time(QUICK.run_work(make_passthrough_caller, key))
        if caller.expires_timestamp <= now:
            raise InvalidKey(INVALID_KEY_TEXT)
        key_id: Any = caller.key_id
        if now - self._noted_uses.get(key_id, 0) > LAST_USE_STEP_SECONDS:
            self._noted_uses[key_id] = now
            self.unwritten_uses[key_id] = datetime.now(UTC)
        return caller

    async def _query_caller(self, digest: str) -> Caller | None:
        future = self._running_queries.get(digest)
        if future is None:
            generation = self._generation
            future = self._running_queries[digest] = asyncio.ensure_future(
                QUICK.run_work(load_caller, digest)
            )
            future.add_done_callback(lambda done: self._cache_caller(digest, done, generation))
        return await await_in_time(asyncio.shield(future))

    def _cache_caller(
        self, digest: str, query: "asyncio.Future[Caller | None]", generation: int
    ) -> None:
        if generation != self._generation:
            return
        self._running_queries.pop(digest, None)
        if query.cancelled() or query.exception() is not None:
            return
        caller = query.result()
        if caller is not None:
            while len(self._callers) >= self._most_callers:
                oldest = self._callers.pop(next(iter(self._callers)))
                self._digests_by_key.pop(oldest.key_id, None)
            self._callers[digest] = caller
            self._digests_by_key[caller.key_id] = digest


def record_last_uses(last_uses: dict[int, datetime]) -> None:
    """Write the last uses of keys in one statement, in the order of the keys.

    Runs in a database thread. A row that is locked is skipped: its next use is written later.
    """
    rows = sorted(last_uses.items())
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            ids = [key_id for key_id, _ in rows]
            moments = [at for _, at in rows]
            cursor.execute(LAST_USE_POSTGRES, [ids, moments, ids])
        else:
            adapt = connection.ops.adapt_datetimefield_value
            cursor.executemany(LAST_USE_SQLITE, [(adapt(at), key_id) for key_id, at in rows])


class KeyAuthentication(BaseAuthentication):
    """DRF authentication by an API key: `request.user` is its user, `request.auth` the Caller."""

    def authenticate(self, request: Request) -> tuple[Any, Caller]:
        key = read_credential(request.META)
        caller = load_caller(keys.digest_key(key))
        if caller is None:
            return AnonymousUser(), make_passthrough_caller(key)
        return get_user_model().objects.get(pk=cast(int, caller.user_id)), caller

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


class StaffAuthentication(BaseAuthentication):
    """DRF authentication of signed-in staff (session cookie); others are left to the next class."""

    def authenticate(self, request: Request) -> tuple[Any, None] | None:
        http: HttpRequest = request._request
        user = getattr(http, "user", None)
        return (user, None) if user is not None and user.is_active and user.is_staff else None
