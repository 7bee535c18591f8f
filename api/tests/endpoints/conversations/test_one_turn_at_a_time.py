"""Items and turns of one conversation wait for one another."""

import asyncio
from types import SimpleNamespace

import pytest

from api.tests.endpoints.conversations.conversation_requests import (
    HELLO,
    add_items,
    create_conversation,
    create_conversation_row,
    create_running_turn,
    list_items,
)
from conversations import retention
from conversations.models import Conversation, Item, Turn, TurnStatus
from conversations.stored import stored_items
from providers.database.database_threads import run_in_thread
from providers.exceptions import UnknownUrl
from proxysite.testing import rows


async def test_while_an_answer_is_being_made_nothing_can_be_put_in_or_taken_out(gateway, alice):
    found = await create_conversation(gateway, alice.key, items=[HELLO])
    item = (await list_items(gateway, alice.key, found["id"]))["first_id"]
    turn = await run_in_thread(
        lambda: create_running_turn(Conversation.objects.get(pk=found["id"]))
    )
    path = f"/v1/conversations/{found['id']}/items"
    for answer in (
        await add_items(gateway, alice.key, found["id"], HELLO),
        await gateway.send_request("DELETE", f"{path}/{item}", alice.key),
    ):
        assert (answer.status, answer.error["code"]) == (409, "conversation_busy")
        assert "retry-after" in answer.headers
    await run_in_thread(
        lambda: Turn.objects.filter(pk=turn.pk).update(status="completed", alive_until=None)
    )
    assert (await add_items(gateway, alice.key, found["id"], HELLO)).status == 200
    numbers = await run_in_thread(
        lambda: list(Turn.objects.order_by("number").values_list("number", flat=True))
    )
    assert numbers == [1, 2, 3]


async def test_items_wait_a_moment_for_the_turn_before(gateway, alice, monkeypatch):
    found = await run_in_thread(create_conversation_row, alice)
    turn, waited = await run_in_thread(create_running_turn, found), []

    def sleep(seconds):
        waited.append(seconds)
        Turn.objects.filter(pk=turn.pk).update(status="completed", alive_until=None)

    monkeypatch.setattr("api.views.conversations.time", SimpleNamespace(sleep=sleep))
    assert (await add_items(gateway, alice.key, found.pk, HELLO)).status == 200
    assert len(waited) == 1


async def test_a_turn_of_a_dead_process_is_ended_and_keeps_nobody_out(gateway, alice):
    found = await run_in_thread(create_conversation_row, alice)
    dead = await run_in_thread(create_running_turn, found, -1)
    assert (await add_items(gateway, alice.key, found.pk, HELLO)).status == 200
    assert (await rows.reload_row(dead)).status == TurnStatus.INCOMPLETE


async def test_of_items_put_in_at_once_none_is_lost(gateway, alice):
    found = await run_in_thread(create_conversation_row, alice)
    asked = [
        add_items(gateway, alice.key, found.pk, HELLO | {"content": str(number)})
        for number in range(8)
    ]
    assert {answer.status for answer in await asyncio.gather(*asked)} == {200}

    def look():
        numbers = list(Turn.objects.order_by("number").values_list("number", flat=True))
        return (
            numbers,
            set(Item.objects.values_list("text", flat=True)),
            Conversation.objects.get(pk=found.pk).last_number,
        )

    assert await run_in_thread(look) == (list(range(1, 9)), set(map(str, range(8))), 8)


async def test_items_for_a_conversation_that_is_just_deleted_are_refused(gateway, alice):
    found = await run_in_thread(create_conversation_row, alice)
    await run_in_thread(retention.delete_conversations, Conversation.objects.filter(pk=found.pk))
    with pytest.raises(UnknownUrl):
        await run_in_thread(stored_items.add_items, found, [])
