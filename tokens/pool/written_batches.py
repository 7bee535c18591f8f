"""Batches that a process writes to the database exactly once.

When a connection is lost during a commit, nobody can tell whether the commit was done. So each
batch has a number, which is written in the same transaction (`WrittenBatch`). A batch that is tried
again finds out there whether it was written.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar
from uuid import UUID, uuid4

from django.db import connection

from tokens.models import WrittenBatch

T = TypeVar("T")

MARK_WRITTEN_SQL = """
    INSERT INTO tokens_writtenbatch (writer, number, left_out, written_at)
    VALUES (%s, %s, '[]', CURRENT_TIMESTAMP)
    ON CONFLICT (writer) DO UPDATE
    SET number = excluded.number, left_out = excluded.left_out, written_at = excluded.written_at
    WHERE tokens_writtenbatch.number < excluded.number
"""


@dataclass(frozen=True, slots=True)
class NumberedBatch(Generic[T]):
    """The rows of one transaction, with the writer's id and the batch's number.

    Each writer numbers its own batches.
    """

    writer_id: str
    number: int
    rows: T

    def mark_written(self) -> bool:
        """Record the batch as written, in its own transaction. Return False if it already was."""
        with connection.cursor() as cursor:
            cursor.execute(MARK_WRITTEN_SQL, [self.writer_id, self.number])
            return bool(cursor.rowcount == 1)

    def record_left_out(self, ids: set[UUID]) -> None:
        """Record which tokens were left out, for a retry of the same batch."""
        if ids:
            WrittenBatch.objects.filter(writer=self.writer_id).update(
                left_out=[str(token_id) for token_id in ids]
            )

    def read_left_out(self) -> set[UUID]:
        """Return the tokens that were left out when the batch was written."""
        left_out: list[str] = WrittenBatch.objects.values_list("left_out", flat=True).get(
            writer=self.writer_id
        )
        return {UUID(token_id) for token_id in left_out}


@dataclass(slots=True)
class NumberedBatches(Generic[T]):
    """The batches of one kind that one process writes.

    `waiting_batch` is the batch that may or may not have been written.
    """

    writer_id: str = field(default_factory=lambda: uuid4().hex)
    waiting_batch: NumberedBatch[T] | None = None
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def start_batch(self, rows: T) -> NumberedBatch[T]:
        """Return the next batch; it waits until `finish_batch`."""
        self.waiting_batch = NumberedBatch(self.writer_id, next(self._numbers), rows)
        return self.waiting_batch

    def finish_batch(self) -> None:
        """Forget the waiting batch: it was written, or the database refused it."""
        self.waiting_batch = None
