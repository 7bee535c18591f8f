"""What the deletion of a stored chat completion leaves."""

from api.tests.endpoints.stored_completions.completion_rows import (
    PATH,
    completion_id,
    create_completion,
)
from conversations.models import Conversation, ConversationKind, Item, Turn
from conversations.search import item_search
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows


async def test_deletion_leaves_nothing_of_a_completion_that_stands_alone(gateway, alice):
    turn = await run_in_thread(create_completion, alice)
    path = f"{PATH}/{completion_id(turn)}"
    gone = await gateway.send_request("DELETE", path, alice.key)
    assert gone.json == {
        "object": "chat.completion.deleted",
        "id": completion_id(turn),
        "deleted": True,
    }
    assert (await gateway.send_request("GET", path, alice.key)).status == 404
    assert (await gateway.send_request("DELETE", path, alice.key)).status == 404

    def left():
        return [model.objects.count() for model in (Conversation, Turn, Item)]

    assert await run_in_thread(left) == [0, 0, 0]
    assert await run_in_thread(item_search.search_items, alice.user.pk, "seven", 9) == []


async def test_what_goes_on_after_a_deleted_completion_keeps_its_place(gateway, alice):
    def make():
        first = create_completion(alice, settings={"user": "u"}, metadata={"a": "b"})
        second = create_completion(
            alice, conversation=Conversation.objects.get(pk=first.conversation_id)
        )
        branched = create_completion(alice)
        branch = Conversation.objects.create(
            user=alice.user, kind=ConversationKind.THREAD, base_turn=branched
        )
        return first, second, branched, branch

    first, second, branched, branch = await run_in_thread(make)
    for turn in (first, branched):
        assert (
            await gateway.send_request("DELETE", f"{PATH}/{completion_id(turn)}", alice.key)
        ).status == 200
        assert (
            await gateway.send_request("GET", f"{PATH}/{completion_id(turn)}", alice.key)
        ).status == 404
        now = await rows.reload_row(turn)
        assert (now.settings, now.metadata, now.extra_fields, now.tokens) == ({}, {}, {}, 0)
        assert not await run_in_thread(turn.items.exists)
    assert (
        await gateway.send_request("GET", f"{PATH}/{completion_id(second)}", alice.key)
    ).status == 200
    assert (await rows.reload_row(branch)).base_turn_id == branched.pk


async def test_a_conversation_keeps_what_a_deleted_completion_said_in_it(gateway, alice):
    def make():
        return create_completion(
            alice,
            conversation=Conversation.objects.create(
                user=alice.user, kind=ConversationKind.NAMED, name="my chat"
            ),
        )

    turn = await run_in_thread(make)
    assert (
        await gateway.send_request("DELETE", f"{PATH}/{completion_id(turn)}", alice.key)
    ).status == 200
    assert (
        await gateway.send_request("GET", f"{PATH}/{completion_id(turn)}", alice.key)
    ).status == 404
    said = await gateway.send_request(
        "GET", f"/v1/conversations/{turn.conversation_id}/items", alice.key
    )
    assert len(said.json["data"]) == 3
