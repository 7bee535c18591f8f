"""A call that the caller demands is asked for once more."""

import asyncio

import pytest

from api.tests.endpoints.tool_calls.calls_in_words import CALL, TOOLS, ask_client, send_text
from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.upstream import Gate, send_refusal, send_reply, send_stream

NAMED_TOOL = {"type": "function", "function": {"name": "weather"}}


@WHOLE_AND_STREAMED
@pytest.mark.parametrize("wish", ["required", NAMED_TOOL], ids=["required", "named"])
async def test_a_demand_that_is_met_is_one_question(client, upstream, streams, wish):
    upstream.queue_scripts(send_text(CALL, streams))
    choice = await ask_client(client, streams, tool_choice=wish)
    assert choice.message.tool_calls[0].function.name == "weather"
    assert choice.finish_reason == "tool_calls"
    assert "You must call" in upstream.last_exchange.request.json["messages"][0]["content"]
    assert len(upstream.requests) == 1
    assert len((await rows.read_only_usage_record()).attempts) == 1


@WHOLE_AND_STREAMED
@pytest.mark.parametrize("wish", ["required", NAMED_TOOL], ids=["required", "named"])
async def test_a_demand_that_is_not_met_is_asked_once_more(client, upstream, streams, wish):
    upstream.queue_scripts(
        send_text("It rains, I guess.", streams, usage=speech.token_usage(100, 10)),
        send_text(CALL, streams, usage=speech.token_usage(130, 7)),
    )
    choice = await ask_client(client, streams, tool_choice=wish)
    assert choice.message.tool_calls[0].function.name == "weather"
    assert (choice.message.content, choice.finish_reason) == (None, "tool_calls")
    first, second = (asked.json for asked in upstream.requests)
    *same, said, correction = second["messages"]
    assert same == first["messages"]
    assert said == {"role": "assistant", "content": "It rains, I guess."}
    assert correction["role"] == "user"
    assert "must be called now" in correction["content"]
    assert {**first, "messages": 0} == {**second, "messages": 0}
    row = await rows.read_only_usage_record()
    assert [attempt["outcome"] for attempt in row.attempts] == ["answered", "answered"]
    assert (row.prompt_tokens, row.completion_tokens, row.status, row.estimated) == (
        230,
        17,
        "complete",
        False,
    )


@WHOLE_AND_STREAMED
async def test_a_demand_that_is_never_met_ends_with_the_honest_text(client, upstream, streams):
    upstream.queue_scripts(send_text("No.", streams), send_text("I will not.", streams))
    choice = await ask_client(client, streams, tool_choice="required")
    assert (choice.message.content, choice.message.tool_calls, choice.finish_reason) == (
        "I will not.",
        None,
        "stop",
    )
    assert len(upstream.requests) == 2


async def test_a_call_of_another_tool_than_the_named_one_is_none(client, upstream):
    upstream.queue_scripts(
        send_text('<tool_call>{"name": "clock", "arguments": {}}</tool_call>', False),
        send_text(CALL, False),
    )
    choice = await ask_client(client, False, tool_choice=NAMED_TOOL)
    assert [call.function.name for call in choice.message.tool_calls] == ["weather"]


async def test_a_stream_that_is_asked_for_again_is_one_answer_and_keeps_its_thinking(
    gateway, upstream, alice
):
    upstream.queue_scripts(
        send_text("No.", True, reasoning="Why?"), send_text(CALL, True, reasoning="Well.")
    )
    include = {"include_usage": True}
    answer = await gateway.request_chat(
        alice.key, tools=TOOLS, tool_choice="required", stream=True, stream_options=include
    )
    deltas = [event["choices"][0]["delta"] for event in answer.events if event["choices"]]
    assert [delta["role"] for delta in deltas if "role" in delta] == ["assistant"]
    assert [delta["reasoning_content"] for delta in deltas if delta.get("reasoning_content")] == [
        "Why?",
        "Well.",
    ]
    assert answer.text == ""
    assert answer.finish_reasons == ["tool_calls"]
    assert len({event["id"] for event in answer.events}) == 1
    assert answer.events[-1]["usage"]["total_tokens"] == 24
    assert answer.is_complete


