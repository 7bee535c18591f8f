"""How a conversation goes on: what a client repeats or takes back, calls of tools, refusals, what
ends in between.
"""

import asyncio
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from api.tests.endpoints.chat_messages import (
    answer_texts,
    assistant_message,
    get_sent_messages,
    user_message,
)
from api.tests.endpoints.conversations.turns import list_items, list_turns
from conversations import retention
from conversations.history import finish_turn
from conversations.models import Conversation, Turn
from providers.database.database_threads import run_in_thread
from proxysite.testing import speech, wait_until_true
from proxysite.testing.upstream import DONE, Gate, send_reply, send_stream

CALL = {"id": "call_0", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
CALLING = speech.chat_completion(None, message={"tool_calls": [CALL]}, finish="tool_calls")
RESULT = {"role": "tool", "tool_call_id": "call_0", "content": "25 degrees"}


async def send_chat(gateway, alice, *messages, **more):
    return await gateway.request_chat(
        alice.key, messages=list(messages), conversation_id="c", **more
    )


async def test_who_asks_the_last_question_again_gets_another_answer_in_its_place(
    gateway, upstream, alice
):
    upstream.queue_scripts(*answer_texts("One.", "Two.", "Zwei.", "Three."))
    said = [user_message("1")]
    said.append(assistant_message((await send_chat(gateway, alice, *said)).text))
    said.append(user_message("2"))
    await send_chat(gateway, alice, *said)
    await send_chat(
        gateway, alice, *said
    )  # a client that repeats everything, and asks for another answer
    assert get_sent_messages(upstream) == said
    await send_chat(gateway, alice, user_message("3"))
    assert get_sent_messages(upstream) == [*said, assistant_message("Zwei."), user_message("3")]
    assert [row.is_replaced for row in await list_turns()] == [False, True, False, False]


async def test_who_changes_an_older_question_goes_on_from_there(gateway, upstream, alice):
    upstream.queue_scripts(*answer_texts("One.", "Two.", "Three.", "Deux.", "Quatre."))
    said = [user_message("1"), assistant_message("One.")]
    for text in ("1", "2", "3"):
        await send_chat(gateway, alice, user_message(text))
    await send_chat(gateway, alice, *said, user_message("2b"))
    assert get_sent_messages(upstream) == [*said, user_message("2b")]
    await send_chat(gateway, alice, user_message("4"))
    assert get_sent_messages(upstream) == [
        *said,
        user_message("2b"),
        assistant_message("Deux."),
        user_message("4"),
    ]


async def test_a_history_longer_than_the_window_is_still_recognised(
    gateway, upstream, provider, alice
):
    await run_in_thread(lambda: provider.models.update(context_window=500))
    await gateway.reload_rows()
    upstream.set_default_script(send_reply(speech.chat_completion("x" * 200)))
    said = []
    for number in range(12):
        said.append(user_message(f"{number:03} " + "y" * 200))
        said.append(assistant_message((await send_chat(gateway, alice, *said)).text))
    assert len(await list_items()) == 24


async def test_an_answer_of_a_tool_needs_its_call(gateway, upstream, alice):
    refused = await send_chat(gateway, alice, RESULT)
    assert (refused.status, refused.error["code"], len(upstream.requests)) == (
        400,
        "call_not_found",
        0,
    )
    assert await run_in_thread(Conversation.objects.count) == 0


async def test_the_turn_whose_call_is_answered_is_told_whatever_the_window(
    gateway, upstream, provider, alice
):
    upstream.queue_scripts(send_reply(CALLING), *answer_texts("Sunny."))
    question = user_message("Weather? " + "y" * 4_000)
    await send_chat(gateway, alice, question)
    await run_in_thread(lambda: provider.models.update(context_window=500))
    await gateway.reload_rows()
    await send_chat(gateway, alice, RESULT)
    assert [message["role"] for message in get_sent_messages(upstream)] == [
        "user",
        "assistant",
        "tool",
    ]


async def test_an_id_that_comes_again_answers_the_latest_call_only(gateway, upstream, alice):
    upstream.queue_scripts(
        send_reply(CALLING),
        *answer_texts("All right."),
        send_reply(CALLING),
        *answer_texts("Sunny.", "Bye."),
    )
    for message in (
        user_message("Weather?"),
        user_message("Never mind."),
        user_message("Weather after all?"),
        RESULT,
        user_message("Thanks."),
    ):
        await send_chat(gateway, alice, message)
    roles = [message["role"] for message in get_sent_messages(upstream)]
    assert roles == ["user", "user", "assistant", "user", "assistant", "tool", "assistant", "user"]


async def test_a_result_goes_right_behind_its_call_though_something_was_said_in_between(
    gateway, upstream, alice
):
    upstream.queue_scripts(send_reply(CALLING), *answer_texts("Wait.", "Sunny."))
    await send_chat(gateway, alice, user_message("Weather?"))
    await send_chat(gateway, alice, user_message("Hurry."))
    await send_chat(gateway, alice, RESULT)
    assert [message["role"] for message in get_sent_messages(upstream)] == [
        "user",
        "assistant",
        "tool",
        "user",
        "assistant",
    ]


async def test_a_question_that_was_never_answered_and_is_asked_again_is_told_once(
    gateway, upstream, alice
):
    gate = Gate()
    upstream.queue_scripts(send_stream(gate), *answer_texts("Hello.", "Well."))
    leaving = asyncio.create_task(send_chat(gateway, alice, user_message("Hi")))
    await upstream.wait_for_request()
    leaving.cancel()
    await wait_until_true(
        lambda: run_in_thread(lambda: Turn.objects.filter(status="incomplete").exists())
    )
    await send_chat(gateway, alice, user_message("Hi"))
    await send_chat(gateway, alice, user_message("more"))
    assert get_sent_messages(upstream) == [
        user_message("Hi"),
        assistant_message("Hello."),
        user_message("more"),
    ]
    gate.open()


async def test_a_refused_first_question_leaves_no_title(gateway, upstream, alice):
    opened = (await gateway.send_request("POST", "/v1/conversations", alice.key, json={})).json[
        "id"
    ]
    bad = {
        "role": "user",
        "content": [{"type": "text", "text": "secret"}, {"type": "file", "file": {"file_id": "f"}}],
    }
    assert (
        await gateway.request_chat(alice.key, messages=[bad], conversation_id=opened)
    ).status == 400
    assert [row.title for row in await run_in_thread(lambda: list(Conversation.objects.all()))] == [
        ""
    ]


async def test_a_turn_the_database_did_not_take_is_written_when_it_is_back(
    gateway, upstream, alice, monkeypatch
):
    finish, away = finish_turn.write_turn_outcome, asyncio.Event()

    def failing(finished):
        if not away.is_set():
            raise OperationalError("the disk is full")
        finish(finished)

    monkeypatch.setattr("conversations.history.finish_turn.write_turn_outcome", failing)
    upstream.queue_scripts(*answer_texts("One.", "Two."))
    assert (await send_chat(gateway, alice, user_message("1"))).status == 503
    away.set()
    assert (await send_chat(gateway, alice, user_message("2"))).status == 200
    rows = await list_turns()
    assert [(row.status, (row.error or {}).get("code")) for row in rows] == [
        ("incomplete", "database_unavailable"),
        ("completed", None),
    ]
    assert [item.text for item in await list_items()] == ["1", "One.", "2", "Two."]


async def test_a_conversation_does_not_expire_while_its_turn_runs(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("One"), gate, *speech.streamed_completion("."), DONE)
    )
    async with gateway.open_stream(
        alice.key, messages=[user_message("1")], conversation_id="s"
    ) as reading:
        await reading.read_until("One")
        await run_in_thread(
            lambda: Conversation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        )
        assert await run_in_thread(retention.delete_all_expired) == (0, 0)
        gate.open()
        assert (await reading.read_rest()).is_complete
    assert [row.status for row in await list_turns()] == ["completed"]
    (row,) = await run_in_thread(lambda: list(Conversation.objects.all()))
    assert row.expires_at > timezone.now()


