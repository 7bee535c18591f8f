"""/v1/conversations and its items: OpenAI's shapes, each user his own, one turn at a time."""

import asyncio
from datetime import timedelta
from itertools import product
from types import SimpleNamespace

import openai
import pytest
from django.utils import timezone
from openai import AsyncOpenAI

from conversations import retention
from conversations.models import (
    Conversation,
    ConversationKind,
    Item,
    Turn,
    TurnEndpoint,
    TurnStatus,
)
from conversations.stored import stored_items
from providers.database.database_threads import run_in_thread
from providers.exceptions import UnknownUrl
from proxysite.testing import rows

HELLO = {"type": "message", "role": "user", "content": "Hello!"}
UNKNOWN = f"conv_{'0' * 32}"


async def made(gateway, key, **body):
    answer = await gateway.send_request("POST", "/v1/conversations", key, json=body)
    assert answer.status == 200, answer.body
    return answer.json


async def add(gateway, key, conversation_id, *items, **params):
    path = f"/v1/conversations/{conversation_id}/items"
    return await gateway.send_request("POST", path, key, json={"items": list(items)}, params=params)


async def listed(gateway, key, conversation_id, **params):
    answer = await gateway.send_request(
        "GET", f"/v1/conversations/{conversation_id}/items", key, params=params
    )
    assert answer.status == 200, answer.body
    return answer.json


def row(person, kind=ConversationKind.OPEN, **fields):
    return Conversation.objects.create(user=person.user, kind=kind, **fields)


def running(conversation, seconds=60, **fields):
    """A turn that is being answered by a process that says for `seconds` more that it lives."""
    number = conversation.last_number + 1
    Conversation.objects.filter(pk=conversation.pk).update(last_number=number)
    given = {"endpoint": TurnEndpoint.RESPONSE, "status": TurnStatus.IN_PROGRESS} | fields
    alive_until = timezone.now() + timedelta(seconds=seconds)
    return Turn.objects.create(
        conversation=conversation,
        user_id=conversation.user_id,
        number=number,
        alive_until=alive_until,
        **given,
    )


# --- conversations --------------------------------------------------------------------------------
async def test_a_conversation_is_opened_read_changed_and_deleted(gateway, alice):
    found = await made(gateway, alice.key, metadata={"topic": "Graz"})
    assert found.keys() == {"id", "object", "created_at", "metadata"}
    assert found["id"].startswith("conv_")
    assert (found["object"], found["metadata"]) == ("conversation", {"topic": "Graz"})
    assert type(found["created_at"]) is int
    path = f"/v1/conversations/{found['id']}"
    assert (await gateway.send_request("GET", path, alice.key)).json == found
    changed = await gateway.send_request("POST", path, alice.key, json={"metadata": {"a": "b"}})
    assert changed.json == found | {"metadata": {"a": "b"}}
    assert (await gateway.send_request("GET", path, alice.key)).json == changed.json
    gone = await gateway.send_request("DELETE", path, alice.key)
    assert gone.json == {"id": found["id"], "object": "conversation.deleted", "deleted": True}
    assert (await gateway.send_request("GET", path, alice.key)).status == 404
    assert not await run_in_thread(Conversation.objects.exists)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"metadata": null, "items": null}'])
async def test_a_conversation_may_begin_with_nothing(gateway, alice, content):
    headers = {"content-type": "application/json"} if content else {}
    answer = await gateway.send_request(
        "POST", "/v1/conversations", alice.key, content=content, headers=headers
    )
    assert (answer.status, answer.json["metadata"]) == (200, {})
    assert (await listed(gateway, alice.key, answer.json["id"])) == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


