"""The cache of callers for the relaying endpoints.

A miss costs one indexed query, shared by all requests that ask at the same time. Only those keys
are dropped from it that changed, were deleted, or whose user was switched on or off.
"""

import asyncio
import hmac
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from api.authentication import credentials
from api.authentication.caller import Caller
from api.models import ApiKey
from providers.database.changed_rows import Changes, read_changes
from providers.database.database_threads import QUICK, await_in_time
from providers.exceptions import InvalidKey
from providers.fast_settings import settings

LAST_USE_STEP_SECONDS = 60  # the last use is written at most once in that time


def read_changed_keys(known_version: int) -> Changes:
    """Return the ids of the keys that changed after `known_version`; for a database thread."""
    return read_changes("keys", ApiKey.objects.all(), ("id",), known_version)


class Keyring:
    """The callers that this process knows, by the digests of their keys.

    `unwritten_uses` maps key ids to the times of uses that are not written yet. `version_in_force`
    is the version of the topic "keys" up to which changes are in force.
    """

    def __init__(self, most_callers: int) -> None:
        self.version_in_force = -1
        self._most_callers = most_callers
        self._callers: dict[str, Caller] = {}
        self._digests_by_key: dict[int | None, str] = {}  # key id -> digest of the cached callers
        self._running_queries: dict[str, asyncio.Future[Caller | None]] = {}
        self._generation = 0  # counts the changes that running queries may have missed
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
            changed_ids = [row[0] for row in changes.rows]
            for key_id in (*changed_ids, *map(int, changes.deleted_ids)):
                self._callers.pop(self._digests_by_key.pop(key_id, ""), None)
            self._forget_queries()
        self.version_in_force = changes.version

    def _forget_queries(self) -> None:
        """Forget the running queries, whose results may be from before a change.

        Their results are used once and not cached.
        """
        self._running_queries.clear()
        self._generation += 1

    async def identify_caller(self, meta: Mapping[str, Any]) -> Caller:
        """Return the caller of a request with these headers (Django's META).

        Raises InvalidKey, InvalidRequest, DatabaseUnavailable.
        """
        key = credentials.read_credential(meta)
        hasher = self._hasher.copy()
        hasher.update(key.encode())
        digest = hasher.hexdigest()
        caller = self._callers.get(digest) or await self._query_caller(digest)
        now = time.time()
        if caller is None:
            if not settings.PASSTHROUGH_PROVIDER:
                raise InvalidKey(credentials.INVALID_KEY_TEXT)
            return await await_in_time(QUICK.run_work(credentials.make_passthrough_caller, key))
        if caller.expires_timestamp <= now:
            raise InvalidKey(credentials.INVALID_KEY_TEXT)
        key_id: Any = caller.key_id
        if now - self._noted_uses.get(key_id, 0) > LAST_USE_STEP_SECONDS:
            self._noted_uses[key_id] = now
            self.unwritten_uses[key_id] = datetime.now(UTC)
        return caller

    async def identify_digest(self, digest: str) -> Caller:
        """Return the caller whose key has this digest, for requests of the gateway itself.

        Raises InvalidKey, DatabaseUnavailable.
        """
        caller = self._callers.get(digest) or await self._query_caller(digest)
        if caller is None or caller.expires_timestamp <= time.time():
            raise InvalidKey(credentials.INVALID_KEY_TEXT)
        return caller

    def find_known_caller(self, digest: str) -> Caller | None:
        """Return the caller whose key has this digest, if this process knows it."""
        return self._callers.get(digest)

    async def _query_caller(self, digest: str) -> Caller | None:
        future = self._running_queries.get(digest)
        if future is None:
            generation = self._generation
            future = self._running_queries[digest] = asyncio.ensure_future(
                QUICK.run_work(credentials.load_caller, digest)
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
        if caller is None:
            return
        while len(self._callers) >= self._most_callers:
            oldest_caller = self._callers.pop(next(iter(self._callers)))
            self._digests_by_key.pop(oldest_caller.key_id, None)
        self._callers[digest] = caller
        self._digests_by_key[caller.key_id] = digest
