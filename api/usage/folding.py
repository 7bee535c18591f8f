"""Add new usage records to the roll-ups on SQLite, many at once.

A trigger for each record would cost the ledger more than the record itself. Instead its writer
adds all records since the last time, by a few statements in a transaction that it has anyway.
`RollupState.folded_record` is the last record that the roll-ups contain, in the order of writing.
It is written in the same transaction: after a crash nothing is missing or counted twice, and the
next process adds the rest. Queries count the records behind it themselves (`usage_query.py`).
"""

import logging
import sqlite3
import time

from api.usage.record_additions import list_add_statements
from api.usage.rollup_sql import FOLDED_ROWID, RECORDS, SQLITE, STATE

logger = logging.getLogger(__name__)
FOLD_SECONDS = 0.5  # the ledger's writer adds new records at most that often
RETRY_SECONDS = 10.0  # after a failure; the records themselves are written meanwhile
MOST_RECORDS = 20_000  # of one transaction, so that other writers do not wait long
NEW_RECORDS = f"(SELECT * FROM {RECORDS} WHERE rowid > :first AND rowid <= :last)"
NEWEST_SQL = f"SELECT {FOLDED_ROWID}, COALESCE((SELECT max(rowid) FROM {RECORDS}), 0)"
ADD_STATEMENTS = list_add_statements(SQLITE, NEW_RECORDS)
MARK_SQL = (
    f"INSERT INTO {STATE} (id, folded_record, needs_rebuild) "
    f"SELECT 1, id, 0 FROM {RECORDS} WHERE rowid <= :last ORDER BY rowid DESC LIMIT 1 "
    "ON CONFLICT (id) DO UPDATE SET folded_record = excluded.folded_record"
)


def fold_records(db: sqlite3.Connection) -> bool:
    """Add new records to the roll-ups; return whether more are left.

    The caller has begun a transaction that may write. At most MOST_RECORDS are added.
    """
    first, newest = db.execute(NEWEST_SQL).fetchone()
    if newest <= first:
        return False
    last = min(newest, first + MOST_RECORDS)
    for statement in ADD_STATEMENTS:
        db.execute(statement, {"first": first, "last": last})
    db.execute(MARK_SQL, {"last": last})
    return bool(last < newest)


class RecordFolder:
    """When the ledger's writer adds new records to the roll-ups, and how."""

    def __init__(self) -> None:
        self._has_new_records = True  # a dead process may have left some
        self._due_seconds = 0.0  # on the monotonic clock

    @property
    def pause_seconds(self) -> float | None:
        """Return how long nothing is due; None when there are no new records."""
        if not self._has_new_records:
            return None
        return max(self._due_seconds - time.monotonic(), 0)

    def make_due(self) -> None:
        """Let the next transaction add the new records."""
        self._due_seconds = 0.0

    def postpone(self) -> None:
        """Let nothing be due for RETRY_SECONDS, after a failure."""
        self._due_seconds = time.monotonic() + RETRY_SECONDS

    def fold_if_due(self, db: sqlite3.Connection) -> None:
        """Add new records to the roll-ups if it is time; the caller has begun a transaction.

        A failure is logged and leaves the caller's own changes as they are. Raises no error of
        SQLite unless it has ended the transaction.
        """
        now = time.monotonic()
        self._has_new_records = True
        if now < self._due_seconds:
            return
        self._due_seconds = now + FOLD_SECONDS
        db.execute("SAVEPOINT rollups")
        try:
            self._has_new_records = fold_records(db)
        except sqlite3.Error:
            if not db.in_transaction:
                raise
            logger.exception("the roll-ups of usage records could not be written")
            self.postpone()
            db.execute("ROLLBACK TO rollups")
        db.execute("RELEASE rollups")


def fold_all_records() -> None:
    """Add all new records to the roll-ups, through Django's connection; on Postgres do nothing.

    For commands and tasks, which run beside the ledger.
    """
    from django.db import connection, transaction

    if connection.vendor != "sqlite":
        return
    has_more = True
    while has_more:
        with transaction.atomic():
            has_more = fold_records(connection.connection)
