"""Steps that are none, cut or refused, and upstreams that fail."""

import json

import pytest

from api.tests.endpoints.chat_messages import list_prompts
from api.tests.endpoints.strategies.stepwise_answers import send_step, send_three_steps
from proxysite.testing import rows, speech
from proxysite.testing.upstream import CUT, send_refusal, send_reply, send_stream


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_what_is_no_step_is_asked_for_again_and_then_becomes_an_error_step(
    gateway, upstream, alice, create_stepwise_model, streams
):
    await create_stepwise_model()
    nothing = send_reply(speech.chat_completion("…"))
    upstream.queue_scripts(nothing, send_step("One", "Mended."), nothing, nothing, nothing)
    answer = await gateway.request_chat(alice.key, model="o1-m", stream=streams)
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert [len(prompt) for prompt in list_prompts(upstream)][:2] == [2, 4]
    whole = next(event for event in answer.events if "steps" in event) if streams else answer.json
    assert [one["title"] for one in whole["steps"]] == ["One", "Error"]
    assert "Step 2: Error" in answer.body.decode()
    assert len(upstream.requests) == 6
    assert "Error" not in json.dumps(list_prompts(upstream)[-1])
    assert (await rows.read_only_usage_record()).status == "complete"


async def test_a_step_that_was_cut_gets_more_room(gateway, upstream, alice, create_stepwise_model):
    await create_stepwise_model(step_tokens=100)
    upstream.queue_scripts(
        send_step(finish="length"),
        send_reply(speech.chat_completion('{"title": "x', finish="length")),
        *send_three_steps()[1:],
    )
    await gateway.request_chat(alice.key, model="o1-m")
    assert [request.json.get("max_tokens") for request in upstream.requests] == [
        100,
        100,
        200,
        100,
        None,
    ]


async def test_an_upstream_that_refuses_json_mode_is_asked_without_it_from_then_on(
    gateway, upstream, alice, create_stepwise_model
):
    await create_stepwise_model()
    upstream.queue_scripts(
        send_refusal(400, "response_format is not supported."), *send_three_steps()
    )
    answer = await gateway.request_chat(alice.key, model="o1-m")
    assert len(answer.json["steps"]) == 3
    assert ["response_format" in request.json for request in upstream.requests] == [
        True,
        *[False] * 4,
    ]
    row = await rows.read_only_usage_record()
    assert row.status == "complete"
    assert row.attempts[0]["outcome"] == "Rejected"


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_errors_before_anything_was_thought_keep_their_status(
    gateway, upstream, alice, create_stepwise_model, streams
):
    await create_stepwise_model()
    upstream.set_default_script(
        send_refusal(400, "The context is too long.", "context_length_exceeded")
    )
    answer = await gateway.request_chat(alice.key, model="o1-m", stream=streams)
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert len(upstream.requests) == 2
    upstream.set_default_script(send_refusal(500))
    answer = await gateway.request_chat(alice.key, model="o1-m", stream=streams)
    assert answer.status in (502, 503)
    assert {row.status for row in await rows.read_usage_records()} == {"error"}


async def test_a_final_answer_that_breaks_off_is_no_whole_one(
    gateway, upstream, alice, create_stepwise_model
):
    await create_stepwise_model()
    upstream.queue_scripts(*send_three_steps(), send_stream(*speech.content_chunks("It is"), CUT))
    answer = await gateway.request_chat(alice.key, model="o1-m", stream=True)
    assert answer.stream_error["code"] == "upstream_disconnected"
    row = await rows.read_only_usage_record()
    assert row.status == "truncated"
    assert row.prompt_tokens > 30
    assert row.estimated


async def test_a_step_nested_beyond_all_sense_is_no_step(
    gateway, upstream, alice, create_stepwise_model
):
    await create_stepwise_model(min_steps=1)
    deep = '{"content":' + "[" * 960 + "1" + "]" * 960 + ',"next_action":"final_answer"}'
    upstream.queue_scripts(
        send_reply(speech.chat_completion(deep)), send_step("One", "Mended.", "final_answer")
    )
    answer = await gateway.request_chat(alice.key, model="o1-m")
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert [one["title"] for one in answer.json["steps"]] == ["One"]
