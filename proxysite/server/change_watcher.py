"""Bring saved rows into force in every process in less than a second.

Each kind of row has a version in the database. On SQLite the versions are polled. On Postgres
NOTIFY from triggers wakes the watcher, and the versions are read once a second anyway, over a
connection of its own. A changed version makes the process read the rows anew. While the database
cannot be read, the ledger is suspended, so that nothing stale is served for ever.
"""

import asyncio
import logging
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection

from api.accounting.writers import POSTGRES_PARAMETERS
from api.authentication import read_changed_keys
from api.relay.gateway import Gateway
from providers.database.database_errors import log_unless_outage
from providers.database.database_threads import HOUSEKEEPING
from providers.database.deadlines import Patience
from providers.database.revisions import CHANNEL
from providers.models import Revision
from tokens.outcomes.breaker_sharing import read_hints
from tokens.pool.pool import Pool

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.3
HEARTBEAT_SECONDS = 1.0
APPLY_SECONDS = 15.0  # a frozen database must not hang the watcher


def versions() -> dict[str, int]:
    return dict(Revision.objects.values_list("topic", "version"))


class Watcher:
    """Keeps models, tokens, API keys and breakers of one gateway as they are in the database."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._seen: dict[str, int] = {}

    async def read_all(self) -> None:
        """Read everything once. Raises DatabaseError, OSError, TimeoutError."""
        await self._apply(await HOUSEKEEPING.run(versions), everything=True)

    async def _apply(self, found: dict[str, int], everything: bool = False) -> None:
        """Read the rows whose versions differ from those last seen. Raises TimeoutError."""
        async with asyncio.timeout(APPLY_SECONDS):
            await self._read(found, everything)
        self._seen = found

    async def _read(self, found: dict[str, int], everything: bool) -> None:
        gateway = self._gateway
        changed = {
            topic
            for topic in found.keys() | self._seen.keys()
            if found.get(topic) != self._seen.get(topic)
        }
        if everything or "catalogue" in changed:
            gateway.catalogue.take(await HOUSEKEEPING.run(gateway.catalogue.read))
        if everything or "tokens" in changed:
            await gateway.pool.take(
                await HOUSEKEEPING.run(Pool.read, -1 if everything else gateway.pool.seen)
            )
        if everything or "breakers" in changed:
            gateway.breaker_sharing.apply(await HOUSEKEEPING.run(read_hints))
        if everything or "keys" in changed:
            gateway.keyring.take(await HOUSEKEEPING.run(read_changed_keys, gateway.keyring.seen))

    async def keep(self) -> None:
        """Watch until cancelled; after a fault of the database everything is read again."""
        while True:
            try:
                await (self._listen() if connection.vendor == "postgresql" else self._poll())
            except (DatabaseError, OSError, TimeoutError) as error:
                logger.warning("changes cannot be read: %s", type(error).__name__)
                log_unless_outage(error)
                self._gateway.ledger.suspend()
                await asyncio.sleep(POLL_SECONDS)
                self._seen = {}

    async def _poll(self) -> None:
        while True:
            await self._apply(await HOUSEKEEPING.run(versions))
            await asyncio.sleep(POLL_SECONDS)

    async def _listen(self) -> None:
        import psycopg

        parameters: dict[str, Any] = {
            name: value
            for name, value in connection.get_connection_params().items()
            if name in POSTGRES_PARAMETERS
        }
        patience = Patience(settings.DATABASE_TIMEOUT_SECONDS)
        listener = None
        try:
            listener = await psycopg.AsyncConnection.connect(**parameters, autocommit=True)
            await patience.wait(listener.execute(f"LISTEN {CHANNEL}"), listener)
            while True:
                found = await patience.wait(self._versions(listener), listener)
                await self._apply(found)
                async for _ in listener.notifies(timeout=HEARTBEAT_SECONDS, stop_after=1):
                    pass
        except psycopg.Error as error:
            raise DatabaseError(str(error)) from error
        finally:
            await patience.end()
            if listener is not None:
                await listener.close()

    @staticmethod
    async def _versions(listener: Any) -> dict[str, int]:
        cursor = await listener.execute("SELECT topic, version FROM providers_revision")
        return dict(await cursor.fetchall())