async def test_nobody_sees_what_is_anothers_and_it_is_as_if_it_was_not_there(
    gateway, alice, mallory
):
    mine = (await made(gateway, alice.key, items=[HELLO]))["id"]
    item = (await listed(gateway, alice.key, mine))["first_id"]
    expired = await run_in_thread(
        lambda: row(mallory, expires_at=timezone.now() - timedelta(seconds=1))
    )
    thread = await run_in_thread(row, mallory, ConversationKind.THREAD)
    asked = [
        ("GET", "", None),
        ("POST", "", {"metadata": {}}),
        ("DELETE", "", None),
        ("GET", "/items", None),
        ("POST", "/items", {"items": [HELLO]}),
        ("GET", f"/items/{item}", None),
        ("DELETE", f"/items/{item}", None),
    ]
    for method, path, body in asked:
        unknown = await gateway.send_request(
            method, f"/v1/conversations/{UNKNOWN}{path}", mallory.key, json=body
        )
        assert (unknown.status, unknown.error["code"]) == (404, "conversation_not_found")
        for one in (mine, expired.pk, thread.pk):
            answer = await gateway.send_request(
                method, f"/v1/conversations/{one}{path}", mallory.key, json=body
            )
            assert (answer.status, answer.body.replace(one.encode(), UNKNOWN.encode())) == (
                404,
                unknown.body,
            )
    assert (
        await gateway.send_request("GET", "/v1/conversations", mallory.key, params={"after": mine})
    ).status == 404
    assert len((await listed(gateway, alice.key, mine))["data"]) == 1


async def test_an_odd_id_is_no_conversation(gateway, alice, subtests):
    cases = ["conv_", "x" * 3000, UNKNOWN.upper(), "conv_" + "٣" * 32, "my chat"]
    for name in cases:
        with subtests.test(name=name):
            answer = await gateway.send_request("GET", f"/v1/conversations/{name}", alice.key)
            assert (answer.status, answer.error["type"]) == (404, "invalid_request_error")


async def test_a_conversation_with_a_name_of_its_clients_is_reached_by_its_id_too(gateway, alice):
    named = await run_in_thread(lambda: row(alice, ConversationKind.NAMED, name="my chat"))
    assert (await gateway.send_request("GET", f"/v1/conversations/{named.pk}", alice.key)).json[
        "id"
    ] == named.pk
    assert (await add(gateway, alice.key, named.pk, HELLO)).status == 200


async def test_the_list_shows_ones_own_the_one_used_last_first(gateway, alice, mallory):
    def make():
        ids = [row(alice).pk, row(alice, ConversationKind.NAMED, name="my chat").pk, row(alice).pk]
        row(alice, ConversationKind.THREAD)
        row(alice, expires_at=timezone.now() - timedelta(seconds=1))
        row(mallory)
        for place, one in enumerate(ids):
            Conversation.objects.filter(pk=one).update(
                used_at=timezone.now() + timedelta(seconds=place // 2)
            )
        return ids

    first, named, last = await run_in_thread(make)
    whole = (await gateway.send_request("GET", "/v1/conversations", alice.key)).json
    found = [one["id"] for one in whole["data"]]
    assert found[0] == last
    assert set(found[1:]) == {first, named}
    assert (whole["object"], whole["first_id"], whole["last_id"], whole["has_more"]) == (
        "list",
        last,
        found[-1],
        False,
    )
    assert next(one["name"] for one in whole["data"] if one["id"] == named) == "my chat"
    paged, after = [], {}
    while True:
        page = (
            await gateway.send_request(
                "GET", "/v1/conversations", alice.key, params={"limit": 1, **after}
            )
        ).json
        paged += [one["id"] for one in page["data"]]
        if not page["has_more"]:
            break
        after = {"after": page["last_id"]}
    assert paged == found
    backwards = await gateway.send_request(
        "GET", "/v1/conversations", alice.key, params={"order": "asc"}
    )
    assert [one["id"] for one in backwards.json["data"]] == found[::-1]


async def test_a_page_is_asked_for_in_a_known_way(gateway, alice, subtests):
    cases = [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"limit": "٣"}, "limit"),
        ({"order": "up"}, "order"),
    ]
    for (params, param), path in product(cases, ["", "/{}/items"]):
        with subtests.test(params=params, param=param, path=path):
            found = await run_in_thread(row, alice)
            answer = await gateway.send_request(
                "GET", f"/v1/conversations{path.format(found.pk)}", alice.key, params=params
            )
            assert (answer.status, answer.error["param"]) == (400, param)


