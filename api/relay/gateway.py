"""The gateway: the directories, ledger and HTTP clients of this process, made at start-up."""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings

from api.accounting import writers
from api.accounting.ledger import Ledger
from api.accounting.spool import Spool
from api.accounting.write_errors import WriteFailed
from api.alerts.alert_queue import AlertQueue
from api.alerts.limit_alerts import report_budget
from api.authentication import Keyring, record_last_uses
from api.batches.batch_runner import BatchRunner, runs_beside_callers
from api.idempotency.replay import Idempotency
from api.limits.limit_keeper import LimitKeeper
from api.limits.refused_requests import RefusedRequests
from api.limits.stores import make_store
from api.metrics.process_metrics import ProcessMetrics
from api.pricing.price_directory import PriceDirectory
from api.relay import loop_watchdog
from api.relay.in_flight import KeyRequests
from api.relay.response_sockets import ResponseSockets
from api.responses.background.background_follower import BackgroundFollower
from api.responses.background.background_runner import BackgroundRunner
from api.streaming.stream_answer import Heartbeat
from conversations.documents import embeddings, ingest
from conversations.documents.ranking import EmbedTexts
from conversations.history import dead_turns
from conversations.history.recorder import History
from providers.catalogue import Catalogue
from providers.database.database_errors import is_outage, log_unless_outage
from providers.database.database_threads import HOUSEKEEPING
from providers.mcp.mcp_servers import McpDirectory
from providers.network.clients import Clients
from tokens.outcomes.breaker_sharing import BreakerSharing
from tokens.pool import state_writer
from tokens.pool.pool import Pool
from tokens.renewal import renew_pool, renew_token

logger = logging.getLogger(__name__)

RESTART_SECONDS = 0.5  # pause before failed housekeeping starts again
LONGEST_RESTART_SECONDS = 10.0  # longest pause before work that keeps failing
SWEEP_SECONDS = 30
LAST_USE_WRITE_SECONDS = 5
REFUSAL_WRITE_SECONDS = 1
GATEWAY_SCOPE_KEY = "proxysite.gateway"  # key of the ASGI scope for the gateway of this process


