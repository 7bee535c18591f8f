"""Strategies over a document that is longer than the window: questions fit, nothing is lost."""

# ruff: noqa: RUF001 - Chinese punctuation is the matter here

import json

import pytest

from conversations.tests.strategies.small_window import (
    DOCUMENT,
    MESSAGES,
    QUESTION,
    WINDOW,
    count_request_tokens,
    refuse_long,
    reply,
    reply_step,
)
from providers.database.database_threads import run_in_thread
from providers.models import ChatModel
from proxysite.testing import rows
from proxysite.testing.upstream import send_refusal

WHOLE_AND_STREAMED = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
PLAN = "先找编号，再看页码。" * 90  # 900 tokens
DRAFT = "编号6500的事情写在第3500页上。"
LONG_STEP = "我们一步一步地看这份文件里的每一段。" * 55  # 990 tokens


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr("conversations.strategies.stepwise.step_sequence.PAUSE_SECONDS", 0)


@pytest.fixture
async def make_virtual(gateway):
    """Give the model `m` a window, and make the model `v` of a strategy over it."""

    async def make(strategy: str, window: int | None = WINDOW, **options: object) -> None:
        await run_in_thread(ChatModel.objects.update, context_window=window)
        await run_in_thread(rows.create_virtual_model, "v", "m", strategy, **options)
        await gateway.reload_rows()

    return make


def read_extra_fields(answer, name: str, *, streams: bool):
    events = answer.events if streams else [answer.json]
    return next((event[name] for event in events if name in event), None)


def test_the_document_is_as_long_as_the_one_of_the_report() -> None:
    assert len(DOCUMENT) >= 120_000


async def test_all_candidates_are_asked_within_the_window_and_count(
    gateway, upstream, alice, make_virtual
) -> None:
    await make_virtual("multipath", candidates=3)
    upstream.queue_scripts(refuse_long(reply(PLAN)))
    upstream.queue_scripts(*[refuse_long(reply(DRAFT + name)) for name in "甲乙丙"])
    upstream.queue_scripts(refuse_long(reply("第3500页。")))
    answer = await gateway.request_chat(alice.key, model="v", messages=MESSAGES)
    assert (answer.status, answer.text) == (200, "第3500页。")
    assert "rejected_candidates" not in answer.json
    prompts = [request.json for request in upstream.requests]
    assert max(map(count_request_tokens, prompts)) <= WINDOW
    last = json.dumps(prompts[-1]["messages"], ensure_ascii=False)
    assert all(DRAFT + name in last for name in "甲乙丙")
    for prompt in prompts[1:4]:  # each candidate has the plan, a passage and the one that is asked
        system = prompt["messages"][0]["content"]
        assert "先找编号" in system
        assert "Start from this passage" in system
        assert "编号6500的事情" in system
    row = await rows.read_only_usage_record()
    assert [attempt["outcome"] for attempt in row.attempts] == ["answered"] * 5


async def test_drafts_that_are_longer_than_the_window_are_cut_for_the_synthesis(
    gateway, upstream, alice, make_virtual
) -> None:
    await make_virtual("multipath", candidates=3, framework=False)
    upstream.queue_scripts(*[refuse_long(reply(name + DRAFT * 250)) for name in "甲乙"])
    upstream.queue_scripts(refuse_long(reply("丙" + DRAFT)), refuse_long(reply("第3500页。")))
    answer = await gateway.request_chat(alice.key, model="v", messages=MESSAGES)
    assert (answer.status, answer.text) == (200, "第3500页。")
    assert "failed_synthesis" not in answer.json
    prompt = upstream.requests[-1].json["messages"][-1]["content"]
    assert f"丙{DRAFT}\n" in prompt  # a short one stays whole
    assert prompt.count("[…]") == 2


