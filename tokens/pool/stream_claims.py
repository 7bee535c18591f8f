"""Claims on the single stream that some upstreams allow per token, valid across processes.

A claim is one conditional UPDATE of the token's row (`busy_until`, `busy_with`). It is the named
exception to "no query on the request path". It is released however the stream ends, and its lease
is renewed while the stream runs. The claims of a killed process end with their leases. A process
knows its own claims and does not ask the database for them. No lease is renewed beyond the
deadline of its request, so a claim that nobody released ends too. A row that someone else has
locked counts as busy: a claim waits for no lock longer than LOCK_WAIT_SECONDS, so that few threads
are enough.
"""

import asyncio
import logging
import math
import time
from collections.abc import Iterable, Set
from contextlib import suppress
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import Error as DatabaseFault  # includes InterfaceError, unlike DatabaseError
from django.db import OperationalError, connection, transaction

from providers.database.database_threads import HOUSEKEEPING, QUICK
from providers.database.leases import is_held
from providers.exceptions import DatabaseUnavailable
from tokens.models import UpstreamToken

logger = logging.getLogger(__name__)

RETRY_CLAIM_SECONDS = 0.5  # pause before a token claimed by another process is tried again
LOCK_WAIT_SECONDS = 0.25  # other writers of the row are usually done within this time
LOCK_NOT_AVAILABLE = "55P03"  # Postgres: lock_not_available
OVERTIME_SECONDS = 30.0  # a request may end so much later than its deadline


class Claim(NamedTuple):
    """The claim of one request; `deadline` is on the clock of time.perf_counter()."""

    request_id: str
    deadline: float


class StreamClaims:
    """The claims of this process."""

    def __init__(self) -> None:
        self._claims: dict[UUID, Claim] = {}  # by the token's id
        self._next_try_times: dict[UUID, float] = {}  # token id -> when it may be tried again
        self._release_tasks: set[asyncio.Task[None]] = set()
        self._freed_event = asyncio.Event()

    def find_busy_tokens(self) -> Set[UUID]:
        """Return the tokens that cannot be claimed now, as far as this process knows."""
        if not self._next_try_times:
            return self._claims.keys()
        now = time.monotonic()
        self._next_try_times = {
            token_id: until for token_id, until in self._next_try_times.items() if until > now
        }
        return self._claims.keys() | self._next_try_times.keys()

    async def claim_stream(
        self, token_id: UUID, request_id: str, provider_id: int, deadline: float = math.inf
    ) -> bool:
        """Claim the token's stream for the request, and return whether it has it.

        Writes the token's row. Raises DatabaseUnavailable.
        """
        claim = Claim(request_id, deadline)
        self._claims[token_id] = claim  # first, so that no other request here tries it
        task = asyncio.ensure_future(
            QUICK.run_work(claim_or_list_busy, token_id, request_id, provider_id)
        )
        try:
            async with asyncio.timeout(settings.DATABASE_TIMEOUT_SECONDS):
                busy = await asyncio.shield(task)
        except (DatabaseFault, TimeoutError):
            self._begin_release(token_id, claim, task)
            raise DatabaseUnavailable(
                "The database does not answer.", retry_after_seconds=1
            ) from None
        except BaseException:  # for example the caller left; the claim may still have been made
            self._begin_release(token_id, claim, task)
            raise
        if token_id not in busy:
            return True
        self._remove_claim(token_id, claim)
        self.add_busy_tokens(busy - self._claims.keys(), RETRY_CLAIM_SECONDS)
        return False

    def add_busy_tokens(self, token_ids: Iterable[UUID], seconds: float) -> None:
        """Leave these tokens alone for `seconds`: others use their streams."""
        until = time.monotonic() + seconds
        self._next_try_times |= dict.fromkeys(token_ids, until)

    def release_stream(self, token_id: UUID) -> None:
        """Release the stream, which has ended. The database is updated in the background."""
        claim = self._claims.get(token_id)
        if claim is not None:
            self._begin_release(token_id, claim, None)

    def _begin_release(
        self, token_id: UUID, claim: Claim, after: "asyncio.Future[set[UUID]] | None"
    ) -> None:
        task = asyncio.create_task(self._release_row(token_id, claim, after))
        self._release_tasks.add(task)
        task.add_done_callback(self._release_tasks.discard)

    async def _release_row(
        self, token_id: UUID, claim: Claim, after: "asyncio.Future[set[UUID]] | None"
    ) -> None:
        try:
            if after is not None:
                await asyncio.wait((after,))
                if after.exception() is not None:
                    return
            await QUICK.run_work(release_token_row, token_id, claim.request_id)
        except DatabaseFault:
            logger.warning("the stream of a token is free only when its lease ends")
        finally:
            self._remove_claim(token_id, claim)

    def _remove_claim(self, token_id: UUID, claim: Claim) -> None:
        """Forget a claim, unless another request has the stream by now."""
        if self._claims.get(token_id) is claim:
            del self._claims[token_id]
        self._freed_event.set()
        self._freed_event = asyncio.Event()

    async def wait_until_freed(self, seconds: float) -> None:
        """Wait until this process frees a token, for at most `seconds`.

        It ends after RETRY_CLAIM_SECONDS at the latest: then the claims of other processes should
        be looked at again.
        """
        with suppress(TimeoutError):
            await asyncio.wait_for(self._freed_event.wait(), min(seconds, RETRY_CLAIM_SECONDS))

    async def renew_until_cancelled(self) -> None:
        """Renew the leases of running streams until cancelled."""
        while True:
            await asyncio.sleep(settings.CLAIM_SECONDS / 4)
            await self.renew_leases()

    async def renew_leases(self) -> None:
        """Renew the leases of this process's claims, and release those of requests that are over.

        Writes their rows.
        """
        latest_deadline = time.perf_counter() - OVERTIME_SECONDS
        request_ids = {}
        for token_id, claim in self._claims.items():
            if claim.deadline > latest_deadline:
                request_ids[token_id] = claim.request_id
            else:
                self._begin_release(token_id, claim, None)
        if request_ids:
            try:
                await HOUSEKEEPING.run_work(renew_stream_leases, request_ids)
            except DatabaseFault:
                logger.warning("the leases of %d streams are not renewed", len(request_ids))

    async def wait_for_releases(self) -> None:
        """Wait until the claims of ended streams are released."""
        await asyncio.gather(*self._release_tasks, return_exceptions=True)


