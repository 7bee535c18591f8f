"""The alerts of this process that are not written yet.

A request only puts a small value into memory (`AlertQueue.report`); the gateway writes these in
batches, off the event loop. While the database is away they wait, at most WAITING_ALERTS of them. A
process that is killed loses those of the last second. The next request that meets the limit reports
them again, because no row says that they were reported.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice

from django.db import Error as AnyDatabaseError

from api.alerts import event_records
from api.alerts.alert_facts import AlertFacts, AlertName
from providers.database.database_errors import is_outage, log_unless_outage
from providers.database.database_threads import HOUSEKEEPING

WRITE_SECONDS = 1.0  # between two batches
ALERTS_AT_ONCE = 100
WAITING_ALERTS = 5_000
KNOWN_ALERTS = 20_000


class AlertQueue:
    """The alerts that this process has reported: those that wait, and the names of the last ones.

    Two processes, or one that has forgotten a name, may report the same alert; the database keeps
    one of them.
    """

    def __init__(self) -> None:
        self._waiting: deque[AlertFacts] = deque()
        self._known_names: dict[AlertName, None] = {}

    def report(self, facts: AlertFacts) -> None:
        """Note an alert; it is written soon. Alerts that were reported before cost a look-up.

        When too many wait, the alert is dropped and not remembered, so that it can be reported
        again.
        """
        name = facts.name
        if name in self._known_names or len(self._waiting) >= WAITING_ALERTS:
            return
        if len(self._known_names) >= KNOWN_ALERTS:
            del self._known_names[next(iter(self._known_names))]
        self._known_names[name] = None
        self._waiting.append(facts)

    def __len__(self) -> int:
        """Return how many alerts are not written yet."""
        return len(self._waiting)

    async def write_until_cancelled(self) -> None:
        """Write the waiting alerts every WRITE_SECONDS."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self.write_waiting()

    async def write_waiting(self) -> None:
        """Write all waiting alerts; they keep waiting while the database is away."""
        while self._waiting:
            batch = list(islice(self._waiting, ALERTS_AT_ONCE))
            if not await write_batch(batch):
                return
            for _ in batch:
                self._waiting.popleft()


async def write_batch(batch: Sequence[AlertFacts]) -> bool:
    """Write alerts; return False when the database is away.

    When it refuses a value they are written one by one, so that only that alert is lost.
    """
    try:
        await HOUSEKEEPING.run_work(event_records.record_alerts, batch)
    except AnyDatabaseError as error:
        log_unless_outage(error)
        if is_outage(error):
            return False
        if len(batch) > 1:
            return all([await write_batch([facts]) for facts in batch])
    return True
