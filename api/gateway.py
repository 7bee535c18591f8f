"""What the relaying doors work with: the directories, the ledger and the HTTP client of this process, made at start-
up.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest

from api import writers
from api.authentication import Keyring, touch
from api.background import Background
from api.elsewhere import Elsewhere
from api.ledger import Ledger
from api.spool import Spool
from api.streaming import Heartbeat
from api.writers import WriteFailed
from conversations import turns
from conversations.documents import embed, ingest
from conversations.documents.recall import Embed
from conversations.history import History
from providers.catalogue import Catalogue
from providers.http import Client
from providers.offloop import off_loop
from tokens import books, refreshing, renewal
from tokens.breaker_sharing import Sharing
from tokens.pool import Pool

logger = logging.getLogger(__name__)

AGAIN_SECONDS = 0.5
SWEEP_SECONDS = 30
TOUCH_SECONDS = 5


@dataclass(slots=True)
class Gateway:
    """One per process; `run` is its housekeeping."""

    client: Client
    catalogue: Catalogue
    pool: Pool
    keyring: Keyring
    ledger: Ledger
    heartbeat: Heartbeat
    history: History
    background: Background
    elsewhere: Elsewhere
    breaker_sharing: Sharing
    embed: Embed | None = None
    in_flight: int = 0
    draining: bool = False
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    @classmethod
    def make(cls) -> "Gateway":
        client = Client(settings.UPSTREAM_IDLE_SECONDS)
        spool = Spool(settings.HOME.root / "spool", settings.SPOOL_LIMIT_BYTES)
        catalogue, pool = Catalogue(client), Pool()
        return cls(
            client=client,
            catalogue=catalogue,
            pool=pool,
            keyring=Keyring(settings.KEY_CACHE_SIZE),
            ledger=Ledger(writers.writer(), spool, settings.HOME.root / "journal"),
            heartbeat=Heartbeat(settings.PING_SECONDS),
            history=History(),
            background=Background(),
            elsewhere=Elsewhere(),
            breaker_sharing=Sharing(pool),
            embed=embed.embedder(catalogue, pool),
        )

    async def start(self) -> None:
        """Recover what dead processes left, then keep house in the background."""
        try:
            await self.ledger.replay()
            await self.ledger.sweep()
        except WriteFailed:
            self.ledger.suspend()
        works: list[Callable[[], Coroutine[Any, Any, None]]] = [
            *(self.ledger.keep, self.heartbeat.keep, partial(books.keep, self.pool), self._sweep, self._touch),
            self.breaker_sharing.keep,
            *(self.history.keep, self.background.keep, self.elsewhere.keep),
            *(renewal.keep, self.pool.claims.keep, partial(refreshing.keep, self.pool.troubles)),
        ]
        if self.embed is not None:
            works.append(partial(embed.keep, self.embed))
        self._tasks = [asyncio.create_task(again_and_again(work)) for work in works]

    def drain(self) -> None:
        """The server is shutting down: from now on what runs has GRACE_SECONDS."""
        if not self.draining:
            self.draining = True
            asyncio.get_running_loop().call_later(self.background.drain(), self.elsewhere.stop)

    async def stop(self) -> None:
        """End the housekeeping, let renewals come to their end, and write what is still in memory."""
        self.drain()
        await self.background.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await ingest.settle()
        await self.history.settle()
        await self.pool.renewals.settle()
        await self.pool.claims.settle()
        await books.write(self.pool, len(self.pool.used))
        await self.ledger.shut()
        self.client.close()

    async def _sweep(self) -> None:
        from django.db import DatabaseError

        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            if not self.ledger.away:
                try:
                    await self.ledger.replay()
                    await self.ledger.sweep()
                    await off_loop(turns.sweep)
                except (WriteFailed, DatabaseError):
                    self.ledger.suspend()

    async def _touch(self) -> None:
        from django.db import DatabaseError

        while True:
            await asyncio.sleep(TOUCH_SECONDS)
            used, self.keyring.used = self.keyring.used, {}
            if used:
                try:
                    await off_loop(touch, used)
                except DatabaseError:
                    self.keyring.used = used | self.keyring.used


async def again_and_again(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Housekeeping that goes on whatever happens: what it did not foresee is logged, and it begins anew."""
    while True:
        try:
            await work()
        except Exception:
            logger.exception("housekeeping failed and begins anew")
            await asyncio.sleep(AGAIN_SECONDS)


class LeanRequest(ASGIRequest):
    """Django's request on the relaying doors: with the gateway, and a body that is read when the view asks for it."""

    gateway: Gateway
    request_id: str

    async def whole_body(self) -> bytes:
        """The body, within BODY_LIMIT_BYTES and BODY_SECONDS. Raises BodyTooLarge, RequestTimeout; set by the lean
        handler.
        """
        raise NotImplementedError
