"""Items of a conversation: put in, listed, read, taken out."""

from datetime import timedelta

import pytest
from django.utils import timezone

from api.tests.endpoints.conversations.conversation_requests import (
    HELLO,
    add_items,
    create_conversation,
    create_conversation_row,
    create_running_turn,
    list_items,
)
from conversations.models import Conversation, Item, Turn, TurnEndpoint, TurnStatus
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows


async def test_items_are_put_in_listed_read_and_taken_out(gateway, alice):
    found = await create_conversation(gateway, alice.key, items=[HELLO])
    call = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "call_1", "output": "42"}
    thought = {
        "type": "reasoning",
        "id": "rs_theirs",
        "summary": [{"type": "summary_text", "text": "Hm."}],
    }
    added = await add_items(gateway, alice.key, found["id"], call, output, thought)
    assert added.status == 200
    assert added.json["object"] == "list"
    types = [one["type"] for one in added.json["data"]]
    assert types == ["function_call", "function_call_output", "reasoning"]
    ids = [one["id"] for one in added.json["data"]]
    assert [one.partition("_")[0] for one in ids] == ["fc", "fco", "rs"]
    assert (added.json["first_id"], added.json["last_id"], added.json["has_more"]) == (
        ids[0],
        ids[-1],
        False,
    )
    whole = await list_items(gateway, alice.key, found["id"])
    assert [one["id"] for one in whole["data"][:3]] == ids[::-1]
    hello = whole["data"][3]
    content = [{"type": "input_text", "text": "Hello!"}]
    assert hello == {
        "id": hello["id"],
        "type": "message",
        "role": "user",
        "content": content,
        "status": "completed",
    }
    assert hello["id"].startswith("msg_")
    path = f"/v1/conversations/{found['id']}/items/{hello['id']}"
    assert (await gateway.send_request("GET", path, alice.key)).json == hello
    assert (await gateway.send_request("DELETE", path, alice.key)).json == found
    missing = await gateway.send_request("GET", path, alice.key)
    assert (missing.status, missing.error["code"], missing.error["param"]) == (
        404,
        "item_not_found",
        "item_id",
    )
    assert [
        one["id"]
        for one in (await list_items(gateway, alice.key, found["id"], order="asc"))["data"]
    ] == ids


async def test_items_of_one_conversation_are_not_in_another(gateway, alice):
    one, other = [
        (await create_conversation(gateway, alice.key, items=[HELLO]))["id"] for _ in range(2)
    ]
    item = (await list_items(gateway, alice.key, one))["first_id"]
    for method in ("GET", "DELETE"):
        assert (
            await gateway.send_request(method, f"/v1/conversations/{other}/items/{item}", alice.key)
        ).status == 404
    odd = await gateway.send_request(
        "GET", f"/v1/conversations/{one}/items", alice.key, params={"after": "msg_?"}
    )
    assert odd.status == 404
    assert (await list_items(gateway, alice.key, one))["first_id"] == item


async def test_pages_of_items_go_both_ways_and_none_is_left_out(gateway, alice):
    found = await create_conversation(
        gateway, alice.key, items=[HELLO | {"content": str(number)} for number in range(20)]
    )
    await add_items(gateway, alice.key, found["id"], HELLO | {"content": "20"})
    for order, numbers in (("asc", list(range(21))), ("desc", list(range(20, -1, -1)))):
        seen, after = [], {}
        for _ in range(3):
            page = await list_items(gateway, alice.key, found["id"], order=order, limit=7, **after)
            seen += [int(one["content"][0]["text"]) for one in page["data"]]
            after = {"after": page["last_id"]}
        assert (seen, page["has_more"]) == (numbers, False)


async def test_a_turn_of_items_is_one_turn_and_a_use_of_the_conversation(gateway, alice):
    found = await run_in_thread(
        lambda: create_conversation_row(
            alice, idle_seconds=60, expires_at=timezone.now() + timedelta(seconds=1)
        )
    )
    await add_items(
        gateway, alice.key, found.pk, HELLO, HELLO | {"role": "assistant", "content": "Hi."}
    )

    def look():
        turn = Turn.objects.get(conversation=found)
        return (
            Conversation.objects.get(pk=found.pk),
            turn,
            list(turn.items.values_list("role", "text", "output")),
        )

    now, turn, said = await run_in_thread(look)
    assert (turn.number, turn.endpoint, turn.status, now.last_number) == (
        1,
        TurnEndpoint.ITEMS,
        TurnStatus.COMPLETED,
        1,
    )
    assert turn.finished_at is not None
    assert turn.tokens > 0
    assert said == [("user", "Hello!", False), ("assistant", "Hi.", False)]
    assert now.used_at > found.used_at
    assert now.expires_at == now.used_at + timedelta(seconds=60)


