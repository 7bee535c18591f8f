"""Thinking that callers do not see goes back to the upstream that wants it, and nowhere else (A9).

DeepSeek V4 and Kimi's thinking models refuse a tool's result whose call comes without it.
"""

import pytest
from django.test import AsyncClient

from conversations.models import Item
from providers.database.database_threads import run_in_thread
from providers.models import ChatModel, Provider
from proxysite.testing import speech
from proxysite.testing.upstream import DONE, send_reply, send_stream

SECRET = "I should ask the weather service first."
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
QUESTION = {"role": "user", "content": "How warm is it?"}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "21"}
REFUSAL = {
    "error": {
        "message": "thinking is enabled but reasoning_content is missing in assistant tool call "
        "message at index 1",
        "type": "invalid_request_error",
    }
}


async def use_hidden_thinking(gateway, *, needs_thinking=True):
    """Hide the model's thinking; its upstream wants it back with tools."""

    def change():
        changes = {"thinking_field": "reasoning_content", "needs_thinking": needs_thinking}
        Provider.objects.update(dialect_changes=changes)
        ChatModel.objects.update(thinking="hidden")

    await run_in_thread(change)
    await gateway.reload_rows()


async def think_and_call(exchange):
    """Answer a question with thinking and a call, and a tool's result with thinking and a text."""
    messages = exchange.request.json["messages"]
    answers = [message for message in messages if message["role"] == "assistant"]
    if not all(message.get("reasoning_content") for message in answers):
        await send_reply(REFUSAL, 400)(exchange)
        return
    delta = {"role": "assistant", "reasoning_content": SECRET}
    rest = {"tool_calls": [{"index": 0} | CALL]}
    finish = "tool_calls"
    if messages[-1]["role"] == "tool":
        rest = {"content": "It is 21 °C."}
        finish = "stop"
    if exchange.request.json.get("stream"):
        chunks = [speech.chat_chunk(delta), speech.chat_chunk(rest)]
        await send_stream(*chunks, speech.chat_chunk(finish=finish), DONE)(exchange)
        return
    message = {"content": None} | delta | rest
    await send_reply(speech.chat_completion(message=message, finish=finish))(exchange)


async def send_turn(gateway, alice, message, **fields):
    answer = await gateway.request_chat(
        alice.key, messages=[message], conversation_id="c", tools=TOOLS, **fields
    )
    assert answer.status == 200, answer
    assert SECRET.encode() not in answer.body
    return answer


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_hidden_thinking_goes_back_with_the_calls_that_it_led_to(
    gateway, upstream, alice, stream
):
    await use_hidden_thinking(gateway)
    upstream.set_default_script(think_and_call)
    for message in (QUESTION, RESULT, QUESTION, RESULT):
        await send_turn(gateway, alice, message, stream=stream)
    messages = upstream.requests[-1].json["messages"]
    thoughts = [one["reasoning_content"] for one in messages if one["role"] == "assistant"]
    assert thoughts == [SECRET] * 3


async def test_raw_thinking_goes_back_in_its_field_too(gateway, upstream, alice):
    await use_hidden_thinking(gateway)
    upstream.set_default_script(think_and_call)
    messages = [QUESTION]
    for message in (RESULT, QUESTION):
        answer = await gateway.request_chat(
            alice.key, messages=messages, tools=TOOLS, reasoning_format="raw"
        )
        messages += [answer.json["choices"][0]["message"], message]
    await gateway.request_chat(alice.key, messages=messages, tools=TOOLS)
    sent = [one for one in upstream.requests[-1].json["messages"] if one["role"] == "assistant"]
    assert [one["reasoning_content"] for one in sent] == [SECRET, SECRET]
    assert [one["content"] for one in sent] == [None, "It is 21 °C."]


async def test_nobody_reads_it_anywhere_else(gateway, upstream, alice, operator):
    await use_hidden_thinking(gateway)
    upstream.set_default_script(think_and_call)
    for message in (QUESTION, RESULT):
        await send_turn(gateway, alice, message, store=True)
    item = await run_in_thread(Item.objects.filter(type="function_call").get)
    assert item.hidden_thinking == SECRET
    conversation_id = item.conversation_id
    pages = [
        f"/v1/conversations/{conversation_id}",
        f"/v1/conversations/{conversation_id}/items",
        f"/v1/conversations/{conversation_id}/export",
        "/v1/conversations/export",
        "/v1/conversations/search?q=weather",
        "/v1/chat/completions",
        f"/v1/chat/completions/chatcmpl-{item.turn_id.hex}",
    ]
    for path in pages:
        answer = await gateway.send_request("GET", path, alice.key)
        assert answer.status == 200, path
        assert b"weather service" not in answer.body, path
    admin = AsyncClient()
    await admin.aforce_login(operator.user)
    page = await admin.get(f"/admin/conversations/conversation/{conversation_id}/change/")
    assert page.status_code == 200
    assert b"weather service" not in page.content


async def test_it_is_not_kept_for_an_upstream_that_does_not_want_it(gateway, upstream, alice):
    await use_hidden_thinking(gateway, needs_thinking=False)
    upstream.set_default_script(think_and_call)
    await send_turn(gateway, alice, QUESTION)
    kept = await run_in_thread(
        lambda: list(Item.objects.exclude(hidden_thinking=None).values_list("pk"))
    )
    assert kept == []


async def test_without_tools_nothing_is_kept(gateway, upstream, alice):
    await use_hidden_thinking(gateway)
    upstream.queue_scripts(
        send_reply(speech.chat_completion(message={"content": "Hi", "reasoning_content": SECRET}))
    )
    await gateway.request_chat(alice.key, messages=[QUESTION], conversation_id="c")
    kept = await run_in_thread(lambda: Item.objects.exclude(hidden_thinking=None).count())
    assert kept == 0
