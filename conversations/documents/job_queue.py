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

from conversations.documents.index_worker import IndivisibleText
from providers.database.keyed_locks import KeyedLocks
from providers.exceptions import Saturated

logger = logging.getLogger(__name__)
MOST_JOBS = 8  # jobs in one queue
T = TypeVar("T")
MarkBegun = Callable[[], None]


@dataclass(slots=True, eq=False)
class QueuedJob(Generic[T]):
    """One job: how many callers wait for it, and whether it has begun."""

    queue_name: Hashable
    task: "asyncio.Task[T]"
    waiter_count: int = 0
    has_begun: bool = False

    def mark_begun(self) -> None:
        """Mark the job as begun, from any thread."""
        self.has_begun = True


class JobQueues(Generic[T]):
    """The job queues of a process by name, for its event loop only."""

    def __init__(self) -> None:
        self._locks = KeyedLocks(asyncio.Lock)  # by the name of the queue
        self._jobs: dict[Hashable, QueuedJob[T]] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    async def join_job(
        self, queue_name: Hashable, key: Hashable, work: Callable[[MarkBegun], Awaitable[T]]
    ) -> T:
        """Return the result of the job, when its turn has come.

        `work` gets a function that it calls when it begins. Raises Saturated when the queue is too
        long, and the errors of the job.
        """
        job = self._jobs.get((queue_name, key)) or self._create_job(queue_name, key, work)
        job.waiter_count += 1
        try:
            return await asyncio.shield(job.task)
        finally:
            job.waiter_count -= 1
            if not job.waiter_count and not job.has_begun and not job.task.done():
                job.task.cancel()
                self._remove_job((queue_name, key), job)

    def _create_job(
        self, queue_name: Hashable, key: Hashable, work: Callable[[MarkBegun], Awaitable[T]]
    ) -> QueuedJob[T]:
        if sum(job.queue_name == queue_name for job in self._jobs.values()) >= MOST_JOBS:
            raise Saturated("Too many of your documents are being taken in.", retry_after_seconds=5)

        async def run_in_turn() -> T:
            async with self._locks.get_lock(queue_name):
                return await work(new_job.mark_begun)

        new_job: QueuedJob[T] = QueuedJob(queue_name, asyncio.create_task(run_in_turn()))
        self._jobs[queue_name, key] = new_job
        new_job.task.add_done_callback(
            lambda task: self._handle_job_end((queue_name, key), new_job)
        )
        return new_job

    def _remove_job(self, key: Hashable, job: QueuedJob[T]) -> None:
        if self._jobs.get(key) is job:
            del self._jobs[key]

    def _handle_job_end(self, key: Hashable, job: QueuedJob[T]) -> None:
        self._remove_job(key, job)
        if job.task.cancelled():
            return
        error = job.task.exception()
        if error is not None and not job.waiter_count and not isinstance(error, IndivisibleText):
            logger.error("a text was not taken in", exc_info=error)

    async def wait_for_jobs(self, seconds: float) -> None:
        """Wait for all jobs to end, at most so many seconds."""
        tasks = [job.task for job in self._jobs.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)