@pytest.mark.settings(CONVERSATION_IDLE_SECONDS=60)
async def test_a_conversation_that_nobody_uses_goes(gateway, alice):
    for body in ({}, {"items": [HELLO]}):
        found = await create_conversation(gateway, alice.key, **body)
        now = await run_in_thread(lambda pk=found["id"]: Conversation.objects.get(pk=pk))
        assert now.idle_seconds == 60
        assert timedelta(seconds=59) < now.expires_at - now.used_at < timedelta(seconds=61)


async def test_no_title_repeats_what_was_taken_out(gateway, alice):
    found = await create_conversation(
        gateway, alice.key, items=[HELLO, HELLO | {"content": "And now?"}]
    )
    now = await run_in_thread(Conversation.objects.get)
    assert now.title == "Hello!"
    other, first = (await list_items(gateway, alice.key, found["id"]))["data"]
    path = f"/v1/conversations/{found['id']}/items"
    await gateway.send_request("DELETE", f"{path}/{other['id']}", alice.key)
    assert (await rows.reload_row(now)).title == "Hello!"
    await gateway.send_request("DELETE", f"{path}/{first['id']}", alice.key)
    assert (await rows.reload_row(now)).title == ""


async def test_what_is_taken_out_an_upstream_is_not_asked_to_remember(gateway, alice):
    token = "00000000-0000-0000-0000-000000000001"
    found = await run_in_thread(
        lambda: create_conversation_row(
            alice, chat_id="up", parent_id="p", token_id=token, chat_turn=1
        )
    )
    await add_items(gateway, alice.key, found.pk, HELLO)
    item = (await list_items(gateway, alice.key, found.pk))["first_id"]
    await gateway.send_request("DELETE", f"/v1/conversations/{found.pk}/items/{item}", alice.key)
    now = await rows.reload_row(found)
    assert (now.chat_id, now.parent_id, now.token_id, now.chat_turn) == ("", "", None, 0)
    assert (await run_in_thread(Turn.objects.get)).tokens == 0


async def test_what_failed_and_what_still_runs_is_not_among_the_items(gateway, alice):
    found = await run_in_thread(create_conversation_row, alice)

    def say():
        for number, status in enumerate(
            ("completed", "incomplete", "failed", "cancelled", "in_progress"), 1
        ):
            found.refresh_from_db()
            turn = create_running_turn(found, status=status)
            data = {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": status}],
            }
            Item.objects.create(
                public_id=f"msg_{number}", conversation=found, turn=turn, type="message", data=data
            )

    await run_in_thread(say)
    whole = await list_items(gateway, alice.key, found.pk, order="asc")
    assert [one["content"][0]["text"] for one in whole["data"]] == ["completed", "incomplete"]


async def test_items_that_only_others_understand_are_kept_as_they_came(gateway, alice):
    found = await run_in_thread(create_conversation_row, alice)
    strange = {
        "type": "web_search_call",
        "action": {"type": "search", "query": "Graz"},
        "x": [1, None],
    }
    answer = await add_items(
        gateway, alice.key, found.pk, strange | {"id": "ws_1", "status": "completed"}
    )
    (item,) = answer.json["data"]
    assert item == strange | {"id": item["id"], "status": "completed"}
    assert item["id"] != "ws_1"


async def test_big_fields_come_when_they_are_asked_for(gateway, alice):
    found = await run_in_thread(create_conversation_row, alice)
    said = {
        "type": "output_text",
        "text": "Hi.",
        "annotations": [],
        "logprobs": [{"token": "Hi.", "logprob": 0.0}],
    }
    items = [
        {"type": "message", "role": "assistant", "content": [said]},
        {"type": "reasoning", "summary": [], "encrypted_content": "secret"},
    ]
    plain = await add_items(gateway, alice.key, found.pk, *items)
    assert plain.json["data"][0]["content"][0]["logprobs"] == []
    assert "encrypted_content" not in plain.json["data"][1]
    path = f"/v1/conversations/{found.pk}/items"
    include = ["message.output_text.logprobs", "reasoning.encrypted_content"]
    for name in ("include", "include[]"):
        asked = await gateway.send_request(
            "GET", path, alice.key, params={name: include, "order": "asc"}
        )
        assert asked.json["data"][0]["content"] == [said]
        assert asked.json["data"][1]["encrypted_content"] == "secret"
    wrong = await gateway.send_request("GET", path, alice.key, params={"include[]": "everything"})
    assert (wrong.status, wrong.error["param"]) == (400, "include")
