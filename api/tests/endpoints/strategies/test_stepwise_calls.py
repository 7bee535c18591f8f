"""How many calls thinking in steps makes, how long they take, and what they cost."""

import json

import pytest

from api.tests.endpoints.chat_messages import list_prompts
from api.tests.endpoints.strategies.stepwise_answers import send_step, send_three_steps
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.upstream import Gate, keep_silent, send_refusal, send_reply


async def test_a_model_that_is_ready_too_soon_is_told_to_think_on(
    gateway, upstream, alice, create_stepwise_model
):
    await create_stepwise_model(min_steps=2)
    upstream.queue_scripts(
        send_step("One", "Done.", "final_answer"), send_step("Two", "Really.", "final_answer")
    )
    answer = await gateway.request_chat(alice.key, model="o1-m")
    assert len(answer.json["steps"]) == 2
    assert "at least 2" in list_prompts(upstream)[1][-1]["content"]


async def test_a_model_that_never_ends_is_asked_for_its_answer_after_the_last_step(
    gateway, upstream, alice, create_stepwise_model
):
    await create_stepwise_model(max_steps=4)
    upstream.queue_scripts(*[send_step(f"S{at}") for at in range(4)])
    answer = await gateway.request_chat(alice.key, model="o1-m")
    assert len(answer.json["steps"]) == 4
    assert answer.text == "Hello there!"
    assert len(upstream.requests) == 5


async def test_all_calls_together_are_bounded(gateway, upstream, alice, create_stepwise_model):
    await create_stepwise_model(max_calls=4)
    upstream.set_default_script(send_reply(speech.chat_completion("no step")))
    answer = await gateway.request_chat(alice.key, model="o1-m")
    assert answer.status == 200
    assert len(upstream.requests) == 4
    upstream.set_default_script(send_step())
    await gateway.request_chat(alice.key, model="o1-m")
    assert len(upstream.requests) == 8


async def test_calls_that_failover_makes_again_count_too(
    gateway, upstream, alice, create_stepwise_model, three
):
    await create_stepwise_model(max_calls=5)
    upstream.queue_scripts(send_step(), *[send_refusal(500)] * 3)
    answer = await gateway.request_chat(alice.key, model="o1-m")
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert len(upstream.requests) == 5
    outcomes = [attempt["outcome"] for attempt in (await rows.read_only_usage_record()).attempts]
    assert (outcomes.count("ServerFailed"), outcomes.count("answered")) == (3, 2)


@pytest.mark.parametrize("most", [3, 4, 5, 6])
async def test_failover_makes_no_more_calls_than_there_may_be_and_the_answer_has_one(
    gateway, upstream, alice, create_stepwise_model, three, most
):
    await create_stepwise_model(max_calls=most)
    upstream.queue_scripts(send_step(), *[send_refusal(500)] * (most - 2))
    answer = await gateway.request_chat(alice.key, model="o1-m")
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert len(upstream.requests) == most


async def test_half_of_the_time_is_left_to_the_answer(
    gateway, upstream, alice, create_stepwise_model, provider
):
    provider.total_seconds = 1.4
    await run_in_thread(provider.save)
    await create_stepwise_model()
    upstream.queue_scripts(send_step("One", "First."), keep_silent)
    answer = await gateway.request_chat(alice.key, model="o1-m")
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert [one["title"] for one in answer.json["steps"]] == ["One", "Error"]
    await upstream.exchanges[1].wait_until_left()
    assert len(upstream.requests) == 3


async def test_a_caller_who_leaves_stops_everything_and_pays_for_what_was_thought(
    gateway, upstream, alice, create_stepwise_model
):
    await create_stepwise_model()
    one, _, _ = send_three_steps()
    gate = Gate()

    async def waiting(exchange):
        await gate.wait_until_open()

    upstream.queue_scripts(one, waiting)
    async with gateway.open_stream(alice.key, model="o1-m") as reading:
        await reading.read_until("Step 1: One")
        await gate.wait_until_reached()
        await reading.leave_early()
    await upstream.last_exchange.wait_until_left()
    gate.open()
    (row,) = await wait_until_true(rows.read_usage_records)
    assert row.status == "abandoned"
    assert row.prompt_tokens >= 10
    assert len(upstream.requests) == 2


async def test_usage_that_an_upstream_does_not_give_is_estimated(
    gateway, upstream, alice, create_stepwise_model
):
    await create_stepwise_model()
    bare = [
        send_reply(
            speech.chat_completion(json.dumps({"title": "T", "content": "c " * 40}), usage=None)
        )
        for _ in range(3)
    ]
    await_steps = [*bare, send_step("T", "end", "final_answer")]
    upstream.queue_scripts(
        *await_steps, send_reply(speech.chat_completion("42", usage=speech.token_usage(20, 1)))
    )
    answer = await gateway.request_chat(alice.key, model="o1-m")
    row = await rows.read_only_usage_record()
    assert row.estimated
    assert row.completion_tokens > 3 * 20
    assert answer.json["usage"]["completion_tokens"] == row.completion_tokens
    assert "estimated" not in answer.json["usage"]
