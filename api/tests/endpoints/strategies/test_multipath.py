"""Several answers at once and one made of them: what the upstream is asked, what the caller and the
ledger get.
"""

import asyncio

import pytest

from api.tests.endpoints.chat_messages import list_prompts
from api.tests.endpoints.strategies.multipath_answers import QUESTION, send_answer
from proxysite.testing import rows, speech
from proxysite.testing.upstream import DONE, Gate, answer_honestly, send_stream


async def test_a_plan_three_candidates_and_a_synthesis_are_one_answer(
    gateway, upstream, alice, create_multipath_model
):
    await create_multipath_model()
    upstream.queue_scripts(
        send_answer("THE PLAN"),
        send_answer("draft A"),
        send_answer("draft B"),
        send_answer("draft C"),
        send_answer("Scattering."),
    )
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=QUESTION)
    assert (answer.status, answer.text, answer.json["model"]) == (200, "Scattering.", "mpr-m")
    assert answer.json["usage"]["total_tokens"] == 75
    assert "candidates" not in answer.json
    plan, *drafts, last = list_prompts(upstream)
    assert plan[:2] == last[:2] == QUESTION
    assert all("THE PLAN" in one[0]["content"] and one[1:] == QUESTION[1:] for one in drafts)
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
    gateway, upstream, alice, create_multipath_model
):
    await create_multipath_model(candidates=4)
    gates, talks = [Gate() for _ in range(4)], Gate()

    def waiting(gate):
        async def script(exchange):
            await gate.wait_until_open()
            await send_answer("a draft")(exchange)

        return script

    upstream.queue_scripts(
        send_answer("plan"),
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
    gateway, upstream, alice, create_multipath_model, synthesis, streams
):
    await create_multipath_model(
        synthesis=synthesis, candidates=2, framework=False, show_candidates=True
    )
    text = "Air scatters blue light.\n\n```\nx\n\ny\n```"
    upstream.queue_scripts(send_answer(text), send_answer(text))
    body = {"stream": True, "stream_options": {"include_usage": True}} if streams else {}
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=QUESTION, **body)
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
    gateway, upstream, alice, create_multipath_model
):
    await create_multipath_model(synthesis="consensus", candidates=2, framework=False)
    tools = [{"type": "function", "function": {"name": "f"}}]
    await gateway.request_chat(alice.key, model="mpr-m", tools=tools)
    assert ["tools" in request.json for request in upstream.requests] == [False, False, True]


async def test_the_model_merges_where_the_caller_wants_several_choices(
    gateway, upstream, alice, create_multipath_model
):
    await create_multipath_model(synthesis="consensus", candidates=2, framework=False)
    upstream.set_default_script(answer_honestly("A draft.", n=2))
    upstream.queue_scripts(send_answer("A draft."), send_answer("A draft."))
    answer = await gateway.request_chat(alice.key, model="mpr-m", messages=QUESTION, n=2)
    assert [choice["index"] for choice in answer.json["choices"]] == [0, 1]
    assert [request.json.get("n") for request in upstream.requests] == [None, None, 2]
    await gateway.request_chat(alice.key, model="mpr-m", messages=QUESTION, n=1)
    assert len(upstream.requests) == 5


async def test_one_candidate_is_the_question_asked_once(
    gateway, upstream, alice, create_multipath_model
):
    await create_multipath_model(candidates=1)
    answer = await gateway.request_chat(
        alice.key, model="mpr-m", messages=QUESTION, temperature=0.5
    )
    assert answer.text == "Hello there!"
    assert list_prompts(upstream) == [QUESTION]
    assert upstream.last_exchange.request.json["temperature"] == 0.5


async def test_the_caller_may_choose_the_number_of_candidates(
    gateway, upstream, alice, create_multipath_model
):
    await create_multipath_model(framework=False)
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


async def test_each_candidate_starts_from_another_passage_of_a_long_text(
    gateway, upstream, alice, create_multipath_model
):
    await create_multipath_model(framework=False, sampling="diversity", synthesis="consensus")
    parts = [f"Part {name} {' '.join(f'{name}{at}' for at in range(400))}." for name in "abc"]
    long = [{"role": "user", "content": "\n\n".join(parts) + "\n\nWhat is it about?"}]
    await gateway.request_chat(alice.key, model="mpr-m", messages=long)
    starts = [prompt[0]["content"] for prompt in list_prompts(upstream)]
    assert all(prompt[1:] == long for prompt in list_prompts(upstream))
    assert len(set(starts)) == 3
    assert all("passage" in start for start in starts)
