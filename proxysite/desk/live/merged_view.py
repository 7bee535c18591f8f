"""Merge the samples of all processes into one view of the requests. No I/O."""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from providers.protocol.json_types import JsonObject
from proxysite.desk.live.samples import STATES

SAMPLE_SECONDS = 3.0  # a process that sent no sample for so long is gone
RATE_SECONDS = 10.0  # the rate of requests is the mean of so long


class TimedSample(NamedTuple):
    """The latest sample of a process, and when it came, on the monotonic clock."""

    arrived_at: float
    sample: JsonObject


class MergedView:
    """The latest samples, and the `most_rows` requests that finished last."""

    def __init__(self, most_rows: int) -> None:
        self._most_rows = most_rows
        self._samples: dict[str, TimedSample] = {}
        self._counts: deque[tuple[float, int]] = deque()  # when how many requests finished
        self._began_at: float | None = None
        self._new_count = 0
        self._new_rows: deque[JsonObject] = deque(maxlen=most_rows)
        self.finished: deque[JsonObject] = deque(maxlen=most_rows)

    def add_history(self, rows: Iterable[JsonObject]) -> None:
        """Add requests that finished before anybody watched, oldest first."""
        known = {row["id"] for row in (*self.finished, *self._new_rows)}
        earlier = [row for row in rows if row["id"] not in known]
        room = self._most_rows - len(self.finished)
        self.finished.extendleft(reversed(earlier[-room:] if room else []))

    def add_sample(self, process: str, sample: JsonObject, now: float) -> None:
        """Add the latest sample of a process."""
        if self._began_at is None:
            self._began_at = now
        self._samples[process] = TimedSample(now, sample)
        self._counts.append((now, sample["finished_count"]))
        self._new_count += sample["finished_count"]
        self._new_rows.extend(sample["finished"])
        while now - self._counts[0][0] > RATE_SECONDS:
            self._counts.popleft()

    def drop_old_samples(self, now: float) -> None:
        """Drop the samples of processes that sent none lately."""
        self._samples = {
            process: timed
            for process, timed in self._samples.items()
            if now - timed.arrived_at <= SAMPLE_SECONDS
        }

    def take_new_finished(self) -> tuple[list[JsonObject], int]:
        """Return the requests that finished since the last call, and how many more did."""
        rows = sorted(self._new_rows, key=lambda row: str(row["started_at"]))
        more = self._new_count - sum(row["request_count"] for row in rows)
        self.finished.extend(rows)
        self._new_rows.clear()
        self._new_count = 0
        return rows, max(0, more)

    @property
    def process_count(self) -> int:
        """Return how many processes sent a sample lately."""
        return len(self._samples)

    def count_states(self) -> dict[str, int]:
        """Return how many requests run in each state, in all processes."""
        samples = [timed.sample for timed in self._samples.values()]
        return {state: sum(sample["counts"][state] for sample in samples) for state in STATES}

    def list_running(self) -> list[JsonObject]:
        """Return the running requests of all processes, oldest first.

        Of too many it is the oldest half and the newest half.
        """
        rows = [row for timed in self._samples.values() for row in timed.sample["running"]]
        rows.sort(key=lambda row: str(row["started_at"]))
        if len(rows) <= self._most_rows:
            return rows
        newest_count = self._most_rows // 2
        return rows[: self._most_rows - newest_count] + rows[len(rows) - newest_count :]

    def compute_rate(self, now: float) -> float:
        """Return how many requests finish per second, the mean of RATE_SECONDS at most."""
        if self._began_at is None or now <= self._began_at:
            return 0.0
        seconds = min(RATE_SECONDS, max(1.0, now - self._began_at))
        return sum(count for _, count in self._counts) / seconds
