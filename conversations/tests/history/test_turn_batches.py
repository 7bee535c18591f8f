"""Turns that end together are written as each would be alone."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import DataError
from django.utils import timezone

from conversations import retention
from conversations.history import finish_turn, start_turn, turn_batches
from conversations.history.finish_turn import TurnLost, TurnOutcome
from conversations.history.turn_request import TurnRequest
from conversations.messages import input_to_items, items
from conversations.models import Conversation, Item, Turn, TurnEndpoint, TurnStatus

SHUT_DOWN = {"code": "server_shutdown", "message": "The server was shutting down."}
TURN_FIELDS = (
    "status",
    "finish_reason",
    "usage",
    "error",
    "extra_fields",
    "thinking",
    "tokens",
    "alive_until",
)
THREAD_FIELDS = ("title", "token_id", "chat_id", "parent_id", "chat_turn", "system_turn_id")


def begun(person: Any, number: int) -> Any:
    entries = input_to_items.entries_from_input(f"Question {number}?")
    return start_turn.begin_turn(
        TurnRequest(
            f"{number:032x}",
            person.user.pk,
            TurnEndpoint.RESPONSE,
            "m",
            entries,
            stored=True,
            idle_seconds=1_000,
        )
    )


def ended(turn: Any, **more: Any) -> TurnOutcome:
    text = [
        items.Entry(
            type="message", role="assistant", text="Half", data={"type": "message", "content": []}
        )
    ]
    facts = {"status": TurnStatus.INCOMPLETE, "entries": text, "error": SHUT_DOWN} | more
    return TurnOutcome(id=turn.id, conversation_id=turn.conversation_id, **facts)


def facts_of(turn: Any) -> tuple[Any, ...]:
    row = Turn.objects.get(pk=UUID(turn.id))
    thread = row.conversation
    said = list(
        Item.objects.filter(turn=row, output=True)
        .order_by("id")
        .values_list("type", "text", "status")
    )
    return (
        [getattr(row, name) for name in TURN_FIELDS],
        [getattr(thread, name) for name in THREAD_FIELDS],
        thread.expires_at - thread.used_at,
        said,
    )


@pytest.mark.parametrize("status", [TurnStatus.INCOMPLETE, TurnStatus.FAILED, TurnStatus.COMPLETED])
@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 1, "completion_tokens": 2}])
def test_together_is_as_alone(alice: Any, status: TurnStatus, usage: Any) -> None:
    alone, *together = [begun(alice, number) for number in range(1, 5)]
    Conversation.objects.filter(pk=together[0].conversation_id).update(title="")
    finish_turn.write_turn_outcome(ended(alone, status=status, usage=usage))
    assert (
        turn_batches.write_outcomes([ended(turn, status=status, usage=usage) for turn in together])
        == {}
    )
    first = facts_of(alone)
    for turn in together[1:]:
        found = facts_of(turn)
        assert (found[0], found[2], found[3]) == (first[0], first[2], first[3])
        assert found[1][1:] == first[1][1:]
    assert Turn.objects.filter(usage__isnull=True).count() == (4 if usage is None else 0)
    assert Turn.objects.filter(finished_at__gt=timezone.now() - timedelta(minutes=1)).count() == 4


def test_one_that_was_taken_for_dead_is_told_so_and_one_that_was_deleted_is_nothing(
    alice: Any,
) -> None:
    lost, deleted, good = [begun(alice, number) for number in (1, 2, 3)]
    Turn.objects.filter(pk=UUID(lost.id)).update(status=TurnStatus.INCOMPLETE, alive_until=None)
    retention.delete_conversations(Conversation.objects.filter(pk=deleted.conversation_id))
    problems = turn_batches.write_outcomes([ended(turn) for turn in (lost, deleted, good)])
    assert {name: type(problem) for name, problem in problems.items()} == {lost.id: TurnLost}
    assert Turn.objects.get(pk=UUID(good.id)).error == SHUT_DOWN


def test_one_that_cannot_be_written_holds_up_no_other(
    alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [begun(alice, number) for number in (1, 2, 3)]
    really = finish_turn.set_outcome

    def refuse_second(turn: Turn, finished: TurnOutcome) -> None:
        if finished.id == found[1].id:
            raise DataError("made up")
        really(turn, finished)

    monkeypatch.setattr(finish_turn, "set_outcome", refuse_second)
    problems = turn_batches.write_outcomes([ended(turn) for turn in found])
    assert list(problems) == [found[1].id]
    assert [Turn.objects.get(pk=UUID(turn.id)).error for turn in (found[0], found[2])] == [
        SHUT_DOWN
    ] * 2