async def test_metadata_has_bounds(gateway, alice, subtests):
    cases = [
        ({str(place): "x" for place in range(17)}, "metadata"),
        ({"k" * 65: "x"}, "metadata"),
        ({"": "x"}, "metadata"),
        ({"a": "v" * 513}, "metadata.a"),
        ({"a": 1}, "metadata.a"),
        ({"a": None}, "metadata.a"),
        (["a"], "metadata"),
        ("a", "metadata"),
        ({"a": "\0"}, "metadata.a"),
    ]
    for metadata, param in cases:
        with subtests.test(metadata=metadata, param=param):
            found = await run_in_thread(row, alice)
            for path in ("/v1/conversations", f"/v1/conversations/{found.pk}"):
                answer = await gateway.send_request(
                    "POST", path, alice.key, json={"metadata": metadata}
                )
                assert (answer.status, answer.error["param"]) == (400, param)
            full = {f"{place:064}": "v" * 512 for place in range(16)}
            assert (await made(gateway, alice.key, metadata=full))["metadata"] == full


async def test_a_change_names_the_metadata_and_null_empties_it(gateway, alice):
    found = await made(gateway, alice.key, metadata={"a": "b"})
    path = f"/v1/conversations/{found['id']}"
    lacking = await gateway.send_request("POST", path, alice.key, json={})
    assert (lacking.status, lacking.error["code"]) == (400, "missing_required_parameter")
    assert lacking.error["param"] == "metadata"
    assert (await gateway.send_request("POST", path, alice.key, json={"metadata": None})).json[
        "metadata"
    ] == {}


async def test_a_body_that_cannot_be_read_is_refused(gateway, alice, subtests):
    cases = [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"metadata": {"a": "1", "a": "2"}}', "application/json", 400),
        (b'{"metadata": {"a": "\\ud800"}}', "application/json", 400),
        (b'{"x": ' + b"[" * 100 + b"]" * 100 + b"}", "application/json", 400),
        (b"a=b", "application/x-www-form-urlencoded", 415),
    ]
    for content, content_type, status in cases:
        with subtests.test(content=content, content_type=content_type, status=status):
            headers = {"content-type": content_type}
            answer = await gateway.send_request(
                "POST", "/v1/conversations", alice.key, content=content, headers=headers
            )
            assert answer.status == status
            assert answer.error["type"] == "invalid_request_error"


async def test_a_key_that_stores_nothing_makes_nothing(gateway, alice):
    def silence():
        alice.row.stores_content = False
        alice.row.save()
        return row(alice)

    found = await run_in_thread(silence)
    path = f"/v1/conversations/{found.pk}"
    for asked in ("/v1/conversations", path, f"{path}/items"):
        answer = await gateway.send_request(
            "POST", asked, alice.key, json={"metadata": {}, "items": [HELLO]}
        )
        assert (answer.status, answer.error["code"]) == (403, "storage_disabled")
    assert not await run_in_thread(Item.objects.exists)
    assert (await gateway.send_request("GET", path, alice.key)).status == 200
    assert (await gateway.send_request("DELETE", path, alice.key)).status == 200


async def test_without_a_key_there_is_nothing(gateway, alice):
    for key in (None, "sk-ps-unknown"):
        for method in ("GET", "POST"):
            assert (await gateway.send_request(method, "/v1/conversations", key)).status == 401


async def test_other_methods_are_refused(gateway, alice):
    for method, path in (
        ("PUT", ""),
        ("DELETE", ""),
        ("PATCH", f"/{UNKNOWN}"),
        ("POST", f"/{UNKNOWN}/items/msg_1"),
    ):
        assert (
            await gateway.send_request(method, f"/v1/conversations{path}", alice.key)
        ).status == 405


# --- items ----------------------------------------------------------------------------------------
async def test_items_are_put_in_listed_read_and_taken_out(gateway, alice):
    found = await made(gateway, alice.key, items=[HELLO])
    call = {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"}
    output = {"type": "function_call_output", "call_id": "call_1", "output": "42"}
    thought = {
        "type": "reasoning",
        "id": "rs_theirs",
        "summary": [{"type": "summary_text", "text": "Hm."}],
    }
    added = await add(gateway, alice.key, found["id"], call, output, thought)
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
    whole = await listed(gateway, alice.key, found["id"])
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
        one["id"] for one in (await listed(gateway, alice.key, found["id"], order="asc"))["data"]
    ] == ids


