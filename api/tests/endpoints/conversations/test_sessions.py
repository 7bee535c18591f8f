"""/v1/sessions as OpenKimi has it: a name for a conversation, times in ISO 8601, gone after an idle
time.
"""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from conversations.models import Conversation, ConversationKind
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows

SHAPE = {"session_id", "created_at", "last_accessed", "expires_at"}


def row(person, name="my chat", **fields):
    return Conversation.objects.create(
        user=person.user, kind=ConversationKind.NAMED, name=name, **fields
    )


async def begin(gateway, key, **body):
    answer = await gateway.send_request("POST", "/v1/sessions", key, json=body)
    assert answer.status == 200, answer.body
    return answer.json


@pytest.mark.settings(SESSION_IDLE_SECONDS=60)
async def test_a_session_begins_is_read_listed_and_ends(gateway, alice):
    found = await begin(gateway, alice.key)
    assert found.keys() == SHAPE
    times = [
        datetime.fromisoformat(found[name])
        for name in ("created_at", "last_accessed", "expires_at")
    ]
    assert all(found[name].endswith("Z") for name in SHAPE - {"session_id"})
    assert times[0].tzinfo == UTC
    assert timedelta(seconds=59) < times[2] - times[1] < timedelta(seconds=61)
    path = f"/v1/sessions/{found['session_id']}"
    assert (await gateway.send_request("GET", path, alice.key)).json == found
    whole = (await gateway.send_request("GET", "/v1/sessions", alice.key)).json
    assert (whole["data"], whole["first_id"], whole["has_more"]) == (
        [found],
        found["session_id"],
        False,
    )
    gone = await gateway.send_request("DELETE", path, alice.key)
    assert gone.json == {"session_id": found["session_id"], "deleted": True}
    for method in ("GET", "DELETE"):
        missing = await gateway.send_request(method, path, alice.key)
        assert (missing.status, missing.error["code"]) == (404, "session_not_found")
    assert not await run_in_thread(Conversation.objects.exists)


async def test_every_session_is_another_one(gateway, alice):
    assert (await begin(gateway, alice.key))["session_id"] != (await begin(gateway, alice.key))[
        "session_id"
    ]


async def test_a_session_may_begin_without_a_body(gateway, alice):
    assert (await gateway.send_request("POST", "/v1/sessions", alice.key)).json.keys() == SHAPE


@pytest.mark.settings(SESSION_IDLE_SECONDS=0)
async def test_a_session_may_be_for_ever(gateway, alice):
    assert (await begin(gateway, alice.key))["expires_at"] is None


@pytest.mark.parametrize(
    "name", ["mine", "Grüße aus Graz", "a/b", "...", ".a/b.", "你好", "x" * 200]
)
async def test_a_client_may_choose_the_name_and_it_is_the_same_session_again(gateway, alice, name):
    found = await begin(gateway, alice.key, session_id=name)
    assert found["session_id"] == name
    assert await begin(gateway, alice.key, session_id=name) == found
    assert (await gateway.send_request("GET", f"/v1/sessions/{name}", alice.key)).json == found
    assert await run_in_thread(Conversation.objects.count) == 1


WRONG = ["x" * 201, "", "a\nb", "a\0", "conv_1", "resp_1", "chatcmpl-1", 1, ["a"]]
UNREACHABLE = [".", "..", "/", "/a", "a/", "a//b", "a/../b", "a/./b", "../a"]


async def test_a_name_that_no_conversation_could_have_is_refused(gateway, alice, subtests):
    for name in WRONG + UNREACHABLE:
        with subtests.test(name=name):
            answer = await gateway.send_request(
                "POST", "/v1/sessions", alice.key, json={"session_id": name}
            )
            assert (answer.status, answer.error["param"]) == (400, "session_id")
    assert not await run_in_thread(Conversation.objects.exists)


async def test_of_two_that_begin_the_same_session_at_once_both_get_it(gateway, alice):
    asked = [begin(gateway, alice.key, session_id="mine") for _ in range(6)]
    found = await asyncio.gather(*asked)
    assert all(one == found[0] for one in found)
    assert await run_in_thread(Conversation.objects.count) == 1