@dataclass(slots=True)
class Gateway:
    """The objects that all views of this process share, and its housekeeping tasks."""

    clients: Clients
    catalogue: Catalogue
    pool: Pool
    keyring: Keyring
    prices: PriceDirectory
    ledger: Ledger
    heartbeat: Heartbeat
    history: History
    background: BackgroundRunner
    background_follower: BackgroundFollower
    breaker_sharing: BreakerSharing
    idempotency: Idempotency
    limits: LimitKeeper
    alerts: AlertQueue
    metrics: ProcessMetrics
    mcp: McpDirectory
    refused_requests: RefusedRequests = field(default_factory=RefusedRequests)
    embed: EmbedTexts | None = None
    requests_in_flight: int = 0
    key_requests: KeyRequests = field(default_factory=KeyRequests)
    response_sockets: ResponseSockets = field(default_factory=ResponseSockets)
    batches: BatchRunner = field(default_factory=BatchRunner)
    is_draining: bool = False
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    @classmethod
    def from_settings(cls) -> "Gateway":
        clients = Clients(settings.UPSTREAM_IDLE_SECONDS)
        spool = Spool(settings.HOME.root / "spool", settings.SPOOL_LIMIT_BYTES)
        catalogue = Catalogue(clients)
        pool = Pool()
        prices = PriceDirectory()
        alerts = AlertQueue()
        metrics = ProcessMetrics(settings.HOME.root / "metrics")
        ledger = Ledger(writers.make_writer(), spool, settings.HOME.root / "journal", prices)
        ledger.count_rows = metrics.counters.add_rows
        return cls(
            clients=clients,
            catalogue=catalogue,
            pool=pool,
            keyring=Keyring(settings.KEY_CACHE_SIZE),
            prices=prices,
            ledger=ledger,
            heartbeat=Heartbeat(settings.PING_SECONDS),
            history=History(),
            background=BackgroundRunner(),
            background_follower=BackgroundFollower(),
            breaker_sharing=BreakerSharing(pool),
            idempotency=Idempotency(),
            limits=LimitKeeper(make_store(), partial(report_budget, alerts)),
            alerts=alerts,
            metrics=metrics,
            mcp=McpDirectory(clients.api),
            embed=embeddings.build_embedder(catalogue, pool),
        )

    async def start_housekeeping(self) -> None:
        """Recover the work of dead processes, then start the housekeeping tasks.

        Writes the usage records that dead processes left in spools and journals.
        """
        for recover in (self.ledger.replay_spools, self.ledger.sweep_journals):
            await self._try_work(recover)
        works: list[Callable[[], Coroutine[Any, Any, None]]] = [
            self.ledger.write_until_cancelled,
            self.heartbeat.ping_until_cancelled,
            partial(state_writer.write_pool_until_cancelled, self.pool),
            self._sweep_periodically,
            self._write_last_uses_periodically,
            self.breaker_sharing.write_until_cancelled,
            self.history.maintain_running_turns,
            self.background.write_until_cancelled,
            self.background_follower.poll_until_cancelled,
            self.idempotency.renew_until_cancelled,
            self.limits.maintain_until_cancelled,
            self._record_refusals_periodically,
            self.alerts.write_until_cancelled,
            loop_watchdog.watch_until_cancelled,
            partial(self.metrics.write_until_cancelled, self),
            renew_token.apply_files_until_cancelled,
            self.pool.stream_claims.renew_until_cancelled,
            partial(renew_pool.queue_requested_renewals, self.pool.failure_counts),
        ]
        if self.embed is not None:
            works.append(partial(embeddings.embed_documents_forever, self.embed))
        if runs_beside_callers():
            works.append(partial(self.batches.run_until_cancelled, self))
        self._tasks = [asyncio.create_task(repeat_forever(work)) for work in works]

    def begin_shutdown(self) -> None:
        """Begin the shutdown: from now on running work has GRACE_SECONDS to end."""
        if not self.is_draining:
            self.is_draining = True
            self.response_sockets.begin_drain()
            asyncio.get_running_loop().call_later(
                self.background.start_draining(), self.background_follower.stop_following
            )

    async def finish_shutdown(self) -> None:
        """End the housekeeping, wait for renewals, and write everything that is still in memory."""
        self.begin_shutdown()
        await asyncio.gather(
            self.background.drain_and_stop(),
            self.idempotency.stop_tasks(self.background.start_draining()),
            self.batches.stop_batches(),
        )
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await ingest.wait_for_texts()
        await self.history.wait_for_writes()
        await self.pool.renewals.wait_for_renewals()
        await self.pool.stream_claims.wait_for_releases()
        await state_writer.write_pool(self.pool, len(self.pool.unwritten_uses))
        self.ledger.queue_refused_rows(self.refused_requests.take_rows())
        await self.alerts.write_waiting()
        await self.ledger.write_rest_and_close()
        self.metrics.close()
        await self.limits.stop()
        await self.clients.close()

    async def _sweep_periodically(self) -> None:
        """Finish the work of dead processes every SWEEP_SECONDS; no failure stops the others."""
        works: list[Callable[[], Coroutine[Any, Any, object]]] = [
            self.ledger.replay_spools,
            self.ledger.sweep_journals,
            partial(HOUSEKEEPING.run_work, dead_turns.end_all_dead_turns),
        ]
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for work in works:
                if not self.ledger.is_suspended:
                    await self._try_work(work)

    async def _try_work(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Run the work once and log its failure; an outage of the database suspends the ledger."""
        from django.db import DatabaseError

        try:
            await work()
        except WriteFailed:
            self.ledger.suspend_requests()
        except DatabaseError as error:
            log_unless_outage(error)
            if is_outage(error):
                self.ledger.suspend_requests()
        except Exception:  # a fault in one work must not end the others
            logger.exception("housekeeping failed and is tried again later")

    async def _record_refusals_periodically(self) -> None:
        """Queue the records of refused requests every REFUSAL_WRITE_SECONDS."""
        while True:
            await asyncio.sleep(REFUSAL_WRITE_SECONDS)
            self.ledger.queue_refused_rows(self.refused_requests.take_rows())

    async def _write_last_uses_periodically(self) -> None:
        """Write the times of the keys' last uses every LAST_USE_WRITE_SECONDS."""
        while True:
            await asyncio.sleep(LAST_USE_WRITE_SECONDS)
            uses = self.keyring.unwritten_uses
            self.keyring.unwritten_uses = {}
            if uses:
                await self._write_last_uses(uses)

    async def _write_last_uses(self, uses: dict[int, datetime]) -> None:
        """Write these times; keep them for later while the database is away."""
        from django.db import DatabaseError

        try:
            await HOUSEKEEPING.run_work(record_last_uses, uses)
        except DatabaseError as error:
            log_unless_outage(error)
            if is_outage(error):
                self.keyring.unwritten_uses = uses | self.keyring.unwritten_uses


async def repeat_forever(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run housekeeping for ever: log each unexpected error and start again.

    Work that fails again at once is retried less and less often, so that the log stays readable.
    """
    pause = RESTART_SECONDS
    while True:
        start_time = time.monotonic()
        try:
            await work()
        except Exception:  # the last one to notice a fault: without the task, its work stops
            logger.exception("housekeeping failed and begins anew")
        if time.monotonic() - start_time > 2 * LONGEST_RESTART_SECONDS:
            pause = RESTART_SECONDS
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_RESTART_SECONDS)
