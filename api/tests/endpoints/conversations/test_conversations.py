"""/v1/conversations: OpenAI's shapes, each user his own."""

from datetime import timedelta
from itertools import product

import pytest
from django.utils import timezone

from api.tests.endpoints.conversations.conversation_requests import (
    HELLO,
    add_items,
    create_conversation,
    create_conversation_row,
    list_items,
)
from conversations.models import Conversation, ConversationKind, Item
from providers.database.database_threads import run_in_thread

UNKNOWN = f"conv_{'0' * 32}"


async def test_a_conversation_is_opened_read_changed_and_deleted(gateway, alice):
    found = await create_conversation(gateway, alice.key, metadata={"topic": "Graz"})
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
    assert (await list_items(gateway, alice.key, answer.json["id"])) == {
        "object": "list",
        "data": [],
        "first_id": None,
        "last_id": None,
        "has_more": False,
    }


async def test_nobody_sees_what_is_anothers_and_it_is_as_if_it_was_not_there(
    gateway, alice, mallory
):
    mine = (await create_conversation(gateway, alice.key, items=[HELLO]))["id"]
    item = (await list_items(gateway, alice.key, mine))["first_id"]
    expired = await run_in_thread(
        lambda: create_conversation_row(mallory, expires_at=timezone.now() - timedelta(seconds=1))
    )
    thread = await run_in_thread(create_conversation_row, mallory, ConversationKind.THREAD)
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
    assert len((await list_items(gateway, alice.key, mine))["data"]) == 1


async def test_an_odd_id_is_no_conversation(gateway, alice, subtests):
    cases = ["conv_", "x" * 3000, UNKNOWN.upper(), "conv_" + "٣" * 32, "my chat"]
    for name in cases:
        with subtests.test(name=name):
            answer = await gateway.send_request("GET", f"/v1/conversations/{name}", alice.key)
            assert (answer.status, answer.error["type"]) == (404, "invalid_request_error")


async def test_a_conversation_with_a_name_of_its_clients_is_reached_by_its_id_too(gateway, alice):
    named = await run_in_thread(
        lambda: create_conversation_row(alice, ConversationKind.NAMED, name="my chat")
    )
    assert (await gateway.send_request("GET", f"/v1/conversations/{named.pk}", alice.key)).json[
        "id"
    ] == named.pk
    assert (await add_items(gateway, alice.key, named.pk, HELLO)).status == 200


async def test_the_list_shows_ones_own_the_one_used_last_first(gateway, alice, mallory):
    def make():
        ids = [
            create_conversation_row(alice).pk,
            create_conversation_row(alice, ConversationKind.NAMED, name="my chat").pk,
            create_conversation_row(alice).pk,
        ]
        create_conversation_row(alice, ConversationKind.THREAD)
        create_conversation_row(alice, expires_at=timezone.now() - timedelta(seconds=1))
        create_conversation_row(mallory)
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
        ({"limit": "-1"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"limit": "٣"}, "limit"),
        ({"order": "up"}, "order"),
    ]
    for (params, param), path in product(cases, ["", "/{}/items"]):
        with subtests.test(params=params, param=param, path=path):
            found = await run_in_thread(create_conversation_row, alice)
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
            found = await run_in_thread(create_conversation_row, alice)
            for path in ("/v1/conversations", f"/v1/conversations/{found.pk}"):
                answer = await gateway.send_request(
                    "POST", path, alice.key, json={"metadata": metadata}
                )
                assert (answer.status, answer.error["param"]) == (400, param)
            full = {f"{place:064}": "v" * 512 for place in range(16)}
            assert (await create_conversation(gateway, alice.key, metadata=full))[
                "metadata"
            ] == full


async def test_a_change_names_the_metadata_and_null_empties_it(gateway, alice):
    found = await create_conversation(gateway, alice.key, metadata={"a": "b"})
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
        return create_conversation_row(alice)

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
