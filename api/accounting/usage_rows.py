"""Rows of the ledger: made of a request, read from a journal, or repaired.

A row is a list of values in the order of `usage_table.COLUMNS`. Rows come back from files, and
upstreams wrote parts of them. `repair_row` keeps every value that its column can hold and names
those that it had to leave out.
"""

import math
import time
from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import orjson

from api.accounting.journal import ENDED_FACTS, RUNNING_FACTS, Facts, split_facts
from api.accounting.spool import Row
from api.accounting.usage_table import (
    ATTEMPTS_INDEX,
    COLUMNS,
    EARLIER_COLUMN_COUNTS,
    FIRST_COLUMN_COUNT,
    LATER_VALUES,
)
from api.models import Status
from providers.protocol.trace import Trace
from providers.protocol.usage_meter import TokenUsage

Repair = Callable[[object], object]  # a value of a column -> what the column can hold
HIGHEST_ID = 2**63 - 1
HIGHEST_COUNT = 2**31 - 1
HIGHEST_STATUS = 2**15 - 1
ERROR_CODE_INDEX = COLUMNS.index("error_code")
ESTIMATED_INDEX = COLUMNS.index("estimated")
TEXT_LENGTHS = {"endpoint": 32, "model": 200, "error_code": 64, "refused_by": 64, "client": 32}
TIME_COLUMNS = ("queue_ms", "connect_ms", "first_byte_ms", "total_ms")
COUNT_COLUMNS = (
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "cache_write_tokens",
)


def build_finished_row(trace: Trace, status: Status, http_status: int, error_code: str) -> Row:
    """Return the row of a request that ended in this process.

    Its provider and token are those that answered, or else those that failed last: so one sees
    whose failures they are.
    """
    request = trace.request
    usage = trace.meter.counted or TokenUsage()
    cost = trace.meter.cost
    provider_id = None
    token_hex = None
    connect_ms = None
    attempt = trace.answering_attempt or trace.last_attempt
    if attempt is not None:
        provider_id = attempt.provider_id
        connect_ms = attempt.connect_ms
        if attempt.token_id is not None:
            token_hex = attempt.token_id.hex
    return [
        request.id,
        trace.started_at,
        trace.key_id,
        trace.user_id,
        provider_id,
        token_hex,
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
        connect_ms,
        trace.first_byte_ms,
        (time.perf_counter() - trace.started_seconds) * 1000,
        usage.cache_write,
        trace.team_id,
        cost.micro_usd,
        cost.price_id,
        cost.reported_micro_usd,
        "",
        1,
        trace.end_user_id,
        trace.client,
    ]


def row_from_facts(facts: Facts) -> Row:
    """Return the row of a request from the facts in its journal slot, and its ending if it has one.

    The attempts, the provider and some times are missing there. A request without an ending is
    marked as interrupted.
    """
    running, ended = split_facts(facts)
    request_id, started_at, key_id, user_id, endpoint, model, stream, team_id = running
    status, http_status, error_code, *counts = ended
    prompt, completion, reasoning, cached, estimated, total_ms, cache_write, *cost = counts
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
        cache_write,
        team_id,
        *cost,
        "",
        1,
        None,
        "",
    ]


def facts_from_row(row: Row) -> Facts:
    """Return the values of a finished row that go into the journal; `row_from_facts` reads them."""
    by_name = dict(zip(COLUMNS, row, strict=True))
    return [by_name[name] for name in (*RUNNING_FACTS, *ENDED_FACTS)]


# --- rows that no database accepts ----------------------------------------------------------------
def repair_row(row: Row) -> tuple[Row, list[str]]:
    """Return the row with every value that its column can hold, and the names of those left out.

    A row of an earlier release gets the columns that were added since. Counts that were left out
    are zero and marked as estimated. Raises ValueError when the row has no valid request id or
    time.
    """
    if len(row) in EARLIER_COLUMN_COUNTS:
        row = [*row, *LATER_VALUES[len(row) - FIRST_COLUMN_COUNT :]]
    if len(row) != len(COLUMNS):
        raise ValueError(f"it has {len(row)} columns, not {len(COLUMNS)}")
    require_identity(row)
    repaired = [COLUMN_REPAIRS[name](value) for name, value in zip(COLUMNS, row, strict=True)]
    refused = [
        name
        for name, before, after in zip(COLUMNS, row, repaired, strict=True)
        if is_other_value(before, after)
    ]
    if any(name in refused for name in COUNT_COLUMNS):
        repaired[ESTIMATED_INDEX] = True
    return repaired, refused


