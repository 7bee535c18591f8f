"""Keyed job queues: the jobs of one queue run one at a time.

Callers of an identical job share its result: a job has the name of its queue and a key that is the
same for the same work. A job that has begun runs to its end even when all its callers have left;
before that it is dropped.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from conversations.documents.index_worker import Indivisible
from providers.database.keyed_locks import KeyedLocks
from providers.exceptions import Saturated

logger = logging.getLogger(__name__)
LONGEST = 8  # jobs in one queue
T = TypeVar("T")
Begun = Callable[[], None]


@dataclass(slots=True, eq=False)
class Piece(Generic[T]):
    """One job: how many callers wait for it, and whether it has begun."""

    line: Hashable
    task: "asyncio.Task[T]"
    waiters: int = 0
    begun: bool = False

    def begin(self) -> None:
        """Mark the job as begun, from any thread."""
        self.begun = True


class Line(Generic[T]):
    """The job queues of a process by name, for its event loop only."""

    def __init__(self) -> None:
        self._locks = KeyedLocks(asyncio.Lock)  # by the name of the queue
        self._pieces: dict[Hashable, Piece[T]] = {}

    def __len__(self) -> int:
        return len(self._pieces)

    async def join(self, line: Hashable, key: Hashable, work: Callable[[Begun], Awaitable[T]]) -> T:
        """Return the result of the job, when its turn has come.

        `work` gets a function that it calls when it begins. Raises Saturated when the queue is too
        long, and the errors of the job.
        """
        piece = self._pieces.get((line, key)) or self._new(line, key, work)
        piece.waiters += 1
        try:
            return await asyncio.shield(piece.task)
        finally:
            piece.waiters -= 1
            if not piece.waiters and not piece.begun and not piece.task.done():
                piece.task.cancel()
                self._forget((line, key), piece)

    def _new(
        self, line: Hashable, key: Hashable, work: Callable[[Begun], Awaitable[T]]
    ) -> Piece[T]:
        if sum(piece.line == line for piece in self._pieces.values()) >= LONGEST:
            raise Saturated("Too many of your documents are being taken in.", retry_after_seconds=5)

        async def in_turn() -> T:
            async with self._locks.get_lock(line):
                return await work(piece.begin)

        piece: Piece[T] = Piece(line, asyncio.create_task(in_turn()))
        self._pieces[line, key] = piece
        piece.task.add_done_callback(lambda task: self._ended((line, key), piece))
        return piece

    def _forget(self, key: Hashable, piece: Piece[T]) -> None:
        if self._pieces.get(key) is piece:
            del self._pieces[key]

    def _ended(self, key: Hashable, piece: Piece[T]) -> None:
        self._forget(key, piece)
        if piece.task.cancelled():
            return
        error = piece.task.exception()
        if error is not None and not piece.waiters and not isinstance(error, Indivisible):
            logger.error("a text was not taken in", exc_info=error)

    async def settle(self, seconds: float) -> None:
        """Wait for all jobs to end, at most so many seconds."""
        tasks = [piece.task for piece in self._pieces.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
