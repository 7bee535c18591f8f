"""`session_id` as other services know it: it groups requests, and nothing is remembered (F18)."""

import pytest

from conversations.models import Conversation
from providers.database.database_threads import run_in_thread
from proxysite.testing.upstream import send_refusal

TASK = [{"role": "user", "content": "Write a long program."}]
TITLE = [{"role": "user", "content": "Give this a title."}]


async def set_remembering(gateway, person):
    await run_in_thread(type(person.row).objects.update, remembers_sessions=True)
    await gateway.reload_rows()


def told(upstream):
    return [message["content"] for message in upstream.last_exchange.request.json["messages"]]


def list_tokens(upstream):
    return [request.bearer_token for request in upstream.requests]


async def test_requests_of_one_session_are_told_nothing_of_each_other(gateway, upstream, alice):
    for messages in (TASK, TITLE):
        answer = await gateway.request_chat(alice.key, messages=messages, session_id="s")
        assert answer.status == 200
        assert "session_id" not in answer.json
    assert told(upstream) == [TITLE[0]["content"]]
    assert "session_id" not in upstream.last_exchange.request.json
    assert await run_in_thread(Conversation.objects.count) == 0


async def test_requests_of_one_session_share_an_upstream_token(gateway, upstream, alice, three):
    for _ in range(3):
        await gateway.request_chat(alice.key, session_id="s")
    assert len(set(list_tokens(upstream))) == 1
    upstream.queue_scripts(send_refusal(429))
    for _ in range(2):
        assert (await gateway.request_chat(alice.key, session_id="s")).status == 200
    assert len(set(list_tokens(upstream))) == 2


async def test_sessions_of_two_users_with_one_name_are_two_groups(
    gateway, upstream, alice, mallory, three
):
    used = {}
    for _ in range(2):
        for person in (alice, mallory):
            await gateway.request_chat(person.key, session_id="s")
            used.setdefault(person.key, set()).add(list_tokens(upstream)[-1])
    assert [len(tokens) for tokens in used.values()] == [1, 1]
    assert len(set.union(*used.values())) == 2


@pytest.mark.parametrize("session_id", ["", "x" * 5_000, "a\nb", "conv_1", "日本"])
async def test_a_name_that_only_groups_may_be_anything(gateway, alice, session_id):
    assert (await gateway.request_chat(alice.key, session_id=session_id)).status == 200


async def test_a_group_works_with_a_key_that_stores_nothing(gateway, alice):
    await run_in_thread(type(alice.row).objects.update, stores_content=False)
    await gateway.reload_rows()
    assert (await gateway.request_chat(alice.key, session_id="s")).status == 200


async def test_a_key_may_remember_sessions(gateway, upstream, alice):
    await set_remembering(gateway, alice)
    first = await gateway.request_chat(alice.key, messages=TASK, session_id="s")
    assert first.json["session_id"] == "s"
    await gateway.request_chat(alice.key, messages=TITLE, session_id="s")
    assert told(upstream) == [TASK[0]["content"], "Hello there!", TITLE[0]["content"]]


@pytest.mark.parametrize("word", ["true", "1", "Yes"])
async def test_a_header_has_a_session_remembered(gateway, upstream, alice, word):
    headers = {"x-remember-session": word}
    await gateway.request_chat(alice.key, headers, messages=TASK, session_id="s")
    await gateway.request_chat(alice.key, headers, messages=TITLE, session_id="s")
    assert len(told(upstream)) == 3


async def test_the_header_may_also_say_no(gateway, upstream, alice):
    await set_remembering(gateway, alice)
    headers = {"x-remember-session": "false"}
    for messages in (TASK, TITLE):
        await gateway.request_chat(alice.key, headers, messages=messages, session_id="s")
    assert told(upstream) == [TITLE[0]["content"]]


async def test_the_conversation_of_the_path_is_remembered_beside_a_group(gateway, upstream, alice):
    for messages in (TASK, TITLE):
        answer = await gateway.send_request(
            "POST",
            "/v1/chat/completions/diary",
            alice.key,
            json={"model": "m", "messages": messages, "session_id": "run-1"},
        )
        assert answer.status == 200
    assert len(told(upstream)) == 3
