"""Bring saved rows into force in every process in less than a second.

Each kind of row has a version in the database. On SQLite the versions are polled. On Postgres
NOTIFY from triggers wakes the watcher, and the versions are read once a second anyway, over a
connection of its own. A changed version makes the process read the rows anew. While the database
cannot be read, the ledger is suspended, so that nothing stale is served for ever.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import DatabaseError, connection

from api.accounting.writers import POSTGRES_PARAMETERS
from api.authentication import read_changed_keys
from api.pricing.price_directory import read_prices
from api.relay.gateway import Gateway
from providers.database.database_errors import log_unless_outage
from providers.database.database_threads import HOUSEKEEPING
from providers.database.deadlines import TimeLimit
from providers.database.revisions import CHANNEL, LIVE_TOPIC
from providers.models import Revision
from tokens.outcomes.breaker_sharing import read_breaker_hints
from tokens.pool.pool import Pool

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.3
HEARTBEAT_SECONDS = 1.0
EVERY_VERSION = -1  # tokens that were changed after this version are all tokens
APPLY_SECONDS = 15.0  # a frozen database must not hang the watcher


def read_versions() -> dict[str, int]:
    return dict(Revision.objects.values_list("topic", "version"))


class ChangeWatcher:
    """Keeps models, prices, tokens, keys and breakers of one gateway as the database has them.

    `hear_viewer` is called when somebody watches the live board, in whichever process.
    """

    def __init__(self, gateway: Gateway, hear_viewer: Callable[[], None] = lambda: None) -> None:
        self._gateway = gateway
        self._hear_viewer = hear_viewer
        self._seen_versions: dict[str, int] = {}

    async def read_all(self) -> None:
        """Read everything once. Raises DatabaseError, OSError, TimeoutError."""
        await self._apply_changes(await HOUSEKEEPING.run_work(read_versions), reads_everything=True)

    async def _apply_changes(
        self, current_versions: dict[str, int], reads_everything: bool = False
    ) -> None:
        """Read the rows whose versions differ from those last seen. Raises TimeoutError."""
        async with asyncio.timeout(APPLY_SECONDS):
            await self._read_changed_rows(current_versions, reads_everything)
        self._seen_versions = current_versions

    async def _read_changed_rows(
        self, current_versions: dict[str, int], reads_everything: bool
    ) -> None:
        gateway = self._gateway
        changed = {
            topic
            for topic in current_versions.keys() | self._seen_versions.keys()
            if current_versions.get(topic) != self._seen_versions.get(topic)
        }
        if reads_everything or "catalogue" in changed:
            gateway.catalogue.apply_rows(
                await HOUSEKEEPING.run_work(gateway.catalogue.read_catalogue_rows)
            )
        if reads_everything or "tokens" in changed:
            pool = gateway.pool
            await pool.apply_rows(
                await HOUSEKEEPING.run_work(
                    Pool.read_tokens, EVERY_VERSION if reads_everything else pool.version_in_force
                )
            )
        if reads_everything or "prices" in changed:
            gateway.prices.apply_rows(await HOUSEKEEPING.run_work(read_prices))
        if reads_everything or "breakers" in changed:
            gateway.breaker_sharing.apply_hints(await HOUSEKEEPING.run_work(read_breaker_hints))
        if reads_everything or "keys" in changed:
            gateway.keyring.apply_changes(
                await HOUSEKEEPING.run_work(read_changed_keys, gateway.keyring.version_in_force)
            )
        if LIVE_TOPIC in changed and self._seen_versions:
            self._hear_viewer()

    async def watch_changes(self) -> None:
        """Watch until cancelled; after a fault of the database everything is read again."""
        while True:
            try:
                if connection.vendor == "postgresql":
                    await self._listen_for_changes()
                else:
                    await self._poll_versions()
            except (DatabaseError, OSError, TimeoutError) as error:
                logger.warning("changes cannot be read: %s", type(error).__name__)
                log_unless_outage(error)
                self._gateway.ledger.suspend_requests()
                await asyncio.sleep(POLL_SECONDS)
                self._seen_versions = {}

    async def _poll_versions(self) -> None:
        while True:
            await self._apply_changes(await HOUSEKEEPING.run_work(read_versions))
            await asyncio.sleep(POLL_SECONDS)

    async def _listen_for_changes(self) -> None:
        import psycopg

        parameters = {
            name: value
            for name, value in connection.get_connection_params().items()
            if name in POSTGRES_PARAMETERS
        }
        patience = TimeLimit(settings.DATABASE_TIMEOUT_SECONDS)
        listener = None
        try:
            listener = await psycopg.AsyncConnection.connect(**parameters, autocommit=True)
            await patience.wait_for_work(listener.execute(f"LISTEN {CHANNEL}"), listener)
            while True:
                versions = await patience.wait_for_work(self._fetch_versions(listener), listener)
                await self._apply_changes(versions)
                async for _ in listener.notifies(timeout=HEARTBEAT_SECONDS, stop_after=1):
                    pass
        except psycopg.Error as error:
            raise DatabaseError(str(error)) from error
        finally:
            await patience.end_late_work()
            if listener is not None:
                await listener.close()

    @staticmethod
    async def _fetch_versions(listener: "psycopg.AsyncConnection") -> dict[str, int]:
        cursor = await listener.execute("SELECT topic, version FROM providers_revision")
        return dict(await cursor.fetchall())