async def test_a_whole_answer_that_is_asked_for_again_keeps_its_thinking(gateway, upstream, alice):
    upstream.queue_scripts(
        send_text("No.", False, reasoning="Why? "), send_text(CALL, False, reasoning="Well.")
    )
    answer = await gateway.request_chat(alice.key, tools=TOOLS, tool_choice="required")
    assert answer.json["choices"][0]["message"]["reasoning_content"] == "Why? Well."
    assert answer.json["usage"]["total_tokens"] == 24


@WHOLE_AND_STREAMED
async def test_thinking_in_the_text_stays_and_is_not_told_to_the_model(
    gateway, upstream, alice, provider, streams
):
    await run_in_thread(
        lambda: rows.create_model(provider, "thinker", thinking_format="tagged", thinking="inline")
    )
    await gateway.reload_rows()
    upstream.queue_scripts(
        send_text("<think>Why?</think>No.", streams),
        send_text(f"<think>Well.</think>{CALL}", streams),
    )
    answer = await gateway.request_chat(
        alice.key, model="thinker", tools=TOOLS, tool_choice="required", stream=streams
    )
    assert "".join(answer.text.split()) == "<think>Why?</think><think>Well.</think>"
    assert b"tool_calls" in answer.body
    assert upstream.last_exchange.request.json["messages"][-2]["content"].strip() == "No."


@WHOLE_AND_STREAMED
async def test_an_answer_that_says_nothing_is_asked_for_again(client, upstream, streams):
    upstream.queue_scripts(send_text("", streams), send_text(CALL, streams))
    choice = await ask_client(client, streams, tool_choice="required")
    assert choice.finish_reason == "tool_calls"
    assert [message["role"] for message in upstream.last_exchange.request.json["messages"]] == [
        "system",
        "user",
        "user",
    ]


async def test_json_for_a_stream_is_asked_for_again_too(gateway, upstream, alice):
    upstream.queue_scripts(send_text("No.", False, reasoning="Why?"), send_text(CALL, False))
    answer = await gateway.request_chat(alice.key, tools=TOOLS, tool_choice="required", stream=True)
    assert (answer.text, answer.finish_reasons, answer.is_complete) == ("", ["tool_calls"], True)
    assert b"Why?" in answer.body


@WHOLE_AND_STREAMED
async def test_when_the_second_question_fails_the_first_answer_is_given(client, upstream, streams):
    upstream.queue_scripts(send_text("It rains, I guess.", streams), send_refusal(400, "Too long."))
    choice = await ask_client(client, streams, tool_choice="required")
    assert (choice.message.content, choice.finish_reason) == ("It rains, I guess.", "stop")
    row = await rows.read_only_usage_record()
    assert [attempt["outcome"] for attempt in row.attempts] == ["answered", "Rejected"]
    assert (row.status, row.prompt_tokens) == ("complete", 9)


async def test_usage_that_one_of_two_answers_does_not_give_is_counted(gateway, upstream, alice):
    words = "The quick brown fox jumps over the lazy dog."
    upstream.queue_scripts(
        send_reply(speech.chat_completion(words, usage=None)), send_text("one two three", False)
    )
    await gateway.request_chat(alice.key, tools=TOOLS, tool_choice="required")
    row = await rows.read_only_usage_record()
    assert row.estimated
    assert 12 <= row.completion_tokens <= 13  # 10 and 3, less what joining them saves


async def test_a_caller_who_leaves_during_the_second_question_pays_for_both(
    gateway, upstream, alice, provider
):
    gate = Gate()
    upstream.queue_scripts(
        send_reply(speech.chat_completion("No.", usage=speech.token_usage(50, 200))),
        send_stream(gate),
    )
    body = {"tools": TOOLS, "tool_choice": "required"}
    asking = asyncio.create_task(gateway.request_chat(alice.key, **body))
    await upstream.wait_for_request(2)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await wait_until_true(rows.read_usage_records)
    row = await rows.read_only_usage_record()
    assert (row.status, row.completion_tokens, row.estimated) == ("abandoned", 200, True)
    assert row.prompt_tokens > 50
