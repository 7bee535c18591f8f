"""Finish many turns in one transaction.

A shutdown cuts off all running turns at once; one transaction for many is faster than one for each.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from uuid import UUID

from django.db import DatabaseError, transaction

from conversations.history import finish_turn
from conversations.history.finish_turn import Finished, Lost
from conversations.models import RUNNING, Conversation, Item, Turn
from conversations.search import item_search
from providers.database.database_threads import HOUSEKEEPING
from providers.exceptions import ConversationBusy, DatabaseUnavailable

AT_ONCE = 50
PATIENCE_SECONDS = 10.0  # for one batch; when it fails, the batches behind it are not tried

OUTCOME = (
    "status",
    "finish_reason",
    "usage",
    "error",
    "extras",
    "thought",
    "tokens",
    "finished_at",
    "alive_until",
)
PROGRESS = (
    "title",
    "token_id",
    "chat_id",
    "parent_id",
    "chat_turn",
    "system",
    "used_at",
    "expires_at",
)

Waiting = tuple[Finished, "asyncio.Future[None]"]


class TurnBatches:
    """A queue of finished turns, written in batches of AT_ONCE.

    There is one per process. A task runs while there are turns to write.
    """

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []
        self._task: asyncio.Task[None] | None = None

    async def write(self, finished: Finished) -> None:
        """Queue the turn and return when it is written.

        Raises DatabaseUnavailable, ConversationBusy.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((finished, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_all())
        await done

    async def _write_all(self) -> None:
        await asyncio.sleep(0)  # turns that end in this iteration of the event loop join the batch
        while self._waiting:
            batch = self._waiting[:AT_ONCE]
            self._waiting = self._waiting[AT_ONCE:]
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    problems = await HOUSEKEEPING.run(
                        finish_all, [finished for finished, _ in batch]
                    )
            except (DatabaseError, TimeoutError):
                batch = batch + self._waiting
                self._waiting = []
                problems = {finished.id: away() for finished, _ in batch}
            for finished, done in batch:
                settle(done, problems.get(finished.id))


def settle(done: "asyncio.Future[None]", problem: Exception | None) -> None:
    """Set the result or the error of a turn's future, unless it is already done or cancelled."""
    if done.done():
        return
    if problem is None:
        done.set_result(None)
    elif isinstance(problem, Lost):
        done.set_exception(
            ConversationBusy("This answer took so long that its conversation went on without it.")
        )
    else:
        done.set_exception(problem if isinstance(problem, DatabaseUnavailable) else away())


def away() -> DatabaseUnavailable:
    return DatabaseUnavailable("The database does not answer.", retry_after_seconds=2)


# --- in a database thread -------------------------------------------------------------------------
def finish_all(finished: Sequence[Finished]) -> dict[str, Exception]:
    """Write the outcome of many turns; return the errors of those that failed, by their ids.

    For a database thread. Raises DatabaseError when the database is unavailable.
    """
    try:
        return finish_together(finished)
    except finish_turn.UNWRITABLE:
        return finish_each(finished)


@transaction.atomic
def finish_together(finished: Sequence[Finished]) -> dict[str, Exception]:
    """Write the outcome of all turns with a few statements; return errors by turn id.

    Raises one of UNWRITABLE when any turn cannot be written; then nothing was written.
    """
    wanted = sorted({one.conversation_id for one in finished})
    locked = Conversation.objects.select_for_update().filter(pk__in=wanted).order_by("pk")
    conversations = {conversation.pk: conversation for conversation in locked}
    ids = [UUID(one.id) for one in finished]
    found = {
        turn.pk: turn for turn in Turn.objects.select_for_update().filter(pk__in=ids).order_by("pk")
    }
    problems: dict[str, Exception] = {}
    ended: list[tuple[Turn, Finished]] = []
    for one in finished:
        turn = found.get(UUID(one.id))
        if turn is None or one.conversation_id not in conversations:
            finish_turn.finish(one)  # it was deleted; `finish` handles that case
        elif turn.status not in RUNNING:
            problems[one.id] = Lost()
        else:
            finish_turn.set_outcome(turn, one)
            ended.append((turn, one))
    save_ended(ended, conversations)
    return problems


def save_ended(
    ended: Sequence[tuple[Turn, Finished]], conversations: dict[str, Conversation]
) -> None:
    """Write turns, their items with the words for search, and the state of their conversations."""
    for turn, _ in ended:
        turn.save(update_fields=OUTCOME)  # cheaper than one statement for all
    new = [
        item
        for turn, one in ended
        for item in finish_turn.new_items(turn, one.entries, output=True)
    ]
    by_user: dict[int, list[Item]] = defaultdict(list)
    for item in Item.objects.bulk_create(new):
        by_user[item.turn.user_id].append(item)
    for user_id, items in by_user.items():
        item_search.add(user_id, items)
    touched = {}
    for turn, one in ended:
        conversation = touched[turn.conversation_id] = conversations[turn.conversation_id]
        finish_turn.set_progress(conversation, turn, one)
        finish_turn.set_used(conversation)
    for conversation in touched.values():
        conversation.save(update_fields=PROGRESS)


def finish_each(finished: Sequence[Finished]) -> dict[str, Exception]:
    """Write the turns one by one, as some cannot be written; return their errors by their ids."""
    problems: dict[str, Exception] = {}
    for one in finished:
        try:
            finish_turn.finish(one)
        except finish_turn.UNWRITABLE as error:
            problems[one.id] = error
    return problems