async def test_all_conversations_that_clients_named_are_sessions(gateway, alice):
    named = await run_in_thread(row, alice)
    await run_in_thread(
        lambda: Conversation.objects.create(user=alice.user, kind=ConversationKind.OPEN)
    )
    found = (await gateway.send_request("GET", "/v1/sessions", alice.key)).json["data"]
    assert [one["session_id"] for one in found] == ["my chat"]
    assert found[0]["expires_at"] is None
    assert (await gateway.send_request("DELETE", "/v1/sessions/my chat", alice.key)).status == 200
    assert await run_in_thread(lambda: list(Conversation.objects.values_list("kind"))) == [
        (ConversationKind.OPEN,)
    ]
    assert not await run_in_thread(Conversation.objects.filter(pk=named.pk).exists)


async def test_the_same_name_is_another_session_of_another_user(gateway, alice, mallory):
    mine, theirs = [
        await begin(gateway, person.key, session_id="mine") for person in (alice, mallory)
    ]
    assert (await gateway.send_request("DELETE", "/v1/sessions/mine", mallory.key)).status == 200
    unknown = await gateway.send_request("GET", "/v1/sessions/mine", mallory.key)
    assert unknown.status == 404
    assert (await gateway.send_request("GET", "/v1/sessions/mine", alice.key)).json == mine
    assert mine["created_at"] != theirs["created_at"]


async def test_an_expired_session_is_not_there_and_its_name_can_begin_again(gateway, alice):
    old = await run_in_thread(lambda: row(alice, expires_at=timezone.now() - timedelta(seconds=1)))
    for method in ("GET", "DELETE"):
        assert (await gateway.send_request(method, "/v1/sessions/my chat", alice.key)).status == 404
    assert (await gateway.send_request("GET", "/v1/sessions", alice.key)).json["data"] == []
    await begin(gateway, alice.key, session_id="my chat")
    assert await run_in_thread(lambda: Conversation.objects.exclude(pk=old.pk).count()) == 1
    assert not await run_in_thread(Conversation.objects.filter(pk=old.pk).exists)


async def test_the_list_pages_the_one_used_last_first(gateway, alice):
    for name in "abc":
        await run_in_thread(row, alice, name)
    seen, params = [], {"limit": 1}
    for _ in range(3):
        page = (await gateway.send_request("GET", "/v1/sessions", alice.key, params=params)).json
        seen += [one["session_id"] for one in page["data"]]
        params["after"] = page["last_id"]
    assert (seen, page["has_more"]) == (["c", "b", "a"], False)
    strange = await gateway.send_request("GET", "/v1/sessions", alice.key, params={"after": "?"})
    assert strange.status == 404


async def test_a_key_that_stores_nothing_begins_none(gateway, alice):
    def silence():
        alice.row.stores_content = False
        alice.row.save()

    await run_in_thread(silence)
    answer = await gateway.send_request("POST", "/v1/sessions", alice.key, json={})
    assert (answer.status, answer.error["code"]) == (403, "storage_disabled")
    assert (await gateway.send_request("GET", "/v1/sessions", alice.key)).json["data"] == []


async def test_without_a_key_there_is_nothing(gateway, alice):
    assert (await gateway.send_request("POST", "/v1/sessions", json={})).status == 401
    assert (await gateway.send_request("GET", "/v1/sessions")).status == 401


async def test_a_session_is_prolonged_by_what_is_put_into_its_conversation(gateway, alice):
    found = await begin(gateway, alice.key, session_id="mine")
    session = await run_in_thread(Conversation.objects.get)
    item = {"role": "user", "content": "Hello!"}
    await gateway.send_request(
        "POST", f"/v1/conversations/{session.pk}/items", alice.key, json={"items": [item]}
    )
    now = (await gateway.send_request("GET", "/v1/sessions/mine", alice.key)).json
    assert now["expires_at"] > found["expires_at"]
    assert now["created_at"] == found["created_at"]
    assert (await rows.reload_row(session)).last_number == 1
