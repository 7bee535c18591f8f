"""Sample the requests that run in this process, and those that have just finished.

A sample is JSON, so that it can go to other processes. The gateway keeps its running requests
anyway (`Ledger.open_requests`). Finished ones are reported only while somebody watches.
"""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from uuid import uuid4

from api.accounting.ledger import Ledger, OpenRequest
from api.accounting.spool import Row
from api.accounting.usage_table import COLUMNS
from providers.protocol.json_types import JsonObject
from providers.protocol.trace import Trace

PROCESS_ID = uuid4().hex[:12]  # of this process, to tell its samples from those of others
WAITING = "waiting"  # for a token
ASKED = "asked"  # an upstream is asked, and nothing has come yet
STREAMING = "streaming"
STATES = (WAITING, ASKED, STREAMING)
RUNNING = "running"  # the outcome of an attempt that has not ended
LONGEST_NAME = 120  # characters of a model's name on the board

POSITIONS = {name: position for position, name in enumerate(COLUMNS)}
REQUEST_COUNT = POSITIONS["request_count"]
SHOWN_COLUMNS = (
    "started_at",
    "key_id",
    "user_id",
    "endpoint",
    "status",
    "http_status",
    "error_code",
    "prompt_tokens",
    "completion_tokens",
    "first_byte_ms",
    "total_ms",
    "cost_micro_usd",
    "request_count",
)


class FinishedRequests:
    """The requests that finished since the last sample: their number, and the latest rows."""

    def __init__(self, most_rows: int) -> None:
        self._rows: deque[Row] = deque(maxlen=most_rows)
        self._count = 0

    def add_row(self, row: Row) -> None:
        """Add the row of a request that has just finished. Called for every request."""
        self._count += row[REQUEST_COUNT]
        self._rows.append(row)

    def take_sample(self) -> JsonObject:
        """Return the number of finished requests and the latest of them, and forget them."""
        sample = {
            "finished_count": self._count,
            "finished": [describe_finished(row) for row in self._rows],
        }
        self._rows.clear()
        self._count = 0
        return sample


def sample_running(ledger: Ledger, most_rows: int) -> JsonObject:
    """Return how many requests run in each state, and `most_rows` of them.

    When more run, half of those are the oldest and half the newest.
    """
    requests = ledger.open_requests
    counts = dict.fromkeys(STATES, 0)
    for _, trace in requests:
        counts[find_state(trace)] += 1
    return {
        "counts": counts,
        "running": [describe_running(trace) for _, trace in choose_rows(requests, most_rows)],
    }


def choose_rows(requests: Iterable[OpenRequest], most_rows: int) -> list[OpenRequest]:
    """Return all requests, or else the oldest and the newest, in the order of time."""
    everything = list(requests)
    if len(everything) <= most_rows:
        return everything
    newest_count = most_rows // 2
    oldest = everything[: most_rows - newest_count]
    return [*oldest, *islice(everything, len(everything) - newest_count, None)]


def find_state(trace: Trace) -> str:
    """Return WAITING, ASKED or STREAMING."""
    if trace.first_byte_ms is not None:
        return STREAMING
    calls = trace.meter.calls
    attempt = calls[-1].attempt if calls else None
    if attempt is None or attempt.outcome != RUNNING:
        return WAITING
    return ASKED if attempt.first_byte_ms is None else STREAMING


def describe_running(trace: Trace) -> JsonObject:
    """Return a running request as JSON; `parts` are the pieces of text that have come so far."""
    request = trace.request
    calls = trace.meter.calls
    attempt = calls[-1].attempt if calls else None
    return {
        "id": f"req_{request.id}",
        "model": request.model[:LONGEST_NAME],
        "endpoint": request.ledger_endpoint,
        "key_id": trace.key_id,
        "user_id": trace.user_id,
        "provider": attempt.provider if attempt is not None else "",
        "started_at": trace.started_at,
        "state": find_state(trace),
        "parts": sum(len(call.texts) + len(call.reasoning) for call in calls),
        "tries": sum(entry.outcome != "skipped" for entry in trace.attempts),
    }


def describe_finished(row: Row) -> JsonObject:
    """Return the row of a finished request as JSON for the board."""
    facts: JsonObject = {name: row[POSITIONS[name]] for name in SHOWN_COLUMNS}
    attempts = [entry for entry in row[POSITIONS["attempts"]] if entry["outcome"] != "skipped"]
    return facts | {
        "id": f"req_{row[POSITIONS['id']]}",
        "model": row[POSITIONS["model"]][:LONGEST_NAME],
        "provider": attempts[-1]["provider"] if attempts else "",
        "tries": len(attempts),
    }