async def test_items_of_one_conversation_are_not_in_another(gateway, alice):
    one, other = [(await made(gateway, alice.key, items=[HELLO]))["id"] for _ in range(2)]
    item = (await listed(gateway, alice.key, one))["first_id"]
    for method in ("GET", "DELETE"):
        assert (
            await gateway.send_request(method, f"/v1/conversations/{other}/items/{item}", alice.key)
        ).status == 404
    odd = await gateway.send_request(
        "GET", f"/v1/conversations/{one}/items", alice.key, params={"after": "msg_?"}
    )
    assert odd.status == 404
    assert (await listed(gateway, alice.key, one))["first_id"] == item


async def test_pages_of_items_go_both_ways_and_none_is_left_out(gateway, alice):
    found = await made(
        gateway, alice.key, items=[HELLO | {"content": str(number)} for number in range(20)]
    )
    await add(gateway, alice.key, found["id"], HELLO | {"content": "20"})
    for order, numbers in (("asc", list(range(21))), ("desc", list(range(20, -1, -1)))):
        seen, after = [], {}
        for _ in range(3):
            page = await listed(gateway, alice.key, found["id"], order=order, limit=7, **after)
            seen += [int(one["content"][0]["text"]) for one in page["data"]]
            after = {"after": page["last_id"]}
        assert (seen, page["has_more"]) == (numbers, False)


async def test_a_turn_of_items_is_one_turn_and_a_use_of_the_conversation(gateway, alice):
    found = await run_in_thread(
        lambda: row(alice, idle_seconds=60, expires_at=timezone.now() + timedelta(seconds=1))
    )
    await add(gateway, alice.key, found.pk, HELLO, HELLO | {"role": "assistant", "content": "Hi."})

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
        found = await made(gateway, alice.key, **body)
        now = await run_in_thread(lambda pk=found["id"]: Conversation.objects.get(pk=pk))
        assert now.idle_seconds == 60
        assert timedelta(seconds=59) < now.expires_at - now.used_at < timedelta(seconds=61)


async def test_no_title_repeats_what_was_taken_out(gateway, alice):
    found = await made(gateway, alice.key, items=[HELLO, HELLO | {"content": "And now?"}])
    now = await run_in_thread(Conversation.objects.get)
    assert now.title == "Hello!"
    other, first = (await listed(gateway, alice.key, found["id"]))["data"]
    path = f"/v1/conversations/{found['id']}/items"
    await gateway.send_request("DELETE", f"{path}/{other['id']}", alice.key)
    assert (await rows.reload_row(now)).title == "Hello!"
    await gateway.send_request("DELETE", f"{path}/{first['id']}", alice.key)
    assert (await rows.reload_row(now)).title == ""


async def test_what_is_taken_out_an_upstream_is_not_asked_to_remember(gateway, alice):
    token = "00000000-0000-0000-0000-000000000001"
    found = await run_in_thread(
        lambda: row(alice, chat_id="up", parent_id="p", token_id=token, chat_turn=1)
    )
    await add(gateway, alice.key, found.pk, HELLO)
    item = (await listed(gateway, alice.key, found.pk))["first_id"]
    await gateway.send_request("DELETE", f"/v1/conversations/{found.pk}/items/{item}", alice.key)
    now = await rows.reload_row(found)
    assert (now.chat_id, now.parent_id, now.token_id, now.chat_turn) == ("", "", None, 0)
    assert (await run_in_thread(Turn.objects.get)).tokens == 0


async def test_what_failed_and_what_still_runs_is_not_among_the_items(gateway, alice):
    found = await run_in_thread(row, alice)

    def say():
        for number, status in enumerate(
            ("completed", "incomplete", "failed", "cancelled", "in_progress"), 1
        ):
            found.refresh_from_db()
            turn = running(found, status=status)
            data = {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": status}],
            }
            Item.objects.create(
                public_id=f"msg_{number}", conversation=found, turn=turn, type="message", data=data
            )

    await run_in_thread(say)
    whole = await listed(gateway, alice.key, found.pk, order="asc")
    assert [one["content"][0]["text"] for one in whole["data"]] == ["completed", "incomplete"]


