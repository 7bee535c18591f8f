"""A final answer that has to call a tool."""

import pytest

from api.tests.endpoints.strategies.stepwise_answers import send_three_steps
from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.upstream import DONE, send_reply, send_stream

CLOCK = {"type": "function", "function": {"name": "clock", "description": "Tells the time."}}
CALL = '<tool_call>{"name": "clock", "arguments": {}}</tool_call>'
DEMAND = {"tools": [CLOCK], "tool_choice": "required"}


@pytest.fixture
async def without_native_tools(provider):
    """The provider's models have to be told in words how to call tools."""
    provider.native_tools = False
    await run_in_thread(provider.save)


def send_final_answer(text, streams, **usage):
    """A final answer, whole or streamed."""
    if not streams:
        return send_reply(speech.chat_completion(text, usage=speech.token_usage(20, 7), **usage))
    return send_stream(
        *speech.streamed_completion(text)[:-1], speech.usage_chunk(speech.token_usage(20, 7)), DONE
    )


@WHOLE_AND_STREAMED
async def test_a_tool_that_the_final_answer_had_to_call_is_asked_for_once_more(
    gateway, upstream, alice, create_stepwise_model, without_native_tools, streams
):
    await create_stepwise_model()
    upstream.queue_scripts(
        *send_three_steps(),
        send_final_answer("It is late.", streams),
        send_final_answer(CALL, streams),
    )
    answer = await gateway.request_chat(alice.key, model="o1-m", stream=streams, **DEMAND)
    said = (
        [event["choices"][0] for event in answer.events if event["choices"]]
        if streams
        else answer.json["choices"]
    )
    calls = [
        call
        for one in said
        for call in one.get("delta", one.get("message")).get("tool_calls") or ()
    ]
    assert [call["function"]["name"] for call in calls] == ["clock"]
    assert said[-1]["finish_reason"] == "tool_calls"
    assert b"It is late." not in answer.body
    last, correction = upstream.last_exchange.request.json["messages"][-2:]
    assert last == {"role": "assistant", "content": "It is late."}
    assert "must be called now" in correction["content"]
    row = await rows.read_only_usage_record()
    assert (row.prompt_tokens, row.completion_tokens, row.estimated) == (70, 29, False)
    assert [one["reason"] for one in row.attempts][-2:] == ["final answer", "final answer"]
    steps = next(event for event in answer.events if "steps" in event) if streams else answer.json
    assert len(steps["steps"]) == 3


async def test_what_the_correction_cost_is_guessed_where_it_must_be(
    gateway, upstream, alice, create_stepwise_model, without_native_tools
):
    await create_stepwise_model()
    bare = [
        send_reply(speech.chat_completion(text, usage=None)) for text in ("It is late. " * 20, CALL)
    ]
    upstream.queue_scripts(*send_three_steps(), *bare)
    await gateway.request_chat(alice.key, model="o1-m", **DEMAND)
    row = await rows.read_only_usage_record()
    assert row.estimated
    assert row.completion_tokens > 15 + 60  # the words that nobody sees too


async def test_a_correction_counts_among_the_calls_that_are_bounded(
    gateway, upstream, alice, create_stepwise_model, without_native_tools
):
    await create_stepwise_model(max_calls=4)
    upstream.queue_scripts(
        *send_three_steps(), send_final_answer("It is late.", False), send_final_answer(CALL, False)
    )
    answer = await gateway.request_chat(alice.key, model="o1-m", **DEMAND)
    assert (answer.status, answer.text, len(upstream.requests)) == (200, "It is late.", 4)
