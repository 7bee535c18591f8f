"""Several answers at once and one made of them: what the upstream is asked, what the caller and the
ledger get.
"""

import asyncio

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.gateway import build_raw_request
from proxysite.testing.upstream import (
    DONE,
    Gate,
    answer_honestly,
    keep_silent,
    send_refusal,
    send_reply,
    send_stream,
)

ASKED = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Why is the sky blue?"},
]


@pytest.fixture
async def many(gateway):
    """Makes the model `mpr-m` with these options."""

    async def make(**options):
        await run_in_thread(rows.create_virtual_model, "mpr-m", "m", "multipath", **options)
        await gateway.reload_rows()

    return make


def said(text, prompt=10, completion=5):
    return send_reply(speech.chat_completion(text, usage=speech.token_usage(prompt, completion)))


def prompts(upstream):
    return [request.json["messages"] for request in upstream.requests]


async def test_a_plan_three_candidates_and_a_synthesis_are_one_answer(
    gateway, upstream, alice, many
):
    await many()
    upstream.queue_scripts(
        said("THE PLAN"), said("draft A"), said("draft B"), said("draft C"), said("Scattering.")
    )
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=ASKED)
    assert (answer.status, answer.text, answer.json["model"]) == (200, "Scattering.", "mpr-m")
    assert answer.json["usage"]["total_tokens"] == 75
    assert "candidates" not in answer.json
    plan, *drafts, last = prompts(upstream)
    assert plan[:2] == last[:2] == ASKED
    assert all("THE PLAN" in one[0]["content"] and one[1:] == ASKED[1:] for one in drafts)
    assert all(one[0]["content"].endswith("Be brief.") for one in drafts)
    assert len({one[0]["content"] for one in drafts}) == 3
    assert all(f"draft {name}" in last[-1]["content"] for name in "ABC")
    row = await rows.read_only_usage_record()
    assert (row.status, row.prompt_tokens, row.completion_tokens, row.estimated) == (
        "complete",
        50,
        25,
        False,
    )
    labels = [one["reason"] for one in row.attempts]
    assert (labels[0], sorted(labels[1:4]), labels[4]) == (
        "framework",
        ["candidate 1", "candidate 2", "candidate 3"],
        "synthesis",
    )


async def test_candidates_are_asked_at_the_same_time_and_the_synthesis_streams(
    gateway, upstream, alice, many
):
    await many(candidates=4)
    gates, talks = [Gate() for _ in range(4)], Gate()

    def waiting(gate):
        async def script(exchange):
            await gate.wait_until_open()
            await said("a draft")(exchange)

        return script

    upstream.queue_scripts(
        said("plan"),
        *map(waiting, gates),
        send_stream(
            *speech.content_chunks("Blue", " light"),
            talks,
            *speech.streamed_completion(".")[1:],
            DONE,
        ),
    )

    async def all_there():
        await asyncio.gather(
            *(gate.wait_until_reached() for gate in gates)
        )  # all four, and none has been answered
        for gate in gates:
            gate.open()

    opening = asyncio.create_task(all_there())
    async with gateway.open_stream(
        alice.key, model="mpr-m", stream_options={"include_usage": True}
    ) as reading:
        await opening
        await reading.read_until('" light"')
        talks.open()
        answer = await reading.read_rest()
    assert answer.is_complete
    assert answer.text == "Blue light"
    assert answer.events[-1]["usage"]["total_tokens"] == 5 * 15 + 12


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("synthesis", ["majority", "weighted", "hierarchical", "consensus"])
async def test_a_synthesis_by_rules_asks_no_more(
    gateway, upstream, alice, many, synthesis, streams
):
    await many(synthesis=synthesis, candidates=2, framework=False, show_candidates=True)
    text = "Air scatters blue light.\n\n```\nx\n\ny\n```"
    upstream.queue_scripts(said(text), said(text))
    body = {"stream": True, "stream_options": {"include_usage": True}} if streams else {}
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=ASKED, **body)
    assert answer.status == 200
    assert "Air scatters blue light." in answer.text
    assert len(upstream.requests) == 2
    if streams:
        assert answer.is_complete
        assert answer.finish_reasons == ["stop"]
        assert next(event["candidates"] for event in answer.events if "candidates" in event) == [
            text,
            text,
        ]
    else:
        assert answer.json["candidates"] == [text, text]
    usage = answer.events[-1]["usage"] if streams else answer.json["usage"]
    assert usage["total_tokens"] == 30
    assert (await rows.read_only_usage_record()).prompt_tokens == 20


