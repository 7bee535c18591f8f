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
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from django.conf import settings
from django.db import DatabaseError

from conversations.history import deduplicate, finish_turn, start_turn
from conversations.history.conversation_lookup import Asked, Busy
from conversations.history.finish_turn import Begun, Finished, Lost
from conversations.history.turn_batches import TurnBatches
from conversations.messages.answer_builder import Answer
from conversations.messages.items import Entry
from conversations.models import Door, TurnStatus
from providers.database.database_threads import HOUSEKEEPING, TURNS, in_time, off_loop
from providers.database.keyed_locks import KeyedLocks
from providers.exceptions import ConversationBusy, DatabaseUnavailable, GatewayError
from providers.protocol.chunks import Batches
from providers.protocol.request import Resume
from providers.protocol.trace import Trace

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.1  # while another process has the conversation
TICK_SECONDS = 0.5
CUT_SHORT = ("length", "content_filter")
UNWRITTEN = {
    "code": "database_unavailable",
    "message": "The database was away at the end of this answer.",
}
TOO_LONG = {"code": "answer_too_long", "message": "Only the beginning of this answer was stored."}
SHUT_DOWN = {"code": "server_shutdown", "message": "The server was shutting down."}
ABANDONED = {"code": "abandoned", "message": "The caller left before the end."}


@dataclass(slots=True)
class OpenTurn:
    """A turn that is being answered.

    `answer` is the answer so far; `stop` is set when a user asks to stop the turn.
    """

    begun: Begun
    door: Door
    background: bool
    answer: Answer
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock | None = None

    @property
    def id(self) -> str:
        return self.begun.id


@dataclass(frozen=True, slots=True)
class Recalled:
    """A turn that has begun.

    `messages` are all messages for its upstream.
    """

    turn: OpenTurn
    messages: list[dict[str, Any]]
    resume: Resume | None
    goes_on: bool  # the request names a conversation or an older response


class History:
    def __init__(self) -> None:
        self._locks = KeyedLocks(asyncio.Lock)  # by user and conversation
        self._writing: set[asyncio.Task[None]] = set()
        self._unwritten: list[Finished] = []
        self._batches = TurnBatches()
        self.running: dict[str, OpenTurn] = {}

    # --- before -----------------------------------------------------------------------------------
    async def recall(self, asked: Asked) -> Recalled:
        """Start the request's turn and load its history. Writes the turn.

        Raises UnknownUrl, InvalidRequest, ConversationBusy, DatabaseUnavailable.
        """
        until = time.monotonic() + settings.CONVERSATION_WAIT_SECONDS
        lock = await self._turn_in_line(asked, until)
        try:
            begun = await self._begun(asked, until)
        except BaseException:
            if lock is not None:
                lock.release()
            raise
        turn = OpenTurn(begun, asked.door, asked.background, Answer(begun.id), lock=lock)
        self.running[turn.id] = turn
        goes_on = bool(asked.name or asked.conversation_id or asked.previous_id)
        return Recalled(turn, begun.messages, begun.resume, goes_on)

    async def _turn_in_line(self, asked: Asked, until: float) -> asyncio.Lock | None:
        """Acquire this process's lock for the request's conversation, or return None without one.

        Raises ConversationBusy when it takes longer than `until`.
        """
        wanted = asked.name or asked.conversation_id
        if not wanted:
            return None
        lock = self._locks.get_lock((asked.user_id, wanted))
        try:
            async with asyncio.timeout(until - time.monotonic()):
                await lock.acquire()
        except TimeoutError:
            raise busy() from None
        return lock

    async def _begun(self, asked: Asked, until: float) -> Begun:
        while True:
            try:
                return await self._begin(asked)
            except Busy:
                if time.monotonic() >= until:
                    raise busy() from None
                await asyncio.sleep(POLL_SECONDS)

    async def _begin(self, asked: Asked) -> Begun:
        """Start the turn in a database thread; take it back when nobody waits for it any more."""
        seconds = settings.DATABASE_TIMEOUT_SECONDS
        work = await TURNS.start_for(asked.user_id, start_turn.begin_within, asked, seconds)
        try:
            return await in_time(asyncio.shield(work))
        except (DatabaseUnavailable, asyncio.CancelledError):
            work.add_done_callback(self._take_back)
            raise

    def _take_back(self, work: "asyncio.Future[Begun]") -> None:
        if not work.cancelled() and work.exception() is None:
            self._later(off_loop(finish_turn.drop, work.result()))

    async def drop(self, turn: OpenTurn) -> None:
        """Delete a turn that was refused after it had started."""
        await self._settled(turn, off_loop(finish_turn.drop, turn.begun))

    # --- after ------------------------------------------------------------------------------------
    async def remember(self, turn: OpenTurn, trace: Trace, batches: Batches) -> Batches:
        """Relay the chunks; save the turn before this generator ends, however it ends.

        Raises DatabaseUnavailable in place of a good end when the turn cannot be saved.
        """
        try:
            async with aclosing(batches):
                async for batch in batches:
                    turn.answer.take(batch)
                    yield batch
        finally:
            await self._settled(turn, self._write(outcome(turn, trace, sys.exc_info()[1])))

    async def _write(self, finished: Finished) -> None:
        """Write a finished turn.

        If the database is unavailable, keep the turn for a later retry, marked incomplete because
        its caller was told of an error, and raise. Raises DatabaseUnavailable, ConversationBusy.
        """
        is_cut_off = finished.error is SHUT_DOWN  # a shutdown ends all turns at once
        try:
            await (self._batches.write(finished) if is_cut_off else write(finished))
        except DatabaseUnavailable:
            self._unwritten.append(untold(finished))
            raise

    async def _settled(self, turn: OpenTurn, work: Any) -> None:
        """Run the work to its end even if the caller leaves, then let the next turn start."""
        task = self._later(work)
        task.add_done_callback(lambda done: self._left(turn))
        await asyncio.shield(task)

    def _later(self, work: Any) -> "asyncio.Task[None]":
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._writing.add(task)
        task.add_done_callback(self._written)
        return task

    def _written(self, task: "asyncio.Task[None]") -> None:
        self._writing.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("a turn was not written: %s", error)

    def _left(self, turn: OpenTurn) -> None:
        self.running.pop(turn.id, None)
        if turn.lock is not None:
            turn.lock.release()
            turn.lock = None

    # --- housekeeping -----------------------------------------------------------------------------
    async def keep(self) -> None:
        """Renew the leases of running turns and set the stop events, until cancelled."""
        renewed_at = time.monotonic()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                for turn_id in (
                    await HOUSEKEEPING.run(finish_turn.to_stop, self._stoppable())
                    if self._stoppable()
                    else ()
                ):
                    if turn := self.running.get(turn_id):
                        turn.stop.set()
                await self._write_late()
                if self.running and time.monotonic() - renewed_at > settings.TURN_LEASE_SECONDS / 3:
                    renewed_at = time.monotonic()
                    await HOUSEKEEPING.run(finish_turn.renew_leases, list(self.running))
            except DatabaseError as error:
                logger.warning("the leases of running turns were not renewed: %s", error)

    async def _write_late(self) -> None:
        """Write the turns that the database did not take before.

        Raises DatabaseError while the database is unavailable. A turn that can never be written is
        logged and dropped, so that it does not block the others.
        """
        while self._unwritten:
            late = self._unwritten[0]
            try:
                await HOUSEKEEPING.run(finish_turn.finish, late)
            except Lost:
                pass  # it was written after all, or taken for dead
            except finish_turn.UNWRITABLE as error:
                logger.error("the database never takes the turn %s: %s", late.id, error)
            self._unwritten.pop(0)

    def _stoppable(self) -> list[str]:
        return [turn.id for turn in self.running.values() if turn.background]

    async def settle(self) -> None:
        """Wait until all pending writes are done, and retry the failed ones once."""
        while self._writing:
            await asyncio.wait(set(self._writing))
        with suppress(DatabaseError):
            await self._write_late()


