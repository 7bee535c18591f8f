"""Distinguish an outage of the database from a fault of this program or of its tables.

An outage ends by itself: the caller gets a 503 `database_unavailable` and may retry. Any other
error, such as a missing column or a value that the database refuses, stays until somebody acts: the
caller gets a 500 `internal_error`, and the log gets the traceback, once a minute for each kind.
"""

import logging
import time
import traceback

from django.db import DatabaseError, InterfaceError, OperationalError
from django.db import Error as AnyDatabaseError

from providers.exceptions import DatabaseUnavailable, GatewayError, InternalError

logger = logging.getLogger(__name__)

LOG_AGAIN_SECONDS = 60.0
MOST_LOGGED_KINDS = 200
MESSAGE_CHARS = 200

# SQLSTATE classes of errors that end by themselves: connection, rollback, resources, operator,
# system; and single codes
OUTAGE_CLASSES = frozenset(("08", "28", "40", "53", "55", "57", "58", "3D"))
OUTAGE_STATES = frozenset(("25006", "XX001", "XX002"))  # a read-only standby; damaged files
# SQLite's primary result codes for files that are locked, full, damaged, missing or read-only
OUTAGE_CODES = frozenset((5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 26))

_logged_at: dict[tuple[str, str], float] = {}


def is_outage(error: BaseException) -> bool:
    """Return whether the database is away, overloaded or locked, so that a retry may succeed."""
    if not isinstance(error, AnyDatabaseError):
        return False
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None)
    if state:
        return state[:2] in OUTAGE_CLASSES or state in OUTAGE_STATES
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None:
        return code & 0xFF in OUTAGE_CODES
    # Django raises some of its own, which say nothing about the database
    if type(error) is DatabaseError:
        return cause is not None
    # sqlite3 raises it without a code for a value that it cannot bind
    if isinstance(error, InterfaceError):
        return not type(cause).__module__.startswith("sqlite3")
    return isinstance(error, OperationalError)


def explain_database_error(error: AnyDatabaseError) -> GatewayError:
    """Return the error that a caller gets for a database error; log it unless it is an outage."""
    if is_outage(error):
        return DatabaseUnavailable("The database is not available.", retry_after_seconds=2)
    log_fault(error)
    return InternalError("Something went wrong here.")


def log_unless_outage(error: BaseException) -> None:
    """Log a database error that does not end by itself, for work that is retried in any case."""
    if isinstance(error, AnyDatabaseError) and not is_outage(error):
        log_fault(error)


def log_fault(error: AnyDatabaseError) -> None:
    """Log a database error that is no outage, with its traceback; each kind once a minute.

    Only the first line of its text is logged: the other lines may hold the values of a row.
    """
    place = ""
    for frame in traceback.extract_tb(error.__traceback__)[-1:]:
        place = f"{frame.filename}:{frame.lineno}"
    cause = error.__cause__
    state = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", "")
    kind = (f"{type(error).__name__} {state}".strip(), f"{place} {first_line(error)}")
    now = time.monotonic()
    if now - _logged_at.get(kind, -LOG_AGAIN_SECONDS) < LOG_AGAIN_SECONDS:
        return
    _logged_at.pop(kind, None)
    if len(_logged_at) >= MOST_LOGGED_KINDS:
        _logged_at.pop(next(iter(_logged_at)))
    _logged_at[kind] = now
    short_error = type(error)(first_line(error))
    logger.error(
        "a database error that is no outage (%s); it is logged once a minute",
        kind[0],
        exc_info=(type(error), short_error, error.__traceback__),
    )


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, at most MESSAGE_CHARS long."""
    return (str(error).splitlines() or [""])[0][:MESSAGE_CHARS]
