"""The gateway: the directories, ledger and HTTP clients of this process, made at start-up."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest

from api.accounting import writers
from api.accounting.ledger import Ledger
from api.accounting.spool import Spool
from api.accounting.write_errors import WriteFailed
from api.authentication import Caller, Keyring, touch
from api.idempotency.replay import Idempotency
from api.relay import loop_watchdog
from api.relay.in_flight import KeyRequests
from api.responses.background_follower import Elsewhere
from api.responses.background_runner import Background
from api.streaming.stream_answer import Heartbeat
from conversations.documents import embeddings, ingest
from conversations.documents.ranking import Embed
from conversations.history import finish_turn
from conversations.history.recorder import History
from providers.catalogue import Catalogue
from providers.database.database_errors import is_outage, log_unless_outage
from providers.database.database_threads import HOUSEKEEPING
from providers.network.clients import Clients
from tokens.outcomes.breaker_sharing import Sharing
from tokens.pool import state_writer
from tokens.pool.pool import Pool
from tokens.renewal import renew_pool, renew_token

logger = logging.getLogger(__name__)

AGAIN_SECONDS = 0.5  # pause before failed housekeeping starts again
MOST_SECONDS = 10.0  # longest pause before work that keeps failing
SWEEP_SECONDS = 30
TOUCH_SECONDS = 5


@dataclass(slots=True)
class Gateway:
    """The objects that all views of this process share; `start` runs its housekeeping."""

    clients: Clients
    catalogue: Catalogue
    pool: Pool
    keyring: Keyring
    ledger: Ledger
    heartbeat: Heartbeat
    history: History
    background: Background
    elsewhere: Elsewhere
    breaker_sharing: Sharing
    idempotency: Idempotency
    embed: Embed | None = None
    in_flight: int = 0
    key_requests: KeyRequests = field(default_factory=KeyRequests)
    draining: bool = False
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    @classmethod
    def make(cls) -> "Gateway":
        clients = Clients(settings.UPSTREAM_IDLE_SECONDS)
        spool = Spool(settings.HOME.root / "spool", settings.SPOOL_LIMIT_BYTES)
        catalogue = Catalogue(clients)
        pool = Pool()
        return cls(
            clients=clients,
            catalogue=catalogue,
            pool=pool,
            keyring=Keyring(settings.KEY_CACHE_SIZE),
            ledger=Ledger(writers.writer(), spool, settings.HOME.root / "journal"),
            heartbeat=Heartbeat(settings.PING_SECONDS),
            history=History(),
            background=Background(),
            elsewhere=Elsewhere(),
            breaker_sharing=Sharing(pool),
            idempotency=Idempotency(),
            embed=embeddings.embedder(catalogue, pool),
        )

    async def start(self) -> None:
        """Recover the work of dead processes, then start the housekeeping tasks.

        Writes the usage records that dead processes left in spools and journals.
        """
        for recover in (self.ledger.replay, self.ledger.sweep):
            await self._try(recover)
        works: list[Callable[[], Coroutine[Any, Any, None]]] = [
            *(
                self.ledger.keep,
                self.heartbeat.keep,
                partial(state_writer.keep, self.pool),
                self._sweep,
                self._touch,
            ),
            self.breaker_sharing.keep,
            *(self.history.keep, self.background.keep, self.elsewhere.keep, self.idempotency.keep),
            loop_watchdog.keep,
            *(
                renew_token.keep,
                self.pool.claims.keep,
                partial(renew_pool.keep, self.pool.troubles),
            ),
        ]
        if self.embed is not None:
            works.append(partial(embeddings.keep, self.embed))
        self._tasks = [asyncio.create_task(again_and_again(work)) for work in works]

    def drain(self) -> None:
        """Begin the shutdown: from now on running work has GRACE_SECONDS to end."""
        if not self.draining:
            self.draining = True
            asyncio.get_running_loop().call_later(self.background.drain(), self.elsewhere.stop)

    async def stop(self) -> None:
        """End the housekeeping, wait for renewals, and write everything that is still in memory."""
        self.drain()
        await asyncio.gather(self.background.stop(), self.idempotency.stop(self.background.drain()))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await ingest.settle()
        await self.history.settle()
        await self.pool.renewals.settle()
        await self.pool.claims.settle()
        await state_writer.write(self.pool, len(self.pool.used))
        await self.ledger.shut()
        await self.clients.close()

    async def _sweep(self) -> None:
        """Finish the work of dead processes every SWEEP_SECONDS; no failure stops the others."""
        works: list[Callable[[], Coroutine[Any, Any, object]]] = [
            self.ledger.replay,
            self.ledger.sweep,
            partial(HOUSEKEEPING.run, finish_turn.sweep),
        ]
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for work in works:
                if not self.ledger.away:
                    await self._try(work)

    async def _try(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Run the work once and log its failure; an outage of the database suspends the ledger."""
        from django.db import DatabaseError

        try:
            await work()
        except WriteFailed:
            self.ledger.suspend()
        except DatabaseError as error:
            log_unless_outage(error)
            if is_outage(error):
                self.ledger.suspend()
        except Exception:
            logger.exception("housekeeping failed and is tried again later")

    async def _touch(self) -> None:
        from django.db import DatabaseError

        while True:
            await asyncio.sleep(TOUCH_SECONDS)
            used = self.keyring.used
            self.keyring.used = {}
            if used:
                try:
                    await HOUSEKEEPING.run(touch, used)
                except DatabaseError as error:
                    log_unless_outage(error)
                    if is_outage(error):
                        self.keyring.used = used | self.keyring.used


async def again_and_again(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run housekeeping for ever: log each unexpected error and start again.

    Work that fails again at once is retried less and less often, so that the log stays readable.
    """
    pause = AGAIN_SECONDS
    while True:
        began = time.monotonic()
        try:
            await work()
        except Exception:
            logger.exception("housekeeping failed and begins anew")
            long_ago = time.monotonic() - began > 2 * MOST_SECONDS
            await asyncio.sleep(AGAIN_SECONDS if long_ago else pause)
            pause = AGAIN_SECONDS if long_ago else min(2 * pause, MOST_SECONDS)


class LeanRequest(ASGIRequest):
    """Django's request for the relaying endpoints.

    It carries the gateway, and reads its body only when the view asks for it.
    """

    gateway: Gateway
    request_id: str
    caller: Caller | None = None

    async def authenticate(self) -> Caller:
        """Return the caller, and count the request to its API key until the request ends.

        Raises InvalidKey, InvalidRequest, KeyLimitExceeded, DatabaseUnavailable.
        """
        caller = await self.gateway.keyring.caller(self.META)
        if caller.key_id is not None:
            self.gateway.key_requests.enter(caller.key_id)
        self.caller = caller
        return caller

    async def whole_body(self) -> bytes:
        """Return the body, which has at most BODY_LIMIT_BYTES and arrives within BODY_SECONDS.

        The lean handler sets this method. Raises BodyTooLarge, RequestTimeout.
        """
        raise NotImplementedError

    def keep_body(self) -> Callable[[object], None]:
        """Count the body's memory until the returned function is called.

        Used where the body is needed longer than the request lasts.
        """
        raise NotImplementedError