WRONG = [
    ("x", "items[0]", "invalid_type"),
    ({}, "items[0].type", "missing_required_parameter"),
    ({"type": "item_reference", "id": "msg_1"}, "items[0].type", "invalid_value"),
    ({"type": "poem"}, "items[0].type", "invalid_value"),
    ({"type": 1}, "items[0].type", "invalid_value"),
    ({"role": "user"}, "items[0].content", "missing_required_parameter"),
    ({"role": "tool", "content": "x"}, "items[0].role", "invalid_value"),
    ({"type": "message", "content": "x"}, "items[0].role", "missing_required_parameter"),
    ({"role": "user", "content": None}, "items[0].content", "invalid_type"),
    ({"role": "user", "content": ["x"]}, "items[0].content[0]", "invalid_type"),
    (
        {"role": "user", "content": [{"type": "input_text"}]},
        "items[0].content[0].text",
        "missing_required_parameter",
    ),
    (
        {"role": "user", "content": [{"type": "poem", "text": "x"}]},
        "items[0].content[0].type",
        "invalid_value",
    ),
    (
        {"role": "user", "content": [{"type": "output_text", "text": "x"}]},
        "items[0].content[0].type",
        None,
    ),
    (
        {"role": "assistant", "content": [{"type": "input_text", "text": "x"}]},
        "items[0].content[0].type",
        None,
    ),
    (
        {"role": "user", "content": [{"type": "input_file", "file_url": "x"}]},
        "items[0].content[0].file_url",
        None,
    ),
    ({"role": "user", "content": [{"type": "input_image"}]}, "items[0].content[0].image_url", None),
    (
        {"role": "user", "content": [{"type": "input_file"}]},
        "items[0].content[0].file_id",
        "missing_required_parameter",
    ),
    (
        {"type": "function_call", "call_id": "c", "name": "f"},
        "items[0].arguments",
        "missing_required_parameter",
    ),
    (
        {"type": "function_call", "call_id": "", "name": "f", "arguments": "{}"},
        "items[0].call_id",
        "invalid_value",
    ),
    (
        {"type": "function_call_output", "call_id": "c"},
        "items[0].output",
        "missing_required_parameter",
    ),
    (
        {"type": "function_call_output", "call_id": "c", "output": {}},
        "items[0].output",
        "invalid_type",
    ),
    (
        {"type": "reasoning", "summary": [{"type": "x", "text": "y"}]},
        "items[0].summary[0].type",
        "invalid_value",
    ),
    ({"role": "user", "content": "\0"}, "items[0].content", "invalid_value"),
]


async def test_a_wrong_item_is_refused_by_its_name(gateway, alice, subtests):
    found = await run_in_thread(row, alice)
    paths = ("/v1/conversations", f"/v1/conversations/{found.pk}/items")
    for path, (item, param, code) in product(paths, WRONG):
        with subtests.test(path=path, item=item):
            answer = await gateway.send_request("POST", path, alice.key, json={"items": [item]})
            assert (answer.status, answer.error["param"]) == (400, param), answer.body
            assert code is None or answer.error["code"] == code
    assert await run_in_thread(lambda: (Conversation.objects.count(), Turn.objects.count())) == (
        1,
        0,
    )


async def test_more_than_twenty_items_at_once_are_too_many(gateway, alice):
    found = await run_in_thread(row, alice)
    answer = await add(gateway, alice.key, found.pk, *[HELLO] * 21)
    assert (answer.status, answer.error["param"]) == (400, "items")
    assert len((await add(gateway, alice.key, found.pk, *[HELLO] * 20)).json["data"]) == 20


async def test_items_that_only_others_understand_are_kept_as_they_came(gateway, alice):
    found = await run_in_thread(row, alice)
    strange = {
        "type": "web_search_call",
        "action": {"type": "search", "query": "Graz"},
        "x": [1, None],
    }
    answer = await add(
        gateway, alice.key, found.pk, strange | {"id": "ws_1", "status": "completed"}
    )
    (item,) = answer.json["data"]
    assert item == strange | {"id": item["id"], "status": "completed"}
    assert item["id"] != "ws_1"


