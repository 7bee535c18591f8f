"""Chat in conversations: what the upstream is told of earlier turns, what stands in the log, and
who may go on.
"""

import asyncio
from datetime import timedelta

import pytest
from django.utils import timezone

from conversations.models import Conversation, Item, Turn
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.upstream import CUT, DONE, Gate, send_refusal, send_reply, send_stream

CHAT = "/v1/chat/completions"
REMEMBER = {"x-remember-session": "true"}  # `session_id` names a conversation


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def told(upstream, at=-1):
    return upstream.requests[at].json["messages"]


def words(*texts):
    """Upstream answers, one per request."""
    return [send_reply(speech.chat_completion(text)) for text in texts]


async def turn(gateway, person, text, path=CHAT, headers=None, **more):
    """One turn, whole."""
    return await gateway.send_request(
        "POST",
        path,
        person.key,
        json={"model": "m", "messages": [user(text)], **more},
        headers=headers or {},
    )


async def turn_rows():
    return await run_in_thread(lambda: list(Turn.objects.order_by("number")))


async def item_rows():
    return await run_in_thread(lambda: list(Item.objects.order_by("id")))


async def test_a_conversation_goes_on_by_path_by_field_and_as_a_session(gateway, upstream, alice):
    for name, path, more in (
        ("by path", f"{CHAT}/by%20path", {}),
        ("by field", CHAT, {"conversation_id": "by field"}),
        ("as a session", CHAT, {"session_id": "as a session", "headers": REMEMBER}),
    ):
        upstream.queue_scripts(*words("Hello Ann.", "You are Ann."))
        first = await turn(gateway, alice, "I am Ann.", path, **more)
        assert (first.status, first.text) == (200, "Hello Ann.")
        second = await turn(gateway, alice, "Who am I?", path, **more)
        assert told(upstream) == [user("I am Ann."), assistant("Hello Ann."), user("Who am I?")]
        field = "session_id" if name == "as a session" else "conversation_id"
        assert (second.json[field], second.text) == (name, "You are Ann.")
        assert "conversation_id" not in upstream.requests[-1].json
    kinds = await run_in_thread(
        lambda: set(Conversation.objects.values_list("kind", "name", "title"))
    )
    assert kinds == {
        ("named", name, "I am Ann.") for name in ("by path", "by field", "as a session")
    }


async def test_what_a_client_repeats_of_the_conversation_is_not_said_twice(
    gateway, upstream, alice
):
    upstream.queue_scripts(*words("One.", "Two.", "Three.", "Four."))
    said = [{"role": "system", "content": "Count."}]
    for number in ("1", "2", "3"):
        said.append(user(number))
        answer = await gateway.request_chat(alice.key, messages=said, conversation_id="c")
        assert told(upstream) == said
        said.append(assistant(answer.text))
    await gateway.request_chat(
        alice.key, messages=[assistant("Three."), user("4")], conversation_id="c"
    )  # the end of it
    assert told(upstream) == [*said, user("4")]
    texts = [item.text for item in await item_rows()]
    assert texts == ["Count.", "1", "One.", "2", "Two.", "3", "Three.", "4", "Four."]


async def test_new_instructions_replace_the_old_ones(gateway, upstream, alice):
    upstream.queue_scripts(*words("One.", "Two.", "Three."))
    brief, long = ({"role": "system", "content": text} for text in ("Be brief.", "Be long."))
    await gateway.request_chat(alice.key, messages=[brief, user("1")], conversation_id="c")
    await gateway.request_chat(alice.key, messages=[user("2")], conversation_id="c")
    assert told(upstream) == [brief, user("1"), assistant("One."), user("2")]
    await gateway.request_chat(alice.key, messages=[long, user("3")], conversation_id="c")
    assert told(upstream) == [
        long,
        user("1"),
        assistant("One."),
        user("2"),
        assistant("Two."),
        user("3"),
    ]


async def test_a_conversation_of_the_same_name_is_another_one_for_another_user(
    gateway, upstream, alice, mallory
):
    upstream.queue_scripts(*words("Hello Ann.", "Who knows."))
    await turn(gateway, alice, "I am Ann.", conversation_id="diary")
    await turn(gateway, mallory, "Who am I?", conversation_id="diary")
    assert told(upstream) == [user("Who am I?")]
    assert await run_in_thread(Conversation.objects.count) == 2


