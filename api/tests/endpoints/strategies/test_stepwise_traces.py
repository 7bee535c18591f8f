"""What was thought is noted in the trace of the request."""

import pytest

from api.tests.endpoints.strategies.stepwise_answers import send_three_steps
from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED


@WHOLE_AND_STREAMED
async def test_what_was_thought_is_noted_even_where_the_caller_does_not_see_it(
    gateway, upstream, alice, create_stepwise_model, recorded_traces, streams
):
    await create_stepwise_model()
    upstream.queue_scripts(*send_three_steps())
    answer = await gateway.request_chat(
        alice.key, model="o1-m", stream=streams, reasoning_format="hidden"
    )
    assert b"First." not in answer.body
    (trace,) = recorded_traces
    assert [step["content"] for step in trace.strategy_result.thinking["steps"]] == [
        "First.",
        "Second.",
        'A "quoted"\nline.',
    ]
    assert trace.strategy_result.thinking["total_thinking_time"] == pytest.approx(
        sum(step["seconds"] for step in trace.strategy_result.thinking["steps"]), abs=0.01
    )


async def test_an_answer_without_steps_has_nothing_to_note(gateway, alice, recorded_traces):
    await gateway.request_chat(alice.key)
    assert recorded_traces[0].strategy_result.thinking == {}


@WHOLE_AND_STREAMED
@pytest.mark.parametrize("form", ["markdown", "details", "reasoning"])
async def test_steps_in_the_text_are_noted_as_what_is_not_the_answer(
    gateway, upstream, alice, create_stepwise_model, recorded_traces, form, streams
):
    await create_stepwise_model(format=form)
    upstream.queue_scripts(*send_three_steps())
    answer = await gateway.request_chat(alice.key, model="o1-m", stream=streams)
    assert answer.text.removeprefix(recorded_traces[0].strategy_result.preface) == "Hello there!"
    assert bool(recorded_traces[0].strategy_result.preface) is (form != "reasoning")
