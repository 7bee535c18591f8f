"""Rows of the ledger: made of a request, read from a journal, or repaired.

A row is a list of values in the order of `writers.COLUMNS`. Rows come back from files, and
upstreams wrote parts of them. `repair_row` keeps every value that its column can hold and names
those that it had to leave out.
"""

import math
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from api.accounting.journal import FACT_COUNT
from api.accounting.spool import Row
from api.accounting.writers import ATTEMPTS_INDEX, COLUMNS
from api.models import Status
from providers.protocol.trace import Trace
from providers.protocol.usage_meter import TokenUsage

HIGHEST_ID = 2**63 - 1
HIGHEST_COUNT = 2**31 - 1
HIGHEST_STATUS = 2**15 - 1
ERROR_CODE_INDEX = COLUMNS.index("error_code")
ESTIMATED_INDEX = COLUMNS.index("estimated")
TEXT_LENGTHS = {"endpoint": 32, "model": 200, "error_code": 64}
TIME_COLUMNS = ("queue_ms", "connect_ms", "first_byte_ms", "total_ms")
COUNT_COLUMNS = ("prompt_tokens", "completion_tokens", "reasoning_tokens", "cached_tokens")


def build_finished_row(trace: Trace, status: Status, http_status: int, error_code: str) -> Row:
    """Return the row of a request that ended in this process."""
    request = trace.request
    usage = trace.meter.counted or TokenUsage()
    answered = trace.answering_attempt
    token = answered.token_id if answered else None
    return [
        request.id,
        trace.started_at,
        trace.key_id,
        trace.user_id,
        answered.provider_id if answered else None,
        token.hex if token else None,
        request.ledger_endpoint,
        request.model,
        request.stream,
        status.value,
        http_status,
        error_code,
        trace.attempts_as_dicts(),
        usage.prompt,
        usage.completion,
        usage.reasoning,
        usage.cached,
        usage.estimated,
        trace.queue_ms,
        answered.connect_ms if answered else None,
        trace.first_byte_ms,
        (time.perf_counter() - trace.started_seconds) * 1000,
    ]


def row_from_facts(facts: list[Any]) -> Row:
    """Return the row of a request from the facts in its journal slot, and its ending if it has one.

    The attempts, the provider and some times are missing there. A request without an ending is
    marked as interrupted.
    """
    if len(facts) == FACT_COUNT:
        facts = [*facts, Status.INTERRUPTED.value, None, "interrupted", 0, 0, 0, 0, False, None]
    request_id, started_at, key_id, user_id, endpoint, model, stream = facts[:7]
    status, http_status, error_code, prompt, completion, reasoning, cached = facts[7:14]
    estimated, total_ms = facts[14:]
    return [
        request_id,
        started_at,
        key_id,
        user_id,
        None,
        None,
        endpoint,
        model,
        stream,
        status,
        http_status,
        error_code,
        [],
        prompt,
        completion,
        reasoning,
        cached,
        estimated,
        None,
        None,
        None,
        total_ms,
    ]


def facts_from_row(row: Row) -> list[Any]:
    """Return the values of a finished row that go into the journal; `row_from_facts` reads them."""
    facts = [*row[:4], *row[6:9]]
    return [*facts, *row[9:12], *row[13:18], row[-1]]


# --- rows that no database accepts ----------------------------------------------------------------
def repair_row(row: Row) -> tuple[Row, list[str]]:
    """Return the row with every value that its column can hold, and the names of those left out.

    Counts that were left out are zero and marked as estimated. Raises ValueError when the row has
    no valid request id or time.
    """
    if len(row) != len(COLUMNS):
        raise ValueError(f"it has {len(row)} columns, not {len(COLUMNS)}")
    require_identity(row)
    repaired = [COLUMN_REPAIRS[name](value) for name, value in zip(COLUMNS, row, strict=True)]
    refused = [
        name
        for name, before, after in zip(COLUMNS, row, repaired, strict=True)
        if before is not after and (before != after or type(before) is not type(after))
    ]
    if any(name in refused for name in COUNT_COLUMNS):
        repaired[ESTIMATED_INDEX] = True
    return repaired, refused


def require_identity(row: Row) -> None:
    """Raise ValueError unless the row has a request's id and the time when it began."""
    request_id, started_at = row[:2]
    if (
        not isinstance(request_id, str)
        or len(request_id) != 32
        or UUID(request_id).hex != request_id
    ):
        raise ValueError("its id is none")
    if not isinstance(started_at, str):
        raise ValueError("its time is no text")
    if datetime.fromisoformat(started_at).utcoffset() is None:
        raise ValueError("its time has no offset")


def keep_value(value: Any) -> Any:
    """Return the value unchanged: `require_identity` has checked it."""
    return value


def make_integer_repair(lowest: int, highest: int, fallback: int | None) -> Callable[[Any], Any]:
    """Return a check that passes whole numbers in the range and replaces others by `fallback`."""

    def repair_integer(value: Any) -> Any:
        is_number = isinstance(value, int) and not isinstance(value, bool)
        return value if is_number and lowest <= value <= highest else fallback

    return repair_integer


def make_text_repair(length: int) -> Callable[[Any], str]:
    """Return a check that makes a text of at most `length` characters for every database."""

    def repair_text(value: Any) -> str:
        text = value if isinstance(value, str) else ""
        return storable_text(text)[:length]

    return repair_text


def storable_text(text: str) -> str:
    """Return the text without NUL, and with lone surrogates replaced by `?`."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def repair_token_id(value: Any) -> str | None:
    try:
        return UUID(value).hex if isinstance(value, str) else None
    except ValueError:
        return None


def repair_milliseconds(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    try:
        return value if is_number and math.isfinite(value) else None
    except OverflowError:
        return None


def repair_boolean(value: Any) -> bool:
    return value if isinstance(value, bool) else False


def repair_status(value: Any) -> str:
    return str(value) if value in Status.values else Status.ERROR.value


def repair_attempts(value: Any) -> list[Any]:
    """Return the attempts if they are JSON that both databases can hold, else an empty list."""
    try:
        data = orjson.dumps(value)
    except TypeError:
        return []
    return value if isinstance(value, list) and b"\\u0000" not in data else []


COLUMN_REPAIRS: dict[str, Callable[[Any], Any]] = {
    "id": keep_value,
    "started_at": keep_value,
    "key_id": make_integer_repair(0, HIGHEST_ID, None),
    "user_id": make_integer_repair(0, HIGHEST_ID, None),
    "provider_id": make_integer_repair(0, HIGHEST_ID, None),
    "token_id": repair_token_id,
    "stream": repair_boolean,
    "status": repair_status,
    "http_status": make_integer_repair(0, HIGHEST_STATUS, None),
    "attempts": repair_attempts,
    "estimated": repair_boolean,
    **{name: make_text_repair(length) for name, length in TEXT_LENGTHS.items()},
    **dict.fromkeys(COUNT_COLUMNS, make_integer_repair(0, HIGHEST_COUNT, 0)),
    **dict.fromkeys(TIME_COLUMNS, repair_milliseconds),
}


def strip_upstream_values(row: Row) -> Row:
    """Return the row without anything that an upstream said; its counts are zero and estimated."""
    repaired, _ = repair_row(row)
    repaired[ATTEMPTS_INDEX], repaired[ERROR_CODE_INDEX], repaired[ESTIMATED_INDEX] = [], "", True
    for name in (*COUNT_COLUMNS, *TIME_COLUMNS):
        repaired[COLUMNS.index(name)] = 0 if name in COUNT_COLUMNS else None
    return repaired