@pytest.mark.parametrize("prefix", ["conv_", "resp_", "chatcmpl-"])
async def test_openais_ids_must_exist_and_be_ones_own(gateway, upstream, alice, mallory, prefix):
    upstream.queue_scripts(*words("Hello Ann."))
    first = await turn(gateway, alice, "I am Ann.", conversation_id="c", store=True)
    row = await run_in_thread(Conversation.objects.get)
    known = {
        "conv_": row.pk,
        "resp_": first.json["id"].replace("chatcmpl-", "resp_"),
        "chatcmpl-": first.json["id"],
    }
    unknown = known[prefix][:-4] + "0000"
    answers = [
        await turn(gateway, mallory, "Who am I?", conversation_id=name)
        for name in (known[prefix], unknown)
    ]
    assert {answer.status for answer in answers} == {404}
    texts = [
        answer.body.replace(name.encode(), b"ID")
        for answer, name in zip(answers, (known[prefix], unknown), strict=True)
    ]
    assert texts[0] == texts[1]
    assert len(upstream.requests) == 1
    assert await run_in_thread(Turn.objects.count) == 1


async def test_a_conversation_goes_on_by_its_openai_id_and_after_a_stored_completion(
    gateway, upstream, alice
):
    upstream.queue_scripts(*words("Hello Ann.", "You are Ann.", "Ann."))
    first = await turn(gateway, alice, "I am Ann.", conversation_id="c", store=True)
    row = await run_in_thread(Conversation.objects.get)
    await turn(gateway, alice, "Who am I?", conversation_id=row.pk)
    assert told(upstream) == [user("I am Ann."), assistant("Hello Ann."), user("Who am I?")]
    await turn(
        gateway, alice, "And now?", conversation_id=first.json["id"]
    )  # branches off after the first turn
    assert told(upstream) == [user("I am Ann."), assistant("Hello Ann."), user("And now?")]
    assert await run_in_thread(lambda: row.turns.count()) == 2


async def test_a_streamed_turn_is_in_the_log_before_its_end_is_told(gateway, upstream, alice):
    upstream.set_default_script(send_stream(*speech.streamed_completion("Hel", "lo."), DONE))
    for number in range(3):
        async with gateway.open_stream(
            alice.key, messages=[user(str(number))], conversation_id="c"
        ) as reading:
            await reading.read_until("[DONE]")
            assert [turn.status for turn in await turn_rows()] == ["completed"] * (number + 1)
            assert (await reading.read_rest()).events[0]["conversation_id"] == "c"
    assert [item.text for item in await item_rows()] == [
        "0",
        "Hello.",
        "1",
        "Hello.",
        "2",
        "Hello.",
    ]


async def test_turns_of_one_conversation_wait_for_one_another(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("One"), gate, *speech.streamed_completion("."), DONE),
        *words("Two.", "Three."),
    )
    async with gateway.open_stream(alice.key, messages=[user("1")], conversation_id="c") as first:
        await first.read_until("One")
        others = [
            asyncio.create_task(turn(gateway, alice, number, conversation_id="c"))
            for number in ("2", "3")
        ]
        elsewhere = await turn(gateway, alice, "free", conversation_id="d")
        assert elsewhere.text == "Two."
        assert not any(other.done() for other in others)
        gate.open()
        await first.read_rest()
        assert [(await other).status for other in others] == [200, 200]
    roles = [message["role"] for message in told(upstream)]
    assert roles == ["user", "assistant", "user", "assistant", "user"]


@pytest.mark.settings(CONVERSATION_WAIT_SECONDS=0.2)
async def test_who_waits_too_long_for_the_turn_before_gets_a_409(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("One"), gate, *speech.streamed_completion("."), DONE)
    )
    async with gateway.open_stream(alice.key, messages=[user("1")], conversation_id="c") as first:
        await first.read_until("One")
        second = await turn(gateway, alice, "2", conversation_id="c")
        assert (second.status, second.error["code"]) == (409, "conversation_busy")
        gate.open()
        assert (await first.read_rest()).is_complete
    assert len(upstream.requests) == 1


