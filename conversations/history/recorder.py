"""Record conversation history on the request path.

`recall` loads the history before the upstream is called; `remember` saves the turn before the last
byte is sent.

There is one `History` per process. Only one turn of a conversation runs at a time, here or in
another process. A second request waits in order of arrival, at most CONVERSATION_WAIT_SECONDS.
`remember` is the outermost generator around the answer: it collects the chunks and saves the turn
when the answer is complete, cut off or abandoned. Its end comes after that, so a client that has
seen the end can continue in any process at once. `keep` renews the leases of running turns and
stops those that are to be stopped.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import DatabaseError

from conversations.history import finish_turn, start_turn
from conversations.history.dead_turns import TurnRunning
from conversations.history.finish_turn import TurnLost, TurnOutcome, TurnStart
from conversations.history.turn_batches import TurnBatches
from conversations.history.turn_outcome import (
    SHUT_DOWN_ERROR,
    OpenTurn,
    determine_outcome,
    make_undelivered,
)
from conversations.history.turn_request import TurnRequest
from conversations.messages.answer_builder import CollectedAnswer
from providers.database.database_threads import HOUSEKEEPING, TURNS, await_in_time, run_in_thread
from providers.database.keyed_locks import KeyedLocks
from providers.exceptions import ConversationBusy, DatabaseUnavailable
from providers.protocol.chunks import Batches
from providers.protocol.request import Resume
from providers.protocol.trace import Trace

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.1  # while another process has the conversation
TICK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class RecalledTurn:
    """A turn that has begun.

    `messages` are all messages for its upstream.
    """

    turn: OpenTurn
    messages: list[dict[str, Any]]
    resume: Resume | None
    continues_conversation: bool  # the request names a conversation or an older response


class History:
    def __init__(self) -> None:
        self._locks = KeyedLocks(asyncio.Lock)  # by user and conversation
        self._write_tasks: set[asyncio.Task[None]] = set()
        self._unwritten_outcomes: list[TurnOutcome] = []
        self._batches = TurnBatches()
        self.running_turns: dict[str, OpenTurn] = {}

    # --- before -----------------------------------------------------------------------------------
    async def recall_turn(self, turn_request: TurnRequest) -> RecalledTurn:
        """Start the request's turn and load its history. Writes the turn.

        Raises UnknownUrl, InvalidRequest, ConversationBusy, DatabaseUnavailable.
        """
        until = time.monotonic() + settings.CONVERSATION_WAIT_SECONDS
        lock = await self._acquire_lock(turn_request, until)
        try:
            begun = await self._begin_when_free(turn_request, until)
        except BaseException:  # also when the caller left; others wait for the lock
            if lock is not None:
                lock.release()
            raise
        turn = OpenTurn(
            begun,
            turn_request.endpoint,
            turn_request.background,
            CollectedAnswer(begun.id, turn_request.tool_names),
            lock=lock,
        )
        self.running_turns[turn.id] = turn
        goes_on = bool(
            turn_request.name or turn_request.conversation_id or turn_request.previous_id
        )
        return RecalledTurn(turn, begun.messages, begun.resume, goes_on)

    async def _acquire_lock(self, turn_request: TurnRequest, until: float) -> asyncio.Lock | None:
        """Acquire this process's lock for the request's conversation, or return None without one.

        Raises ConversationBusy when it takes longer than `until`.
        """
        wanted = turn_request.name or turn_request.conversation_id
        if not wanted:
            return None
        lock = self._locks.get_lock((turn_request.user_id, wanted))
        try:
            async with asyncio.timeout(until - time.monotonic()):
                await lock.acquire()
        except TimeoutError:
            raise make_busy_error() from None
        return lock

    async def _begin_when_free(self, turn_request: TurnRequest, until: float) -> TurnStart:
        while True:
            try:
                return await self._begin_in_thread(turn_request)
            except TurnRunning:
                if time.monotonic() >= until:
                    raise make_busy_error() from None
                await asyncio.sleep(POLL_SECONDS)

    async def _begin_in_thread(self, turn_request: TurnRequest) -> TurnStart:
        """Start the turn in a database thread; take it back when nobody waits for it any more."""
        seconds = settings.DATABASE_TIMEOUT_SECONDS
        work = await TURNS.start_work(
            turn_request.user_id, start_turn.begin_turn_within, turn_request, seconds
        )
        try:
            return await await_in_time(asyncio.shield(work))
        except (DatabaseUnavailable, asyncio.CancelledError):
            work.add_done_callback(self._delete_unwanted_turn)
            raise

    def _delete_unwanted_turn(self, work: "asyncio.Future[TurnStart]") -> None:
        if not work.cancelled() and work.exception() is None:
            self._start_write(run_in_thread(finish_turn.delete_turn, work.result()))

    async def delete_refused_turn(self, turn: OpenTurn) -> None:
        """Delete a turn that was refused after it had started."""
        await self._run_to_end(turn, run_in_thread(finish_turn.delete_turn, turn.turn_start))

    # --- after ------------------------------------------------------------------------------------
    async def record_turn(self, turn: OpenTurn, trace: Trace, batches: Batches) -> Batches:
        """Relay the chunks; save the turn before this generator ends, however it ends.

        Raises DatabaseUnavailable in place of a good end when the turn cannot be saved.
        """
        try:
            async with aclosing(batches):
                async for batch in batches:
                    turn.answer.add_chunks(batch)
                    yield batch
        finally:
            await self._run_to_end(
                turn, self._write_outcome(determine_outcome(turn, trace, sys.exc_info()[1]))
            )

    async def _write_outcome(self, outcome: TurnOutcome) -> None:
        """Write a finished turn.

        If the database is unavailable, keep the turn for a later retry, marked incomplete because
        its caller was told of an error, and raise. Raises DatabaseUnavailable, ConversationBusy.
        """
        is_cut_off = outcome.error is SHUT_DOWN_ERROR  # a shutdown ends all turns at once
        try:
            await (
                self._batches.write_in_batch(outcome)
                if is_cut_off
                else write_outcome_in_thread(outcome)
            )
        except DatabaseUnavailable:
            self._unwritten_outcomes.append(make_undelivered(outcome))
            raise

    async def _run_to_end(self, turn: OpenTurn, work: Any) -> None:
        """Run the work to its end even if the caller leaves, then let the next turn start."""
        task = self._start_write(work)
        task.add_done_callback(lambda done: self._release_turn(turn))
        await asyncio.shield(task)

    def _start_write(self, work: Any) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._write_tasks.add(task)
        task.add_done_callback(self._log_failed_write)
        return task

    def _log_failed_write(self, task: "asyncio.Task[None]") -> None:
        self._write_tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("a turn was not written: %s", error)

    def _release_turn(self, turn: OpenTurn) -> None:
        self.running_turns.pop(turn.id, None)
        if turn.lock is not None:
            turn.lock.release()
            turn.lock = None

    # --- housekeeping -----------------------------------------------------------------------------
    async def maintain_running_turns(self) -> None:
        """Renew the leases of running turns and set the stop events, until cancelled."""
        renewed_at = time.monotonic()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            is_due = time.monotonic() - renewed_at > settings.TURN_LEASE_SECONDS / 3
            if is_due:
                renewed_at = time.monotonic()
            try:
                await self._set_stop_events()
                await self._write_late_outcomes()
                if is_due and self.running_turns:
                    await HOUSEKEEPING.run_work(finish_turn.renew_leases, list(self.running_turns))
            except DatabaseError as error:
                logger.warning("the leases of running turns were not renewed: %s", error)

    async def _set_stop_events(self) -> None:
        """Set the stop events of the background turns that a user asked to stop."""
        stoppable_ids = [turn.id for turn in self.running_turns.values() if turn.background]
        if not stoppable_ids:
            return
        for turn_id in await HOUSEKEEPING.run_work(finish_turn.list_turns_to_stop, stoppable_ids):
            turn = self.running_turns.get(turn_id)
            if turn is not None:
                turn.stop_event.set()

    async def _write_late_outcomes(self) -> None:
        """Write the turns that the database did not take before.

        Raises DatabaseError while the database is unavailable. A turn that can never be written is
        logged and dropped, so that it does not block the others.
        """
        while self._unwritten_outcomes:
            late = self._unwritten_outcomes[0]
            try:
                await HOUSEKEEPING.run_work(finish_turn.write_turn_outcome, late)
            except TurnLost:
                pass  # it was written after all, or taken for dead
            except finish_turn.UNWRITABLE_ERRORS as error:
                logger.error("the database never takes the turn %s: %s", late.id, error)
            self._unwritten_outcomes.pop(0)

    async def wait_for_writes(self) -> None:
        """Wait until all pending writes are done, and retry the failed ones once."""
        while self._write_tasks:
            await asyncio.wait(set(self._write_tasks))
        with suppress(DatabaseError):
            await self._write_late_outcomes()


def make_busy_error() -> ConversationBusy:
    return ConversationBusy(
        "Another request of this conversation is still being answered.", retry_after_seconds=1
    )


async def write_outcome_in_thread(outcome: TurnOutcome) -> None:
    """Finish one turn in a database thread. Raises DatabaseUnavailable, ConversationBusy."""
    work: Callable[[TurnOutcome], None] = finish_turn.write_turn_outcome
    try:
        await await_in_time(run_in_thread(work, outcome))
    except TurnLost:
        raise ConversationBusy(
            "This answer took so long that its conversation went on without it."
        ) from None
