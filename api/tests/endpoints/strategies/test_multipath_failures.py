"""Candidates that fail, plans that do not come, and the bound of all calls together."""

import asyncio

import pytest

from api.tests.endpoints.chat_messages import list_prompts
from api.tests.endpoints.strategies.multipath_answers import QUESTION, send_answer
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.gateway import build_raw_request
from proxysite.testing.upstream import Gate, keep_silent, send_refusal, send_reply


async def test_a_candidate_that_fails_is_left_out(gateway, upstream, alice, create_multipath_model):
    await create_multipath_model(framework=False)
    upstream.queue_scripts(
        send_refusal(400, "No."),
        send_answer("draft B"),
        send_answer("draft C"),
        send_answer("Merged."),
    )
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=QUESTION)
    assert (answer.status, answer.text) == (200, "Merged.")
    assert "2 independent drafts" in list_prompts(upstream)[-1][-1]["content"]
    row = await rows.read_only_usage_record()
    assert row.status == "complete"
    assert sorted(one["outcome"] for one in row.attempts) == [
        "Rejected",
        "answered",
        "answered",
        "answered",
    ]
    assert row.prompt_tokens == 30


async def test_a_candidate_that_never_comes_is_left_out(
    gateway, upstream, alice, create_multipath_model, provider
):
    provider.total_seconds = 1.4
    await run_in_thread(provider.save)
    await create_multipath_model(framework=False)
    upstream.queue_scripts(
        keep_silent, send_answer("draft B"), send_answer("draft C"), send_answer("Merged.")
    )
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=QUESTION)
    assert (answer.status, answer.text) == (200, "Merged.")
    assert "2 independent drafts" in list_prompts(upstream)[-1][-1]["content"]


async def test_the_thinking_of_candidates_is_no_part_of_them(
    gateway, upstream, alice, create_multipath_model
):
    await create_multipath_model(framework=False, candidates=2)
    thoughtful = send_reply(speech.chat_completion("draft", message={"reasoning_content": "HMM"}))
    upstream.queue_scripts(thoughtful, thoughtful, thoughtful)
    answer = await gateway.request_chat(alice.key, model="mpr-m", reasoning_format="raw")
    assert "HMM" in answer.text
    assert "HMM" not in list_prompts(upstream)[-1][-1]["content"]


async def test_the_only_candidate_left_is_the_answer(
    gateway, upstream, alice, create_multipath_model
):
    await create_multipath_model(framework=False, candidates=2)
    upstream.queue_scripts(send_refusal(400, "No."), send_answer("draft B"))
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=QUESTION)
    assert (answer.status, answer.text) == (200, "draft B")
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_when_all_fail_the_caller_learns_why(
    gateway, upstream, alice, create_multipath_model, streams
):
    await create_multipath_model()
    upstream.set_default_script(send_refusal(400, "Too long.", "context_length_exceeded"))
    answer = await gateway.request_chat(alice.key, model="mpr-m", stream=streams)
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert len(upstream.requests) == 1  # no candidate is asked what the plan was refused for
    upstream.queue_scripts(send_answer("plan"))
    answer = await gateway.request_chat(alice.key, model="mpr-m", stream=streams)
    assert answer.status == 400
    assert {row.status for row in await rows.read_usage_records()} == {"error"}


async def test_without_a_plan_the_answer_comes_all_the_same(
    gateway, upstream, alice, create_multipath_model
):
    await create_multipath_model(candidates=2, synthesis="consensus")
    upstream.queue_scripts(send_refusal(500), send_answer("draft A"), send_answer("draft A"))
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=QUESTION)
    assert (answer.status, answer.text) == (200, "draft A")
    assert [len(prompt) for prompt in list_prompts(upstream)] == [3, 2, 2]
    assert (await rows.read_only_usage_record()).status == "complete"


async def test_all_calls_together_are_bounded(gateway, upstream, alice, create_multipath_model):
    await create_multipath_model(candidates=8, max_calls=4)
    await gateway.request_chat(alice.key, model="mpr-m")
    assert len(upstream.requests) == 4
    await gateway.request_chat(alice.key, model="mpr-m", mpr_candidates=2)
    assert len(upstream.requests) == 8


@pytest.mark.parametrize("refused", [1, 3, 7, 9, 12], ids="{} refused".format)
async def test_also_those_asked_again_are_calls_and_each_candidate_has_one(
    gateway, upstream, alice, create_multipath_model, provider, refused
):
    await run_in_thread(
        rows.create_tokens, provider, *[f"sk-more-{number}" for number in range(20)]
    )
    await create_multipath_model(framework=False, candidates=8, max_calls=10)
    upstream.set_default_script(send_answer("A draft."))
    upstream.queue_scripts(*[send_refusal(429)] * refused)
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=QUESTION)
    assert len(upstream.requests) <= 10
    drafts = {
        prompt[0]["content"] for prompt in list_prompts(upstream) if prompt[-1] == QUESTION[-1]
    }
    assert len(drafts) == 8
    assert len((await rows.read_only_usage_record()).attempts) == len(upstream.requests)
    assert (answer.status == 200) == (refused < 9)  # else no candidate came
    assert len(upstream.requests) >= 9


async def test_the_final_answer_has_a_call_of_its_own_however_often_others_were_asked_again(
    gateway, upstream, alice, create_multipath_model, provider
):
    await run_in_thread(
        rows.create_tokens, provider, *[f"sk-more-{number}" for number in range(20)]
    )
    await create_multipath_model(candidates=1, framework=True, max_calls=3)
    upstream.queue_scripts(send_refusal(500), send_refusal(500), send_answer("An answer."))
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=QUESTION)
    assert (answer.status, answer.text) == (200, "An answer.")
    assert len(upstream.requests) == 3


async def test_a_caller_who_leaves_stops_every_candidate(
    gateway, upstream, alice, create_multipath_model
):
    await create_multipath_model(framework=False)
    gates = [Gate() for _ in range(3)]

    def waiting(gate):
        async def script(exchange):
            await gate.wait_until_open()

        return script

    upstream.queue_scripts(*map(waiting, gates))
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key, model="mpr-m", stream=True))
        await asyncio.gather(*(gate.wait_until_reached() for gate in gates))
        wire.close_connection()
        for exchange in upstream.exchanges:
            await exchange.wait_until_left()
    for gate in gates:
        gate.open()
    (row,) = await wait_until_true(rows.read_usage_records)
    assert row.status == "abandoned"
    assert [one["outcome"] for one in row.attempts] == ["abandoned"] * 3
