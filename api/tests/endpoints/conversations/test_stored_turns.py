"""What stands in the log of a turn that went well, and what is not stored."""

from datetime import timedelta

from django.utils import timezone

from api.tests.endpoints.chat_messages import answer_texts, get_sent_messages, user_message
from api.tests.endpoints.conversations.turns import list_items, list_turns, send_turn
from conversations.models import Conversation, Item
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.upstream import DONE, send_reply, send_stream


async def test_a_streamed_turn_is_in_the_log_before_its_end_is_told(gateway, upstream, alice):
    upstream.set_default_script(send_stream(*speech.streamed_completion("Hel", "lo."), DONE))
    for number in range(3):
        async with gateway.open_stream(
            alice.key, messages=[user_message(str(number))], conversation_id="c"
        ) as reading:
            await reading.read_until("[DONE]")
            assert [turn.status for turn in await list_turns()] == ["completed"] * (number + 1)
            assert (await reading.read_rest()).events[0]["conversation_id"] == "c"
    assert [item.text for item in await list_items()] == [
        "0",
        "Hello.",
        "1",
        "Hello.",
        "2",
        "Hello.",
    ]


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
    upstream.queue_scripts(send_reply(calling), *answer_texts("Sunny."))
    answer = await gateway.request_chat(
        alice.key, messages=[user_message("Weather?")], tools=tools, conversation_id="c"
    )
    assert answer.json["choices"][0]["message"]["tool_calls"] == [call]
    result = {"role": "tool", "tool_call_id": "call_1", "content": "25 degrees"}
    await gateway.request_chat(alice.key, messages=[result], tools=tools, conversation_id="c")
    said = {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [call]}
    assert get_sent_messages(upstream) == [user_message("Weather?"), said, result]
    kinds = [item.type for item in await list_items()]
    assert kinds == ["message", "reasoning", "function_call", "function_call_output", "message"]


async def test_a_call_that_nobody_answered_is_not_told(gateway, upstream, alice):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    calling = speech.chat_completion(None, message={"tool_calls": [call]}, finish="tool_calls")
    upstream.queue_scripts(send_reply(calling), *answer_texts("All right."))
    await send_turn(gateway, alice, "Weather?", conversation_id="c")
    await send_turn(gateway, alice, "Never mind.", conversation_id="c")
    assert get_sent_messages(upstream) == [user_message("Weather?"), user_message("Never mind.")]


async def test_a_stored_completion_is_kept_and_its_upstream_hears_nothing_of_it(
    gateway, upstream, alice
):
    upstream.queue_scripts(*answer_texts("Hello."))
    answer = await gateway.request_chat(alice.key, store=True, metadata={"a": "b"}, temperature=0.5)
    assert upstream.requests[0].json.keys() == {"model", "messages", "temperature"}
    (row,) = await list_turns()
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
    refused = await send_turn(gateway, alice, "Hello.", conversation_id="c")
    assert (refused.status, refused.error["code"], len(upstream.requests)) == (
        403,
        "storage_disabled",
        0,
    )
    assert (await send_turn(gateway, alice, "Hello.", store=True)).status == 200
    assert await run_in_thread(Item.objects.count) == 0


async def test_what_no_database_can_store_is_stored_without_it(gateway, upstream, alice):
    upstream.queue_scripts(
        send_reply(speech.chat_completion("a\x00b\ud800c")), *answer_texts("Well.")
    )
    assert (await send_turn(gateway, alice, "Hello.", conversation_id="c")).status == 200
    await send_turn(gateway, alice, "Go on.", conversation_id="c")
    assert get_sent_messages(upstream)[1]["content"].startswith("a\ufffdb")


async def test_a_conversation_that_cannot_be_named_so_is_refused(
    gateway, upstream, alice, subtests
):
    cases = [
        {"conversation_id": "a", "session_id": "b"},
        {"conversation_id": "a" * 201},
        {"session_id": "a\nb"},
        {"conversation_id": "a", "n": 2},
    ]
    for given in cases:
        with subtests.test(given=given):
            refused = await send_turn(gateway, alice, "Hello.", **given)
            assert (refused.status, len(upstream.requests)) == (400, 0)
            assert refused.error["param"] in given


async def test_how_an_answer_was_thought_up_is_kept_with_it(gateway, upstream, alice):
    await run_in_thread(rows.create_virtual_model, "mpr-m", "m", "multipath", candidates=2)
    await gateway.reload_rows()
    upstream.set_default_script(send_reply(speech.chat_completion("An answer.")))
    assert (await gateway.request_chat(alice.key, model="mpr-m", conversation_id="c")).status == 200
    (row,) = await list_turns()
    assert row.thinking["candidates"] == ["An answer.", "An answer."]


async def test_a_conversation_that_has_expired_begins_anew(gateway, upstream, alice):
    upstream.set_default_script(send_reply(speech.chat_completion("Hello.")))
    await send_turn(gateway, alice, "I am Ann.", session_id="s")
    (row,) = await run_in_thread(lambda: list(Conversation.objects.all()))
    assert row.expires_at - row.used_at == timedelta(seconds=3_600)
    await run_in_thread(lambda: Conversation.objects.update(expires_at=timezone.now()))
    await send_turn(gateway, alice, "Who am I?", session_id="s")
    assert get_sent_messages(upstream) == [user_message("Who am I?")]
    assert [item.text for item in await list_items()] == ["Who am I?", "Hello."]
