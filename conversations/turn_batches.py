"""Turns that end all at once, as those that a shutdown cuts off do: written many in one transaction."""

import asyncio

from django.db import DatabaseError

from conversations import turns
from conversations.turns import Finished, Lost
from providers.exceptions import ConversationBusy, DatabaseUnavailable
from providers.offloop import off_loop

AT_ONCE = 50
PATIENCE_SECONDS = 10.0  # of one batch; what waits behind a batch that fails is not tried

Waiting = tuple[Finished, "asyncio.Future[None]"]


class TurnBatches:
    """One per process. A task writes while there is something to write."""

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def write(self, finished: Finished) -> None:
        """Return when the turn is written. Raises DatabaseUnavailable, ConversationBusy."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((finished, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_all())
        await done

    async def _write_all(self) -> None:
        await asyncio.sleep(0)  # who ends in this turn of the loop joins the batch
        while self._waiting:
            batch, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    problems = await off_loop(turns.finish_all, [finished for finished, _ in batch])
            except (DatabaseError, TimeoutError):
                batch, self._waiting = batch + self._waiting, []
                problems = {finished.id: away() for finished, _ in batch}
            for finished, done in batch:
                settle(done, problems.get(finished.id))


def settle(done: "asyncio.Future[None]", problem: Exception | None) -> None:
    """Wake who waits for a turn, unless he has left."""
    if done.done():
        return
    if problem is None:
        done.set_result(None)
    elif isinstance(problem, Lost):
        done.set_exception(ConversationBusy("This answer took so long that its conversation went on without it."))
    else:
        done.set_exception(problem if isinstance(problem, DatabaseUnavailable) else away())


def away() -> DatabaseUnavailable:
    return DatabaseUnavailable("The database does not answer.", retry_after_seconds=2)