def is_other_value(before: object, after: object) -> bool:
    """Return whether a repair changed a value; NaN is the same as itself, and 1 not as True."""
    if before is after:
        return False
    return before != after or type(before) is not type(after)


def require_identity(row: Row) -> None:
    """Raise ValueError unless the row has a request's id and the time when it began."""
    request_id, started_at = row[:2]
    if not isinstance(request_id, str) or not is_hex_id(request_id):
        raise ValueError("its id is not a request id")
    if not isinstance(started_at, str):
        raise ValueError("its time is not a text")
    if datetime.fromisoformat(started_at).utcoffset() is None:
        raise ValueError("its time has no offset")


def is_hex_id(text: str) -> bool:
    """Return whether the text is a UUID as 32 hex digits.

    Raises ValueError when it is no UUID in any form.
    """
    return len(text) == 32 and UUID(text).hex == text


def keep_value(value: object) -> object:
    """Return the value unchanged: `require_identity` has checked it."""
    return value


def make_integer_repair(lowest: int, highest: int, fallback: int | None) -> Repair:
    """Return a check that passes whole numbers in the range and replaces others by `fallback`."""

    def repair_integer(value: object) -> int | None:
        if not isinstance(value, int) or isinstance(value, bool):
            return fallback
        if not lowest <= value <= highest:
            return fallback
        return value

    return repair_integer


def make_text_repair(length: int) -> Repair:
    """Return a check that makes a text of at most `length` characters for every database."""

    def repair_text(value: object) -> str:
        if not isinstance(value, str):
            return ""
        return make_storable(value)[:length]

    return repair_text


def make_storable(text: str) -> str:
    """Return the text without NUL, and with lone surrogates replaced by `?`."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def repair_token_id(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    try:
        return UUID(value).hex
    except ValueError:
        return None


def repair_milliseconds(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        is_finite = math.isfinite(value)
    except OverflowError:
        return None
    return value if is_finite else None


def repair_boolean(value: object) -> bool:
    return value is True


def repair_status(value: object) -> str:
    if isinstance(value, str) and value in Status.values:
        return str(value)
    return Status.ERROR.value


def repair_attempts(value: object) -> list[object]:
    """Return the attempts if they are JSON that both databases can hold, else an empty list."""
    if not isinstance(value, list):
        return []
    try:
        data = orjson.dumps(value)
    except TypeError:
        return []
    if b"\\u0000" in data:
        return []
    return value


COLUMN_REPAIRS: dict[str, Repair] = {
    "id": keep_value,
    "started_at": keep_value,
    "key_id": make_integer_repair(0, HIGHEST_ID, None),
    "user_id": make_integer_repair(0, HIGHEST_ID, None),
    "provider_id": make_integer_repair(0, HIGHEST_ID, None),
    "team_id": make_integer_repair(0, HIGHEST_ID, None),
    "cost_micro_usd": make_integer_repair(0, HIGHEST_ID, None),
    "price_id": make_integer_repair(0, HIGHEST_ID, None),
    "reported_cost_micro_usd": make_integer_repair(0, HIGHEST_ID, None),
    "end_user_id": make_integer_repair(0, HIGHEST_ID, None),
    "request_count": make_integer_repair(1, HIGHEST_COUNT, 1),
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
    """Return the row without any value of an upstream; its counts are zero and estimated."""
    stripped, _ = repair_row(row)
    stripped[ATTEMPTS_INDEX] = []
    stripped[ERROR_CODE_INDEX] = ""
    stripped[ESTIMATED_INDEX] = True
    for name in COUNT_COLUMNS:
        stripped[COLUMNS.index(name)] = 0
    for name in TIME_COLUMNS:
        stripped[COLUMNS.index(name)] = None
    return stripped