@pytest.mark.settings(CONVERSATION_WAIT_SECONDS=0.2)
async def test_a_turn_of_another_process_is_waited_for_and_one_of_a_dead_process_is_ended(
    gateway, upstream, alice
):
    upstream.set_default_script(send_reply(speech.chat_completion("Hello.")))
    await turn(gateway, alice, "1", conversation_id="c")
    (row,) = await turn_rows()
    alive = {"status": "in_progress", "alive_until": timezone.now() + timedelta(hours=1)}
    await run_in_thread(lambda: Turn.objects.filter(pk=row.pk).update(**alive))
    assert (await turn(gateway, alice, "2", conversation_id="c")).status == 409
    await run_in_thread(
        lambda: Turn.objects.filter(pk=row.pk).update(
            alive_until=timezone.now() - timedelta(seconds=1)
        )
    )
    assert (await turn(gateway, alice, "2", conversation_id="c")).status == 200
    assert [(row.status, (row.error or {}).get("code")) for row in await turn_rows()] == [
        ("incomplete", "interrupted"),
        ("completed", None),
    ]


async def test_a_broken_stream_is_stored_as_incomplete_and_never_told_as_finished(
    gateway, upstream, alice
):
    upstream.queue_scripts(send_stream(*speech.content_chunks("Once upon"), CUT), *words("Well."))
    broken = await gateway.request_chat(
        alice.key, messages=[user("A tale!")], conversation_id="c", stream=True
    )
    assert broken.stream_error["code"] == "upstream_disconnected"
    (row,) = await turn_rows()
    assert (row.status, row.error["code"]) == ("incomplete", "upstream_disconnected")
    assert [(item.text, item.status) for item in await item_rows()] == [
        ("A tale!", "completed"),
        ("Once upon", "incomplete"),
    ]
    await turn(gateway, alice, "Go on.", conversation_id="c")
    cut = "Once upon\n\n[This answer was cut off before its end.]"
    assert told(upstream) == [user("A tale!"), assistant(cut), user("Go on.")]


