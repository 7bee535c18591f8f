"""The columns of usage records, and the statements that both writers share."""

from collections.abc import Callable
from typing import TypeVar

import orjson

from api.accounting.spool import Row
from api.accounting.write_errors import RowsRefused

T = TypeVar("T")
TABLE = "api_usagerecord"
COLUMNS = (
    "id",
    "started_at",
    "key_id",
    "user_id",
    "provider_id",
    "token_id",
    "endpoint",
    "model",
    "stream",
    "status",
    "http_status",
    "error_code",
    "attempts",
    "prompt_tokens",
    "completion_tokens",
    "reasoning_tokens",
    "cached_tokens",
    "estimated",
    "queue_ms",
    "connect_ms",
    "first_byte_ms",
    "total_ms",
    "cache_write_tokens",
    "team_id",
    "cost_micro_usd",
    "price_id",
    "reported_cost_micro_usd",
    "refused_by",
    "request_count",
    "end_user_id",
    "client",
)
# Rows in files of earlier releases end before the columns that were added since; these are the
# values of a row that lacks them.
FIRST_COLUMN_COUNT = COLUMNS.index("cache_write_tokens")
LATER_VALUES = (0, None, None, None, None, "", 1, None, "")
EARLIER_COLUMN_COUNTS = (FIRST_COLUMN_COUNT, FIRST_COLUMN_COUNT + 1, FIRST_COLUMN_COUNT + 8)
STARTED_AT_INDEX = COLUMNS.index("started_at")
ATTEMPTS_INDEX = COLUMNS.index("attempts")
COLUMN_NAMES = ", ".join(COLUMNS)
SKIP_EXISTING = "ON CONFLICT (id) DO NOTHING"  # a row that exists is left unchanged
# Raised by drivers on a value that they cannot send.
CONVERSION_ERRORS = (TypeError, ValueError, OverflowError)
# Raised here on a row whose values are of other kinds than its columns. Not among them are errors
# that say nothing about the row, such as MemoryError: it is written later.
ROW_ERRORS = (*CONVERSION_ERRORS, ArithmeticError, AttributeError, LookupError, RecursionError)


def build_insert_sql(placeholder: str, row_count: int = 1) -> str:
    """Return the statement that inserts rows; `placeholder` is the driver's for one value."""
    placeholders = f"({', '.join([placeholder] * len(COLUMNS))})"
    values = ", ".join([placeholders] * row_count)
    insert = f"INSERT INTO {TABLE} ({COLUMN_NAMES}) VALUES {values}"  # noqa: S608
    return f"{insert} {SKIP_EXISTING}"


def require_column_count(rows: list[Row]) -> None:
    """Raise RowsRefused unless every row has as many values as COLUMNS."""
    if any(len(row) != len(COLUMNS) for row in rows):
        raise RowsRefused("a row has not the columns of this version")


def convert_rows(rows: list[Row], convert_row: Callable[[Row], T]) -> list[T]:
    """Return each row as `convert_row` makes it for a driver.

    Raises RowsRefused on a row that cannot be converted.
    """
    require_column_count(rows)
    try:
        return [convert_row(row) for row in rows]
    except ROW_ERRORS as error:
        raise RowsRefused(f"{type(error).__name__}: {error}") from error


def encode_attempts(row: Row) -> Row:
    """Return a copy of the row with its attempts as a JSON text."""
    values = list(row)
    values[ATTEMPTS_INDEX] = orjson.dumps(row[ATTEMPTS_INDEX]).decode()
    return values