# --- in database threads --------------------------------------------------------------------------
def claim_or_list_busy(token_id: UUID, request_id: str, provider_id: int) -> set[UUID]:
    """Claim the token's stream for the request and return an empty set, or return the busy tokens.

    Busy are the provider's claimed tokens, always including this one. Writes the token's row.
    """
    if claim_token_row(token_id, request_id):
        return set()
    busy = UpstreamToken.objects.filter(is_held("busy_until"), provider=provider_id)
    return {token_id, *busy.values_list("pk", flat=True)}


def claim_token_row(token_id: UUID, request_id: str) -> bool:
    """Claim the stream and return True, unless it is in use or its row is locked.

    Locked rows concern Postgres only: SQLite locks no rows.
    """
    row = UpstreamToken.objects.filter(pk=token_id)
    if connection.vendor != "postgresql":
        return bool(row.claim_stream(settings.CLAIM_SECONDS, request_id))
    milliseconds = f"{min(LOCK_WAIT_SECONDS, settings.DATABASE_TIMEOUT_SECONDS / 4) * 1000:.0f}"
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [milliseconds])
            return bool(row.claim_stream(settings.CLAIM_SECONDS, request_id))
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE:
            raise
        return False


def release_token_row(token_id: UUID, request_id: str) -> None:
    UpstreamToken.objects.filter(pk=token_id).release_stream(request_id)


def renew_stream_leases(request_ids: dict[UUID, str]) -> None:
    """Renew the leases of these tokens' streams; `request_ids` has the request id of each token."""
    rows = UpstreamToken.objects.filter(pk__in=request_ids, busy_with__in=set(request_ids.values()))
    rows.renew_lease("busy_until", settings.CLAIM_SECONDS)