async def test_a_thread_that_another_goes_on_from_does_not_expire_before_it(
    gateway, upstream, alice
):
    upstream.set_default_script(send_reply(speech.chat_completion("Yes.")))
    body = {"model": "m", "input": "root"}
    first = (await gateway.send_request("POST", "/v1/responses", alice.key, json=body)).json["id"]
    for text in ("a", "b"):
        await gateway.send_request(
            "POST",
            "/v1/responses",
            alice.key,
            json=body | {"input": text, "previous_response_id": first},
        )
    old = timezone.now() - timedelta(seconds=1)
    await run_in_thread(lambda: Conversation.objects.filter(base_turn=None).update(expires_at=old))
    assert await run_in_thread(retention.delete_all_expired) == (0, 0)
    await run_in_thread(lambda: Conversation.objects.update(expires_at=old))
    assert sum((await run_in_thread(retention.delete_all_expired))[:1]) >= 1


async def test_what_failed_makes_no_branch(gateway, upstream, alice):
    upstream.queue_scripts(
        *answer_texts("One."), send_reply({"error": {"message": "No."}}, 400), *answer_texts("Two.")
    )
    body = {"model": "m", "input": "1"}
    first = (await gateway.send_request("POST", "/v1/responses", alice.key, json=body)).json["id"]
    follow = {"model": "m", "input": "2", "previous_response_id": first}
    statuses = [
        (await gateway.send_request("POST", "/v1/responses", alice.key, json=follow)).status
        for _ in range(2)
    ]
    assert (statuses, await run_in_thread(Conversation.objects.count)) == ([400, 200], 1)


@pytest.mark.parametrize(
    "body",
    [
        {"input": []},
        {"input": [{"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}]},
    ],
)
async def test_nothing_to_be_answered_is_a_400(gateway, upstream, alice, body):
    for stored in (True, False):
        answer = await gateway.send_request(
            "POST", "/v1/responses", alice.key, json={"model": "m", "store": stored, **body}
        )
        assert (answer.status, answer.error["param"]) == (400, "input")
    assert (len(upstream.requests), await run_in_thread(Turn.objects.count)) == (0, 0)


async def test_a_long_system_prompt_that_comes_each_time_leaves_room_for_what_was_said(
    gateway, upstream, provider, alice
):
    await run_in_thread(lambda: provider.models.update(context_window=4_000))
    await gateway.reload_rows()
    upstream.set_default_script(send_reply(speech.chat_completion("Yes.")))
    long = {
        "role": "system",
        "content": "You are a guide.\n\n" + "The tower of the town is old and high. " * 1_000,
    }
    for number in range(3):
        await send_chat(gateway, alice, long, user_message(str(number)))
    system, *said = get_sent_messages(upstream)
    assert [message["content"] for message in said] == ["0", "Yes.", "1", "Yes.", "2"]
    assert len(system["content"]) < 16_000