@WHOLE_AND_STREAMED
async def test_a_rejected_candidate_is_in_the_answer_and_in_the_usage_record(
    gateway, upstream, alice, make_virtual, streams
) -> None:
    await make_virtual("multipath", candidates=3, framework=False)
    refusal = send_refusal(400, "Too long.", "context_length_exceeded")
    upstream.queue_scripts(refusal, reply(DRAFT), reply(DRAFT), reply("Merged."))
    answer = await gateway.request_chat(alice.key, model="v", messages=[QUESTION], stream=streams)
    (rejected,) = read_extra_fields(answer, "rejected_candidates", streams=streams)
    assert (rejected["code"], "Too long." in rejected["message"]) == (
        "context_length_exceeded",
        True,
    )
    row = await rows.read_only_usage_record()
    (attempt,) = [attempt for attempt in row.attempts if attempt["outcome"] == "Rejected"]
    assert attempt["reason"].startswith(f"candidate {rejected['candidate']}: ")


@WHOLE_AND_STREAMED
async def test_drafts_are_the_answer_when_their_synthesis_fails(
    gateway, upstream, alice, make_virtual, streams
) -> None:
    await make_virtual("multipath", candidates=3, framework=False)
    upstream.queue_scripts(reply("Cats sleep all day."), reply("Cats sleep all day long."))
    upstream.queue_scripts(reply("Dogs bark."), send_refusal(400, "Odd.", "content_filter"))
    answer = await gateway.request_chat(alice.key, model="v", messages=[QUESTION], stream=streams)
    assert answer.status == 200
    assert answer.text.startswith("Cats sleep all day")
    failure = read_extra_fields(answer, "failed_synthesis", streams=streams)
    assert "Odd." in failure["message"]


async def test_steps_that_fill_the_window_end_the_thinking_and_all_of_them_count(
    gateway, upstream, alice, make_virtual
) -> None:
    await make_virtual("stepwise", step_tokens=256, max_steps=20)
    steps = [reply_step(f"S{number}", f"{number}{LONG_STEP}") for number in range(20)]
    upstream.set_default_script(refuse_long(reply("第3500页。")))
    upstream.queue_scripts(*map(refuse_long, steps[:2]))
    answer = await gateway.request_chat(alice.key, model="v", messages=MESSAGES)
    assert (answer.status, answer.text) == (200, "第3500页。")
    assert [step["title"] for step in answer.json["steps"]][:2] == ["S0", "S1"]
    assert "Error" not in answer.body.decode()
    prompts = [request.json for request in upstream.requests]
    assert max(map(count_request_tokens, prompts)) <= WINDOW
    last = json.dumps(prompts[-1]["messages"], ensure_ascii=False)
    assert f"0{LONG_STEP[:40]}" in last
    assert f"1{LONG_STEP[:40]}" in last


async def test_a_prompt_whose_window_is_not_known_is_asked_again_with_shorter_steps(
    gateway, upstream, alice, make_virtual
) -> None:
    await make_virtual("stepwise", window=None, min_steps=2, max_steps=2)
    steps = [reply_step("S", LONG_STEP), reply_step("S", LONG_STEP, "final_answer")]
    upstream.queue_scripts(*steps)
    upstream.queue_scripts(*[refuse_long(reply("第3500页。"), window=2_000)] * 2)
    answer = await gateway.request_chat(alice.key, model="v", messages=[QUESTION])
    assert (answer.status, answer.text) == (200, "第3500页。")
    assert len(upstream.requests) == 4


@WHOLE_AND_STREAMED
async def test_the_last_step_is_the_answer_when_the_final_answer_fails(
    gateway, upstream, alice, make_virtual, streams
) -> None:
    await make_virtual("stepwise", min_steps=1)
    upstream.queue_scripts(reply_step("One", "It is page 3500.", "final_answer"))
    upstream.queue_scripts(send_refusal(400, "No."))
    answer = await gateway.request_chat(alice.key, model="v", messages=[QUESTION], stream=streams)
    assert (answer.status, answer.text) == (200, "It is page 3500.")
    events = answer.events if streams else [answer.json]
    choices = [choice for event in events for choice in event["choices"]]
    assert [choice["finish_reason"] for choice in choices][-1] == "length"
    assert len(read_extra_fields(answer, "steps", streams=streams)) == 1