async def test_an_abandoned_answer_is_stored_as_incomplete(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(send_stream(*speech.content_chunks("Once upon"), gate))
    async with gateway.open_stream(
        alice.key, messages=[user("A tale!")], conversation_id="c"
    ) as reading:
        await reading.read_until("upon")
        await reading.leave_early()

    async def ended():
        return [row for row in await turn_rows() if row.status == "incomplete"]

    (row,) = await wait_until_true(ended)
    assert row.error["code"] == "abandoned"
    assert [item.text for item in await item_rows()] == ["A tale!", "Once upon"]
    gate.open()


async def test_a_question_that_failed_is_not_part_of_the_conversation(gateway, upstream, alice):
    upstream.queue_scripts(send_refusal(400, "No such thing."), *words("Hello."))
    failed = await turn(gateway, alice, "Hello?", conversation_id="c")
    assert failed.status == 400
    assert (await turn(gateway, alice, "Hello?", conversation_id="c")).status == 200
    assert told(upstream) == [user("Hello?")]
    assert [row.status for row in await turn_rows()] == ["failed", "completed"]


async def test_a_request_that_is_refused_leaves_nothing(gateway, upstream, alice):
    for more in (
        {
            "messages": [
                {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-x"}}]}
            ]
        },
        {"n": 2},
    ):
        assert (await gateway.request_chat(alice.key, conversation_id="c", **more)).status == 400
    assert (await run_in_thread(Conversation.objects.count), len(upstream.requests)) == (0, 0)


async def test_tool_calls_and_their_results_stand_in_the_log(gateway, upstream, alice):
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"in": "Rome"}'},
    }
    tools = [
        {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
    ]
    calling = speech.chat_completion(
        None, message={"tool_calls": [call], "reasoning_content": "hm"}, finish="tool_calls"
    )
    upstream.queue_scripts(send_reply(calling), *words("Sunny."))
    answer = await gateway.request_chat(
        alice.key, messages=[user("Weather?")], tools=tools, conversation_id="c"
    )
    assert answer.json["choices"][0]["message"]["tool_calls"] == [call]
    result = {"role": "tool", "tool_call_id": "call_1", "content": "25 degrees"}
    await gateway.request_chat(alice.key, messages=[result], tools=tools, conversation_id="c")
    said = {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [call]}
    assert told(upstream) == [user("Weather?"), said, result]
    kinds = [item.type for item in await item_rows()]
    assert kinds == ["message", "reasoning", "function_call", "function_call_output", "message"]


async def test_a_call_that_nobody_answered_is_not_told(gateway, upstream, alice):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    calling = speech.chat_completion(None, message={"tool_calls": [call]}, finish="tool_calls")
    upstream.queue_scripts(send_reply(calling), *words("All right."))
    await turn(gateway, alice, "Weather?", conversation_id="c")
    await turn(gateway, alice, "Never mind.", conversation_id="c")
    assert told(upstream) == [user("Weather?"), user("Never mind.")]


async def test_what_is_told_is_bounded_by_the_window_in_whole_turns(
    gateway, upstream, provider, alice
):
    await run_in_thread(provider.models.update, context_window=500)
    await gateway.reload_rows()
    upstream.set_default_script(send_reply(speech.chat_completion("x" * 200)))
    for number in range(30):
        await turn(gateway, alice, f"{number:03} " + "y" * 200, conversation_id="c")
    messages = told(upstream)
    assert [message["role"] for message in messages] == ["user", "assistant"] * 3 + ["user"]
    assert [message["content"][:3] for message in messages[::2]] == ["026", "027", "028", "029"]


async def test_a_stored_completion_is_kept_and_its_upstream_hears_nothing_of_it(
    gateway, upstream, alice
):
    upstream.queue_scripts(*words("Hello."))
    answer = await gateway.request_chat(alice.key, store=True, metadata={"a": "b"}, temperature=0.5)
    assert upstream.requests[0].json.keys() == {"model", "messages", "temperature"}
    (row,) = await turn_rows()
    assert answer.json["id"] == f"chatcmpl-{row.pk.hex}"
    assert (row.stored, row.metadata, row.settings, row.endpoint) == (
        True,
        {"a": "b"},
        {"temperature": 0.5},
        "chat",
    )
    assert row.usage["total_tokens"] == answer.json["usage"]["total_tokens"]
    (kind,) = await run_in_thread(lambda: list(Conversation.objects.values_list("kind", flat=True)))
    assert kind == "thread"


async def test_a_key_that_stores_nothing_has_no_conversations(gateway, upstream, alice):
    await run_in_thread(type(alice.row).objects.update, stores_content=False)
    await gateway.reload_rows()
    refused = await turn(gateway, alice, "Hello.", conversation_id="c")
    assert (refused.status, refused.error["code"], len(upstream.requests)) == (
        403,
        "storage_disabled",
        0,
    )
    assert (await turn(gateway, alice, "Hello.", store=True)).status == 200
    assert await run_in_thread(Item.objects.count) == 0


async def test_what_no_database_can_store_is_stored_without_it(gateway, upstream, alice):
    upstream.queue_scripts(send_reply(speech.chat_completion("a\x00b\ud800c")), *words("Well."))
    assert (await turn(gateway, alice, "Hello.", conversation_id="c")).status == 200
    await turn(gateway, alice, "Go on.", conversation_id="c")
    assert told(upstream)[1]["content"].startswith("a\ufffdb")


async def test_a_conversation_that_cannot_be_named_so_is_refused(
    gateway, upstream, alice, subtests
):
    cases = [
        {"conversation_id": "a", "session_id": "b", "headers": REMEMBER},
        {"conversation_id": "a" * 201},
        {"session_id": "a\nb", "headers": REMEMBER},
        {"conversation_id": "a", "n": 2},
    ]
    for given in cases:
        with subtests.test(given=given):
            refused = await turn(gateway, alice, "Hello.", **given)
            assert (refused.status, len(upstream.requests)) == (400, 0)
            assert refused.error["param"] in given.keys() - {"headers"}


async def test_how_an_answer_was_thought_up_is_kept_with_it(gateway, upstream, alice):
    await run_in_thread(rows.create_virtual_model, "mpr-m", "m", "multipath", candidates=2)
    await gateway.reload_rows()
    upstream.set_default_script(send_reply(speech.chat_completion("An answer.")))
    assert (await gateway.request_chat(alice.key, model="mpr-m", conversation_id="c")).status == 200
    (row,) = await turn_rows()
    assert row.thinking["candidates"] == ["An answer.", "An answer."]


async def test_a_conversation_that_has_expired_begins_anew(gateway, upstream, alice):
    upstream.set_default_script(send_reply(speech.chat_completion("Hello.")))
    await turn(gateway, alice, "I am Ann.", session_id="s", headers=REMEMBER)
    (row,) = await run_in_thread(lambda: list(Conversation.objects.all()))
    assert row.expires_at - row.used_at == timedelta(seconds=3_600)
    await run_in_thread(lambda: Conversation.objects.update(expires_at=timezone.now()))
    await turn(gateway, alice, "Who am I?", session_id="s", headers=REMEMBER)
    assert told(upstream) == [user("Who am I?")]
    assert [item.text for item in await item_rows()] == ["Who am I?", "Hello."]


async def test_who_leaves_the_line_begins_nothing(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("One"), gate, *speech.streamed_completion("."), DONE),
        *words("Three."),
    )
    async with gateway.open_stream(alice.key, messages=[user("1")], conversation_id="c") as first:
        await first.read_until("One")
        waiting = asyncio.create_task(turn(gateway, alice, "2", conversation_id="c"))
        await asyncio.sleep(0)
        await wait_until_true(lambda: gateway.inner.requests_in_flight == 2)
        waiting.cancel()
        await wait_until_true(lambda: gateway.inner.requests_in_flight == 1)
        gate.open()
        await first.read_rest()
    await turn(gateway, alice, "3", conversation_id="c")
    assert told(upstream) == [user("1"), assistant("One."), user("3")]
    assert len(await turn_rows()) == 2


