"""The counters of this process: fed by its ledger, shared with the other processes of its home."""

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from api.metrics.counter_files import WRITE_SECONDS, CounterFiles
from api.metrics.request_counters import RequestCounters
from providers.database.database_threads import HOUSEKEEPING
from providers.protocol.json_types import JsonObject

if TYPE_CHECKING:
    from api.relay.gateway import Gateway

logger = logging.getLogger(__name__)


class ProcessMetrics:
    """The counters of this process and its file; a disk that fails costs only the sharing."""

    def __init__(self, directory: Path) -> None:
        self.counters = RequestCounters()
        self._files: CounterFiles | None = None
        self._written_gauges: JsonObject = {}
        try:
            self._files = CounterFiles(directory)
            self._files.take_over(self.counters)
        except OSError as error:
            logger.warning("/metrics cannot show other processes: %s", error)

    async def write_until_cancelled(self, gateway: "Gateway") -> None:
        """Write the counters every WRITE_SECONDS, if something has changed."""
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            gauges = read_gauges(gateway)
            if self._files is not None and (
                self.counters.is_changed or gauges != self._written_gauges
            ):
                self.counters.is_changed = False
                self._written_gauges = gauges
                await HOUSEKEEPING.run_work(self._files.write_counters, self.counters, gauges)

    def sum_processes(self) -> tuple[RequestCounters, list[JsonObject]]:
        """Return the counters of all processes, and the present values of the others.

        Blocks for a moment; for a thread.
        """
        whole = RequestCounters()
        whole.add_json(self.counters.as_json())
        others = self._files.add_others(whole) if self._files is not None else []
        return whole, others

    def close(self) -> None:
        """Write the counters a last time; another process will take them over."""
        if self._files is not None:
            self._files.write_counters(self.counters, {})
            self._files.close()
            self._files = None


def read_gauges(gateway: "Gateway") -> JsonObject:
    """Return the present values of this process that are added up over all processes."""
    return {
        "requests_in_flight": gateway.requests_in_flight,
        "keys_in_flight": len(gateway.key_requests),
        "ledger_suspended": int(gateway.ledger.is_suspended),
    }