def busy() -> ConversationBusy:
    return ConversationBusy(
        "Another request of this conversation is still being answered.", retry_after_seconds=1
    )


async def write(finished: Finished) -> None:
    """Finish one turn in a database thread. Raises DatabaseUnavailable, ConversationBusy."""
    work: Callable[[Finished], None] = finish_turn.finish
    try:
        await in_time(off_loop(work, finished))
    except Lost:
        raise ConversationBusy(
            "This answer took so long that its conversation went on without it."
        ) from None


def outcome(turn: OpenTurn, trace: Trace, error: BaseException | None) -> Finished:
    """Return the outcome of a turn that ended with this exception, or well for None."""
    answer = turn.answer
    problem = problem_of(error)
    if error is None:
        cut = answer.cut or (turn.door == Door.RESPONSE and answer.finish_reason in CUT_SHORT)
        problem = TOO_LONG if answer.cut and turn.door != Door.RESPONSE else None
        status = TurnStatus.INCOMPLETE if cut else TurnStatus.COMPLETED
    elif turn.stop.is_set():
        status = TurnStatus.CANCELLED
        problem = None
    elif answer.parts or not isinstance(error, GatewayError):
        status = TurnStatus.INCOMPLETE
    else:
        status = TurnStatus.FAILED
    whole = status == TurnStatus.COMPLETED
    extras = answer.extras
    if choices := answer.choices():
        extras |= {"choices": choices}
    asked = trace.answered_by
    usage = trace.meter.counted
    chat = None
    if error is None and asked is not None and asked.chat_id and asked.token_id is not None:
        chat = Resume(asked.token_id, asked.chat_id, asked.parent_id)
    return Finished(
        id=turn.id,
        conversation_id=turn.begun.conversation_id,
        status=status,
        entries=without(answer.entries(whole=whole), trace.strategy_result.preface),
        finish_reason=answer.finish_reason,
        usage=usage.as_openai() if usage is not None else None,
        error=problem,
        extras=extras,
        thought=trace.strategy_result.thinking,
        chat=chat,
    )


def untold(finished: Finished) -> Finished:
    """Return the outcome to store for a caller who got an error in place of the answer's end."""
    if finished.status != TurnStatus.COMPLETED:
        return finished
    return replace(finished, status=TurnStatus.INCOMPLETE, error=UNWRITTEN)


def problem_of(error: BaseException | None) -> dict[str, str] | None:
    if error is None:
        return None
    if isinstance(error, GatewayError):
        return {"code": error.shown_code or error.type, "message": error.message}
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return SHUT_DOWN if error.args else ABANDONED
    return {"code": "internal_error", "message": "Something went wrong here."}


def without(entries: Sequence[Entry], preface: str) -> Sequence[Entry]:
    """Return the items of an answer without the thinking in front of its text.

    `preface` is that thinking. The message item is changed in place; its `told` keeps the digest of
    the text as the caller received it.
    """
    said = next((entry for entry in entries if entry.type == "message"), None)
    if preface and said is not None and said.text.startswith(preface):
        said.told = deduplicate.digest(said.text)
        said.text = said.text[len(preface) :]
        for part in said.data["content"][:1]:
            part["text"] = part["text"].removeprefix(preface)
    return entries