async def test_the_model_merges_where_the_caller_wants_tools_or_a_format(
    gateway, upstream, alice, many
):
    await many(synthesis="consensus", candidates=2, framework=False)
    tools = [{"type": "function", "function": {"name": "f"}}]
    await gateway.request_chat(alice.key, model="mpr-m", tools=tools)
    assert ["tools" in request.json for request in upstream.requests] == [False, False, True]


async def test_the_model_merges_where_the_caller_wants_several_choices(
    gateway, upstream, alice, many
):
    await many(synthesis="consensus", candidates=2, framework=False)
    upstream.set_default_script(answer_honestly("A draft.", n=2))
    upstream.queue_scripts(said("A draft."), said("A draft."))
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=ASKED, n=2)
    assert [choice["index"] for choice in answer.json["choices"]] == [0, 1]
    assert [request.json.get("n") for request in upstream.requests] == [None, None, 2]
    await gateway.request_chat(alice.key, model="mpr-m", messages=ASKED, n=1)
    assert len(upstream.requests) == 5


async def test_one_candidate_is_the_question_asked_once(gateway, upstream, alice, many):
    await many(candidates=1)
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=ASKED, temperature=0.5)
    assert answer.text == "Hello there!"
    assert prompts(upstream) == [ASKED]
    assert upstream.last_exchange.request.json["temperature"] == 0.5


async def test_the_caller_may_choose_the_number_of_candidates(gateway, upstream, alice, many):
    await many(framework=False)
    await gateway.request_chat(alice.key, model="mpr-m", mpr_candidates=2)
    assert len(upstream.requests) == 3
    await gateway.request_chat(alice.key, model="mpr-m", mpr_candidates=1)
    assert len(upstream.requests) == 4
    await gateway.request_chat(alice.key, model="m", mpr_candidates=5)
    assert len(upstream.requests) == 5
    assert not any("mpr_candidates" in request.json for request in upstream.requests)
    for wrong in (0, 9, "3", 2.5):
        answer = await gateway.request_chat(alice.key, model="mpr-m", mpr_candidates=wrong)
        assert (answer.status, answer.error["param"]) == (400, "mpr_candidates")


async def test_a_candidate_that_fails_is_left_out(gateway, upstream, alice, many):
    await many(framework=False)
    upstream.queue_scripts(
        send_refusal(400, "No."), said("draft B"), said("draft C"), said("Merged.")
    )
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=ASKED)
    assert (answer.status, answer.text) == (200, "Merged.")
    assert "2 independent drafts" in prompts(upstream)[-1][-1]["content"]
    row = await rows.read_only_usage_record()
    assert row.status == "complete"
    assert sorted(one["outcome"] for one in row.attempts) == [
        "Rejected",
        "answered",
        "answered",
        "answered",
    ]
    assert row.prompt_tokens == 30


async def test_a_candidate_that_never_comes_is_left_out(gateway, upstream, alice, many, provider):
    provider.total_seconds = 1.4
    await run_in_thread(provider.save)
    await many(framework=False)
    upstream.queue_scripts(keep_silent, said("draft B"), said("draft C"), said("Merged."))
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=ASKED)
    assert (answer.status, answer.text) == (200, "Merged.")
    assert "2 independent drafts" in prompts(upstream)[-1][-1]["content"]


async def test_the_thinking_of_candidates_is_no_part_of_them(gateway, upstream, alice, many):
    await many(framework=False, candidates=2)
    thoughtful = send_reply(speech.chat_completion("draft", message={"reasoning_content": "HMM"}))
    upstream.queue_scripts(thoughtful, thoughtful, thoughtful)
    answer = await gateway.request_chat(alice.key, model="mpr-m", reasoning_format="raw")
    assert "HMM" in answer.text
    assert "HMM" not in prompts(upstream)[-1][-1]["content"]


async def test_the_only_candidate_left_is_the_answer(gateway, upstream, alice, many):
    await many(framework=False, candidates=2)
    upstream.queue_scripts(send_refusal(400, "No."), said("draft B"))
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=ASKED)
    assert (answer.status, answer.text) == (200, "draft B")
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_when_all_fail_the_caller_learns_why(gateway, upstream, alice, many, streams):
    await many()
    upstream.set_default_script(send_refusal(400, "Too long.", "context_length_exceeded"))
    answer = await gateway.request_chat(alice.key, model="mpr-m", stream=streams)
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")
    assert len(upstream.requests) == 1  # no candidate is asked what the plan was refused for
    upstream.queue_scripts(said("plan"))
    answer = await gateway.request_chat(alice.key, model="mpr-m", stream=streams)
    assert answer.status == 400
    assert {row.status for row in await rows.read_usage_records()} == {"error"}


