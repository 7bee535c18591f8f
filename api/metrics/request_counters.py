"""Count the requests of this process for /metrics, from the rows that the ledger has written.

A row is counted when its batch is committed, so that a counter never runs ahead of the records. The
work for a request is a few additions; nothing here knows Prometheus.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from api.accounting.spool import Row
from api.accounting.usage_table import COLUMNS
from providers.fast_settings import settings
from providers.protocol.attempt import SKIPPED
from providers.protocol.json_types import JsonObject

POSITIONS = {name: position for position, name in enumerate(COLUMNS)}
LABEL_COLUMNS = ("endpoint", "model", "provider_id", "status", "http_status", "error_code")
LABEL_POSITIONS = tuple(POSITIONS[name] for name in LABEL_COLUMNS)
SUMMED_COLUMNS = (
    "request_count",
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "cost_micro_usd",
)
SUMMED_POSITIONS = tuple(POSITIONS[name] for name in SUMMED_COLUMNS)
TIME_COLUMNS = ("first_byte_ms", "total_ms")
ENDPOINT_POSITION = POSITIONS["endpoint"]
TIME_POSITIONS = tuple((name, POSITIONS[name]) for name in TIME_COLUMNS)
ATTEMPTS_POSITION = POSITIONS["attempts"]
OTHER = "other"  # the label of models beyond METRICS_SERIES
# upper bounds of the histograms, in milliseconds
BOUNDS_MS = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 300_000)

Labels = tuple[Any, ...]  # the values of LABEL_COLUMNS
Call = tuple[str, str]  # the name of a provider and the outcome of a call


class Times(NamedTuple):
    """The histogram of one time at one endpoint: requests in each bucket, and their sum in ms."""

    buckets: list[int]
    sum_ms: list[float]  # one number, which is added to


class RequestCounters:
    """The counters of this process, with those that it took over from processes that ended."""

    def __init__(self) -> None:
        self.sums: dict[Labels, list[int]] = {}
        self.times: dict[tuple[str, str], Times] = {}  # by time and endpoint
        self.calls: dict[Call, int] = {}
        self.is_changed = False

    def add_rows(self, rows: Iterable[Row]) -> None:
        """Count rows that are committed."""
        self.is_changed = True
        for row in rows:
            labels = tuple([row[position] for position in LABEL_POSITIONS])
            sums = self.sums.get(labels) or self._add_labels(labels)
            for index, position in enumerate(SUMMED_POSITIONS):
                sums[index] += row[position] or 0
            for name, position in TIME_POSITIONS:
                if (milliseconds := row[position]) is not None:
                    self._add_time(name, row[ENDPOINT_POSITION], milliseconds)
            for attempt in row[ATTEMPTS_POSITION]:
                if attempt["outcome"] != SKIPPED:
                    call = attempt["provider"], attempt["outcome"]
                    self.calls[call] = self.calls.get(call, 0) + 1

    def _add_labels(self, labels: Labels) -> list[int]:
        """Return the sums of labels that are new; too many of them share the model `other`."""
        if len(self.sums) >= settings.METRICS_SERIES:
            endpoint, _model, provider_id, status, *_ = labels
            labels = (endpoint, OTHER, provider_id, status, None, "")
        return self.sums.setdefault(labels, [0] * len(SUMMED_COLUMNS))

    def _add_time(self, name: str, endpoint: str, milliseconds: float) -> None:
        times = self._get_times(name, endpoint)
        times.buckets[bisect_left(BOUNDS_MS, milliseconds)] += 1
        times.sum_ms[0] += milliseconds

    def _get_times(self, name: str, endpoint: str) -> Times:
        times = self.times.get((name, endpoint))
        if times is None:
            times = Times([0] * (len(BOUNDS_MS) + 1), [0.0])
            self.times[name, endpoint] = times
        return times

    # --- other processes --------------------------------------------------------------------------
    def as_json(self) -> JsonObject:
        """Return all counters as JSON, for `add_json` in another process.

        Any thread may call it: the lists of items are copied at once.
        """
        return {
            "sums": [[*labels, *sums] for labels, sums in list(self.sums.items())],
            "times": [
                [name, endpoint, *times.buckets, times.sum_ms[0]]
                for (name, endpoint), times in list(self.times.items())
            ],
            "calls": [[*call, count] for call, count in list(self.calls.items())],
        }

    def add_json(self, counters: Mapping[str, Sequence[Sequence[Any]]]) -> None:
        """Add the counters of another process.

        Raises ValueError when they are those of a release that counted otherwise.
        """
        label_count = len(LABEL_COLUMNS)
        for row in counters["sums"]:
            labels = tuple(row[:label_count])
            sums = self.sums.get(labels) or self._add_labels(labels)
            for index, value in enumerate(strip_to(row[label_count:], len(SUMMED_COLUMNS))):
                sums[index] += value
        for name, endpoint, *counts, sum_ms in counters["times"]:
            times = self._get_times(name, endpoint)
            for index, count in enumerate(strip_to(counts, len(times.buckets))):
                times.buckets[index] += count
            times.sum_ms[0] += sum_ms
        for provider, outcome, count in counters["calls"]:
            call = provider, outcome
            self.calls[call] = self.calls.get(call, 0) + count


def strip_to(values: Sequence[Any], count: int) -> Sequence[Any]:
    """Return the values if there are so many of them. Raises ValueError."""
    if len(values) != count:
        raise ValueError("these counters are those of another release")
    return values