async def test_an_answer_that_cannot_be_written_down_is_not_told_as_complete(
    gateway, upstream, alice, monkeypatch
):
    from django.db import OperationalError

    def away(finished):
        raise OperationalError("the disk is full")

    monkeypatch.setattr("conversations.history.finish_turn.write_turn_outcome", away)
    upstream.queue_scripts(
        send_stream(*speech.streamed_completion("Hello."), DONE), *words("Hello.")
    )
    streamed = await gateway.request_chat(alice.key, conversation_id="c", stream=True)
    assert streamed.events[-1]["error"]["code"] == "database_unavailable"
    assert not streamed.is_complete
    whole = await gateway.request_chat(alice.key, conversation_id="d")
    assert (whole.status, whole.error["code"]) == (503, "database_unavailable")


async def test_a_new_name_is_begun_once_by_many_at_the_same_moment(gateway, upstream, alice):
    upstream.set_default_script(send_reply(speech.chat_completion("Hello.")))
    answers = await asyncio.gather(
        *(turn(gateway, alice, str(number), conversation_id="new") for number in range(8))
    )
    assert {answer.status for answer in answers} == {200}
    assert await run_in_thread(Conversation.objects.count) == 1
    assert [row.number for row in await turn_rows()] == list(range(1, 9))


async def test_what_a_refused_or_failed_question_changed_is_changed_back(gateway, upstream, alice):
    upstream.queue_scripts(*words("One."), send_refusal(400, "No."), *words("Four."))
    first, other = ({"role": "system", "content": text} for text in ("Be brief.", "Be long."))
    session = await gateway.send_request("POST", "/v1/sessions", alice.key, json={})
    name = session.json["session_id"]
    named = {"session_id": name, "headers": REMEMBER}
    bad = {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-x"}}]}
    assert (await gateway.request_chat(alice.key, messages=[other, bad], **named)).status == 400
    assert (
        await gateway.send_request("GET", f"/v1/sessions/{name}", alice.key)
    ).status == 200  # it was there before
    await gateway.request_chat(alice.key, messages=[first, user("1")], **named)
    assert (await gateway.request_chat(alice.key, messages=[other, bad], **named)).status == 400
    assert (
        await gateway.request_chat(alice.key, messages=[other, user("3")], **named)
    ).status == 400
    await gateway.request_chat(alice.key, messages=[user("4")], **named)
    assert told(upstream) == [first, user("1"), assistant("One."), user("4")]
