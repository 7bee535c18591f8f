"""Finish many turns in one transaction.

A shutdown cuts off all running turns at once; one transaction for many is faster than one for each.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from django.db import DatabaseError, transaction

from conversations.history import finish_turn
from conversations.history.finish_turn import TurnLost, TurnOutcome
from conversations.models import RUNNING_STATUSES, Conversation, Item, Turn
from conversations.search import item_search
from providers.database.database_threads import HOUSEKEEPING
from providers.exceptions import ConversationBusy, DatabaseUnavailable

TURNS_PER_BATCH = 50
BATCH_TIMEOUT_SECONDS = 10.0  # for one batch; when it fails, the batches behind it are not tried

OUTCOME_COLUMNS = (
    "status",
    "finish_reason",
    "usage",
    "error",
    "extra_fields",
    "thinking",
    "tokens",
    "finished_at",
    "alive_until",
)
PROGRESS_COLUMNS = (
    "title",
    "token_id",
    "chat_id",
    "parent_id",
    "chat_turn",
    "system_turn",
    "used_at",
    "expires_at",
)

WaitingOutcome = tuple[TurnOutcome, "asyncio.Future[None]"]


class TurnBatches:
    """A queue of finished turns, written in batches of AT_ONCE.

    There is one per process. A task runs while there are turns to write.
    """

    def __init__(self) -> None:
        self._waiting_outcomes: list[WaitingOutcome] = []
        self._write_task: asyncio.Task[None] | None = None

    async def write_in_batch(self, outcome: TurnOutcome) -> None:
        """Queue the turn and return when it is written.

        Raises DatabaseUnavailable, ConversationBusy.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting_outcomes.append((outcome, done))
        if self._write_task is None or self._write_task.done():
            self._write_task = asyncio.create_task(self._write_batches())
        await done

    async def _write_batches(self) -> None:
        await asyncio.sleep(0)  # turns that end in this iteration of the event loop join the batch
        while self._waiting_outcomes:
            batch = self._waiting_outcomes[:TURNS_PER_BATCH]
            self._waiting_outcomes = self._waiting_outcomes[TURNS_PER_BATCH:]
            try:
                async with asyncio.timeout(BATCH_TIMEOUT_SECONDS):
                    problems = await HOUSEKEEPING.run_work(
                        write_outcomes, [finished for finished, _ in batch]
                    )
            except (DatabaseError, TimeoutError):
                batch = batch + self._waiting_outcomes
                self._waiting_outcomes = []
                problems = {finished.id: make_away_error() for finished, _ in batch}
            for finished, done in batch:
                resolve_future(done, problems.get(finished.id))


def resolve_future(future: "asyncio.Future[None]", problem: Exception | None) -> None:
    """Set the result or the error of a turn's future, unless it is already done or cancelled."""
    if future.done():
        return
    if problem is None:
        future.set_result(None)
    elif isinstance(problem, TurnLost):
        future.set_exception(
            ConversationBusy("This answer took so long that its conversation went on without it.")
        )
    else:
        future.set_exception(
            problem if isinstance(problem, DatabaseUnavailable) else make_away_error()
        )


def make_away_error() -> DatabaseUnavailable:
    return DatabaseUnavailable("The database does not answer.", retry_after_seconds=2)


# --- in a database thread -------------------------------------------------------------------------
def write_outcomes(outcomes: Sequence[TurnOutcome]) -> dict[str, Exception]:
    """Write the outcome of many turns; return the errors of those that failed, by their ids.

    For a database thread. Raises DatabaseError when the database is unavailable.
    """
    try:
        return write_outcomes_together(outcomes)
    except finish_turn.UNWRITABLE_ERRORS:
        return write_outcomes_singly(outcomes)


@transaction.atomic
def write_outcomes_together(outcomes: Sequence[TurnOutcome]) -> dict[str, Exception]:
    """Write the outcome of all turns with a few statements; return errors by turn id.

    Raises one of UNWRITABLE when any turn cannot be written; then nothing was written.
    """
    wanted = sorted({one.conversation_id for one in outcomes})
    locked = Conversation.objects.select_for_update().filter(pk__in=wanted).order_by("pk")
    conversations = {conversation.pk: conversation for conversation in locked}
    ids = [UUID(one.id) for one in outcomes]
    found = {
        turn.pk: turn for turn in Turn.objects.select_for_update().filter(pk__in=ids).order_by("pk")
    }
    problems: dict[str, Exception] = {}
    ended: list[tuple[Turn, TurnOutcome]] = []
    for one in outcomes:
        turn = found.get(UUID(one.id))
        if turn is None or one.conversation_id not in conversations:
            finish_turn.write_turn_outcome(one)  # it was deleted; `finish` handles that case
        elif turn.status not in RUNNING_STATUSES:
            problems[one.id] = TurnLost()
        else:
            finish_turn.set_outcome(turn, one)
            ended.append((turn, one))
    save_ended_turns(ended, conversations)
    return problems


def save_ended_turns(
    ended: Sequence[tuple[Turn, TurnOutcome]], conversations: dict[str, Conversation]
) -> None:
    """Write turns, their items with the words for search, and the state of their conversations."""
    for turn, _ in ended:
        turn.save(update_fields=OUTCOME_COLUMNS)  # cheaper than one statement for all
    new = [
        item
        for turn, one in ended
        for item in finish_turn.make_item_rows(turn, one.entries, output=True)
    ]
    by_user: dict[int, list[Item]] = defaultdict(list)
    for item in Item.objects.bulk_create(new):
        by_user[item.turn.user_id].append(item)
    for user_id, items in by_user.items():
        item_search.add_items_to_index(user_id, items)
    touched = {}
    for turn, one in ended:
        conversation = touched[turn.conversation_id] = conversations[turn.conversation_id]
        finish_turn.set_progress(conversation, turn, one)
        finish_turn.set_last_use(conversation)
    for conversation in touched.values():
        conversation.save(update_fields=PROGRESS_COLUMNS)


def write_outcomes_singly(outcomes: Sequence[TurnOutcome]) -> dict[str, Exception]:
    """Write the turns one by one, as some cannot be written; return their errors by their ids."""
    problems: dict[str, Exception] = {}
    for one in outcomes:
        try:
            finish_turn.write_turn_outcome(one)
        except finish_turn.UNWRITABLE_ERRORS as error:
            problems[one.id] = error
    return problems
