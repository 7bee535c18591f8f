"""Run the batches that wait, a few at a time, in the event loop of a process with a gateway.

On SQLite that is the process that serves: its limits are in its memory, and there is no other.
With Postgres it is a process of its own beside the worker (`worker_process.py`), whose lines share
limits with all gateways through the database or Redis, and keep no event loop from its callers.
"""

import asyncio
import logging
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.db import connection

from api.batches import batch_states
from api.batches.batch_run import run_batch
from providers.database.database_errors import log_unless_outage
from providers.database.database_threads import HOUSEKEEPING

if TYPE_CHECKING:
    from api.relay.gateway import Gateway

logger = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # between two looks for batches that wait


def runs_beside_callers() -> bool:
    """Return whether batches run in the process that serves callers."""
    return connection.vendor == "sqlite"


class BatchRunner:
    """The batches that this process runs."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run_until_cancelled(self, gateway: "Gateway") -> None:
        """Take up batches that wait, every LOOK_SECONDS."""
        try:
            while True:
                await self._take_up_batches(gateway)
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            await self.stop_batches()

    async def run_until_idle(self, gateway: "Gateway", seconds: float) -> None:
        """Run batches until none has been there for so long, or the gateway is shut down."""
        loop = asyncio.get_running_loop()
        idle_since = loop.time()
        while not gateway.is_draining and loop.time() - idle_since < seconds:
            await self._take_up_batches(gateway)
            if self._tasks:
                idle_since = loop.time()
            await asyncio.sleep(LOOK_SECONDS)
        await self.stop_batches()

    async def _take_up_batches(self, gateway: "Gateway") -> None:
        """Claim batches that wait, and start to run them."""
        free_count = settings.BATCHES_AT_ONCE - len(self._tasks)
        if free_count <= 0 or gateway.is_draining:
            return
        try:
            claimed = await HOUSEKEEPING.run_work(
                batch_states.claim_batches, free_count, tuple(self._tasks)
            )
        except AnyDatabaseError as error:
            log_unless_outage(error)
            return
        for batch in claimed:
            task = asyncio.create_task(run_batch(gateway, batch), name=f"batch {batch.pk}")
            self._tasks[batch.pk] = task
            task.add_done_callback(self._forget_task)

    def _forget_task(self, task: "asyncio.Task[None]") -> None:
        """Forget a task that has ended, and log its error: nobody awaits it."""
        self._tasks = {key: other for key, other in self._tasks.items() if other is not task}
        if not task.cancelled() and task.exception() is not None:
            logger.error("a batch failed by a fault of ours", exc_info=task.exception())

    async def drain_batches(self) -> None:
        """Wait until the batches notice that the process ends, and have written their results."""
        if self._tasks:
            await asyncio.wait(
                set(self._tasks.values()), timeout=settings.GRACE_SECONDS + 2 * LOOK_SECONDS
            )

    async def stop_batches(self) -> None:
        """End the runs of batches; the next process goes on with them."""
        await self.drain_batches()
        tasks = set(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