async def test_big_fields_come_when_they_are_asked_for(gateway, alice):
    found = await run_in_thread(row, alice)
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
    plain = await add(gateway, alice.key, found.pk, *items)
    assert "logprobs" not in plain.json["data"][0]["content"][0]
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


# --- one turn at a time ---------------------------------------------------------------------------
async def test_while_an_answer_is_being_made_nothing_can_be_put_in_or_taken_out(gateway, alice):
    found = await made(gateway, alice.key, items=[HELLO])
    item = (await listed(gateway, alice.key, found["id"]))["first_id"]
    turn = await run_in_thread(lambda: running(Conversation.objects.get(pk=found["id"])))
    path = f"/v1/conversations/{found['id']}/items"
    for answer in (
        await add(gateway, alice.key, found["id"], HELLO),
        await gateway.send_request("DELETE", f"{path}/{item}", alice.key),
    ):
        assert (answer.status, answer.error["code"]) == (409, "conversation_busy")
        assert "retry-after" in answer.headers
    await run_in_thread(
        lambda: Turn.objects.filter(pk=turn.pk).update(status="completed", alive_until=None)
    )
    assert (await add(gateway, alice.key, found["id"], HELLO)).status == 200
    numbers = await run_in_thread(
        lambda: list(Turn.objects.order_by("number").values_list("number", flat=True))
    )
    assert numbers == [1, 2, 3]


async def test_items_wait_a_moment_for_the_turn_before(gateway, alice, monkeypatch):
    found = await run_in_thread(row, alice)
    turn, waited = await run_in_thread(running, found), []

    def sleep(seconds):
        waited.append(seconds)
        Turn.objects.filter(pk=turn.pk).update(status="completed", alive_until=None)

    monkeypatch.setattr("api.views.conversations.time", SimpleNamespace(sleep=sleep))
    assert (await add(gateway, alice.key, found.pk, HELLO)).status == 200
    assert len(waited) == 1


async def test_a_turn_of_a_dead_process_is_ended_and_keeps_nobody_out(gateway, alice):
    found = await run_in_thread(row, alice)
    dead = await run_in_thread(running, found, -1)
    assert (await add(gateway, alice.key, found.pk, HELLO)).status == 200
    assert (await rows.reload_row(dead)).status == TurnStatus.INCOMPLETE


async def test_of_items_put_in_at_once_none_is_lost(gateway, alice):
    found = await run_in_thread(row, alice)
    asked = [
        add(gateway, alice.key, found.pk, HELLO | {"content": str(number)}) for number in range(8)
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
    found = await run_in_thread(row, alice)
    await run_in_thread(retention.delete_conversations, Conversation.objects.filter(pk=found.pk))
    with pytest.raises(UnknownUrl):
        await run_in_thread(stored_items.add_items, found, [])


# --- the official client --------------------------------------------------------------------------
async def test_the_official_client_keeps_a_conversation(gateway, alice):
    async with AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=alice.key, max_retries=0
    ) as client:
        made = await client.conversations.create(metadata={"topic": "Graz"}, items=[HELLO])
        assert made.metadata == {"topic": "Graz"}
        assert await client.conversations.retrieve(made.id) == made
        assert (await client.conversations.update(made.id, metadata={"a": "b"})).metadata == {
            "a": "b"
        }
        image = {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "auto"}
        added = await client.conversations.items.create(
            made.id,
            items=[{"role": "user", "content": [image]}],
            include=["message.input_image.image_url"],
        )
        assert added.data[0].content[0].image_url == "https://example.org/a.png"
        pages = client.conversations.items.list(made.id, limit=1, order="asc")
        seen = [item async for item in pages]
        assert [type(item).__name__ for item in seen] == ["Message", "Message"]
        assert seen[0].content[0].text == "Hello!"
        assert (
            await client.conversations.items.retrieve(seen[0].id, conversation_id=made.id)
            == seen[0]
        )
        left = await client.conversations.items.delete(seen[0].id, conversation_id=made.id)
        assert (left.id, left.object) == (made.id, "conversation")
        assert (await client.conversations.delete(made.id)).deleted
        with pytest.raises(openai.NotFoundError) as caught:
            await client.conversations.retrieve(made.id)
        assert caught.value.code == "conversation_not_found"
