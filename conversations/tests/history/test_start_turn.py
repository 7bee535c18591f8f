"""The beginning of a turn: a long question lets others write in between; one that takes too long
leaves nothing.
"""

import math
import time
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from conversations import retention
from conversations.history import finish_turn, start_turn
from conversations.history.dead_turns import TurnRunning
from conversations.history.finish_turn import TurnOutcome, TurnStart
from conversations.history.turn_request import TurnRequest
from conversations.messages import chat_to_items
from conversations.models import Conversation, Item, Turn, TurnEndpoint, TurnStatus
from providers.database.database_threads import TooLate, run_in_thread
from proxysite.testing.rows import Person


def asked_by(person: Person, count: int, name: str = "") -> TurnRequest:
    entries = chat_to_items.entries_from_messages(
        [{"role": "user", "content": f"word{at}"} for at in range(count)]
    )
    return TurnRequest(
        uuid.uuid4().hex,
        person.user.pk,
        TurnEndpoint.CHAT,
        "m",
        entries,
        name=name,
        stored=True,
        budget_tokens=1_000,
    )


async def test_items_are_written_in_their_order_however_many(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finish_turn, "ITEMS_PER_WRITE", 7)
    await run_in_thread(start_turn.begin_turn, asked_by(alice, 50), math.inf)
    found = await run_in_thread(
        lambda: list(Item.objects.order_by("id").values_list("text", "public_id"))
    )
    assert [text for text, _ in found] == [f"word{at}" for at in range(50)]
    assert len({public_id for _, public_id in found}) == 50


async def test_what_nobody_waits_for_any_more_stops_in_the_middle_and_is_rolled_back(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def slow(user_id: int, rows: list[Item]) -> None:
        written.append(len(rows))
        time.sleep(0.2)

    monkeypatch.setattr(finish_turn, "ITEMS_PER_WRITE", 10)
    monkeypatch.setattr("conversations.search.item_search.add_items_to_index", slow)
    with pytest.raises(TooLate):
        await run_in_thread(start_turn.begin_turn, asked_by(alice, 10_000), time.monotonic() + 1)
    assert len(written) < 1_000
    assert not await run_in_thread(Conversation.objects.exists)


# --- between two parts of a long question ---------------------------------------------------------
def interfere(monkeypatch: pytest.MonkeyPatch, deed: Callable[[], object]) -> None:
    """Do something after the first part of the next long question."""
    pauses = iter([deed])

    def pause(seconds: float) -> None:
        next(pauses, lambda: None)()

    monkeypatch.setattr(finish_turn, "ITEMS_PER_WRITE", 10)
    monkeypatch.setattr(start_turn.time, "sleep", pause)


async def test_others_may_write_between_the_parts_but_not_into_the_conversation(
    alice: Person, mallory: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []

    def others() -> None:
        assert not connection.in_atomic_block
        seen.append(start_turn.begin_turn(asked_by(mallory, 1)).number)
        turn = Turn.objects.get(user_id=alice.user.pk)
        seen.append(turn.status)
        with pytest.raises(TurnRunning):
            start_turn.begin_turn(asked_by(alice, 1, name="talk"))

    interfere(monkeypatch, others)
    begun = await run_in_thread(start_turn.begin_turn, asked_by(alice, 25, name="talk"))
    assert seen == [1, TurnStatus.QUEUED]
    turn = await run_in_thread(Turn.objects.get, pk=uuid.UUID(begun.id))
    assert turn.status == TurnStatus.IN_PROGRESS
    assert await run_in_thread(turn.items.count) == 25


async def test_instructions_of_a_long_question_are_in_force_when_it_is_written(
    alice: Person,
) -> None:
    asked = asked_by(alice, 200, name="talk")
    asked.entries[:0] = chat_to_items.entries_from_messages(
        [{"role": "system", "content": "Be brief."}]
    )
    begun = await run_in_thread(start_turn.begin_turn, asked)
    conversation = await run_in_thread(Conversation.objects.get, pk=begun.conversation_id)
    assert str(conversation.system_turn_id) == str(uuid.UUID(begun.id))


async def test_of_a_question_that_its_process_never_wrote_whole_later_turns_are_not_told(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Nothing runs after it."""

    def die() -> None:
        raise Killed

    interfere(monkeypatch, die)
    monkeypatch.setattr(start_turn, "delete_turn", lambda begun: None)
    with pytest.raises(Killed):
        await run_in_thread(start_turn.begin_turn, asked_by(alice, 25, name="talk"))
    await run_in_thread(Turn.objects.update, alive_until=timezone.now() - timedelta(seconds=1))
    begun = await run_in_thread(start_turn.begin_turn, asked_by(alice, 1, name="talk"))
    assert [message["content"] for message in begun.messages] == ["word0"]
    assert await run_in_thread(lambda: set(Turn.objects.values_list("number", "status"))) == {
        (1, TurnStatus.FAILED),
        (2, TurnStatus.IN_PROGRESS),
    }


async def test_a_conversation_may_be_deleted_while_a_long_question_is_written(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    interfere(monkeypatch, lambda: retention.delete_conversations(Conversation.objects.all()))
    begun = await run_in_thread(start_turn.begin_turn, asked_by(alice, 25, name="talk"))
    assert len(begun.messages) == 25
    assert not await run_in_thread(Item.objects.exists)


@pytest.mark.parametrize("is_late", [False, True])
async def test_a_long_question_replaces_older_turns_only_when_it_starts(
    alice: Person, monkeypatch: pytest.MonkeyPatch, is_late: bool
) -> None:
    """An edited question leaves the turns after it behind, but not if it is refused."""

    def message(role: str, text: str) -> dict[str, str]:
        return {"role": role, "content": text}

    def ask(*messages: dict[str, str]) -> TurnStart:
        asked = asked_by(alice, 0, name="talk")
        asked.entries.extend(chat_to_items.entries_from_messages(messages))
        return start_turn.begin_turn(asked)

    def answer(begun: TurnStart, text: str) -> None:
        entries = chat_to_items.entries_from_messages([message("assistant", text)])
        status = TurnStatus.COMPLETED
        finish_turn.write_turn_outcome(
            TurnOutcome(begun.id, begun.conversation_id, status, entries)
        )

    def converse() -> None:
        first = [message("user", "one"), message("assistant", "first")]
        answer(ask(first[0]), "first")
        answer(ask(*first, message("user", "two")), "second")
        long = [message("user", f"edited {number}") for number in range(25)]
        with pytest.raises(TooLate) if is_late else nullcontext():
            ask(*first, *long)

    def too_late() -> None:
        if is_late:
            raise TooLate("too late")

    interfere(monkeypatch, too_late)
    await run_in_thread(converse)
    rows = Turn.objects.order_by("number").values_list("number", "is_replaced")
    found = await run_in_thread(lambda: list(rows))
    assert found == ([(1, False), (2, False)] if is_late else [(1, False), (2, True), (3, False)])