async def test_without_a_plan_the_answer_comes_all_the_same(gateway, upstream, alice, many):
    await many(candidates=2, synthesis="consensus")
    upstream.queue_scripts(send_refusal(500), said("draft A"), said("draft A"))
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=ASKED)
    assert (answer.status, answer.text) == (200, "draft A")
    assert [len(prompt) for prompt in prompts(upstream)] == [3, 2, 2]
    assert (await rows.read_only_usage_record()).status == "complete"


async def test_all_calls_together_are_bounded(gateway, upstream, alice, many):
    await many(candidates=8, max_calls=4)
    await gateway.request_chat(alice.key, model="mpr-m")
    assert len(upstream.requests) == 4
    await gateway.request_chat(alice.key, model="mpr-m", mpr_candidates=2)
    assert len(upstream.requests) == 8


@pytest.mark.parametrize("refused", [1, 3, 7, 9, 12], ids="{} refused".format)
async def test_also_those_asked_again_are_calls_and_each_candidate_has_one(
    gateway, upstream, alice, many, provider, refused
):
    await run_in_thread(
        rows.create_tokens, provider, *[f"sk-more-{number}" for number in range(20)]
    )
    await many(framework=False, candidates=8, max_calls=10)
    upstream.set_default_script(said("A draft."))
    upstream.queue_scripts(*[send_refusal(429)] * refused)
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=ASKED)
    assert len(upstream.requests) <= 10
    drafts = {prompt[0]["content"] for prompt in prompts(upstream) if prompt[-1] == ASKED[-1]}
    assert len(drafts) == 8
    assert len((await rows.read_only_usage_record()).attempts) == len(upstream.requests)
    assert (answer.status == 200) == (refused < 9)  # else no candidate came
    assert len(upstream.requests) >= 9


async def test_the_final_answer_has_a_call_of_its_own_however_often_others_were_asked_again(
    gateway, upstream, alice, many, provider
):
    await run_in_thread(
        rows.create_tokens, provider, *[f"sk-more-{number}" for number in range(20)]
    )
    await many(candidates=1, framework=True, max_calls=3)
    upstream.queue_scripts(send_refusal(500), send_refusal(500), said("An answer."))
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=ASKED)
    assert (answer.status, answer.text) == (200, "An answer.")
    assert len(upstream.requests) == 3


async def test_each_candidate_starts_from_another_passage_of_a_long_text(
    gateway, upstream, alice, many
):
    await many(framework=False, sampling="diversity", synthesis="consensus")
    parts = [f"Part {name} {' '.join(f'{name}{at}' for at in range(400))}." for name in "abc"]
    long = [{"role": "user", "content": "\n\n".join(parts) + "\n\nWhat is it about?"}]
    await gateway.request_chat(alice.key, model="mpr-m", messages=long)
    starts = [prompt[0]["content"] for prompt in prompts(upstream)]
    assert all(prompt[1:] == long for prompt in prompts(upstream))
    assert len(set(starts)) == 3
    assert all("passage" in start for start in starts)


async def test_a_caller_who_leaves_stops_every_candidate(gateway, upstream, alice, many):
    await many(framework=False)
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


@pytest.fixture
def traces(gateway, monkeypatch):
    """The traces of all requests, as the ledger had them."""
    found, recorded = [], gateway.inner.ledger.record_batches

    def noted(trace, batches):
        found.append(trace)
        return recorded(trace, batches)

    monkeypatch.setattr(gateway.inner.ledger, "record_batches", noted)
    return found


@pytest.mark.parametrize("synthesis", ["model", "consensus"])
async def test_plan_and_candidates_are_noted_even_where_they_are_not_shown(
    gateway, upstream, alice, many, traces, synthesis
):
    await many(candidates=2, synthesis=synthesis)
    upstream.queue_scripts(said("plan"), said("draft A"), said("draft B"), said("Both."))
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=ASKED)
    assert "candidates" not in answer.json
    (trace,) = traces
    noted = trace.strategy_result.thinking | {
        "candidates": sorted(trace.strategy_result.thinking["candidates"])
    }
    assert noted == {
        "framework": "plan",
        "candidates": ["draft A", "draft B"],
        "synthesis": synthesis,
    }


async def test_one_path_has_no_candidates_to_note(gateway, upstream, alice, many, traces):
    await many(candidates=1, framework=True)
    upstream.queue_scripts(said("plan"), said("An answer."))
    await gateway.request_chat(alice.key, model="mpr-m", messages=ASKED)
    assert traces[0].strategy_result.thinking == {
        "framework": "plan",
        "candidates": [],
        "synthesis": "",
    }
