"""Thinking in steps: what the upstream is asked, what the caller sees of it, and what the ledger
keeps.
"""

import json

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.upstream import (
    CUT,
    DONE,
    Gate,
    keep_silent,
    send_refusal,
    send_reply,
    send_stream,
)

MATHS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 6 × 7?"}]


def step(title="Look", content="I look.", action="continue", **more):
    """A step as a model says it."""
    said = json.dumps({"title": title, "content": content, "next_action": action})
    return send_reply(speech.chat_completion(said, usage=speech.token_usage(10, 5), **more))


def three_steps():
    return (
        step("One", "First."),
        step("Two", "Second."),
        step("Three", 'A "quoted"\nline.', "final_answer"),
    )


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr("conversations.strategies.stepwise.step_sequence.PAUSE_SECONDS", 0)


@pytest.fixture
async def thinker(gateway):
    """Makes the model `o1-m` with these options."""

    async def make(**options):
        await run_in_thread(rows.create_virtual_model, "o1-m", "m", "stepwise", **options)
        await gateway.reload_rows()

    return make


def prompts(upstream):
    return [request.json["messages"] for request in upstream.requests]


async def test_a_whole_answer_has_its_steps_and_the_usage_of_all_of_them(
    gateway, upstream, alice, thinker
):
    await thinker()
    upstream.queue_scripts(
        *three_steps(),
        send_reply(speech.chat_completion("It is 42.", usage=speech.token_usage(20, 7))),
    )
    answer = await gateway.request_chat(alice.key, model="o1-m", messages=MATHS)
    assert answer.status == 200
    whole = answer.json
    assert (whole["model"], whole["object"], answer.text) == (
        "o1-m",
        "chat.completion",
        "It is 42.",
    )
    assert [one["title"] for one in whole["steps"]] == ["One", "Two", "Three"]
    assert all(
        one.keys() == {"title", "content", "seconds"} and one["seconds"] >= 0
        for one in whole["steps"]
    )
    assert whole["total_thinking_time"] == pytest.approx(
        sum(one["seconds"] for one in whole["steps"]), abs=0.01
    )
    thought = whole["choices"][0]["message"]["reasoning_content"]
    assert thought.startswith("### Step 1: One\n\nFirst.\n\n### Step 2: Two")
    assert (whole["usage"]["prompt_tokens"], whole["usage"]["completion_tokens"]) == (50, 22)
    row = await rows.read_only_usage_record()
    assert (row.status, row.prompt_tokens, row.completion_tokens, row.estimated) == (
        "complete",
        50,
        22,
        False,
    )
    assert [(one["outcome"], one["reason"]) for one in row.attempts] == [
        ("answered", "step 1"),
        ("answered", "step 2"),
        ("answered", "step 3"),
        ("answered", "final answer"),
    ]


async def test_a_step_is_asked_in_json_with_one_system_message_and_without_what_is_for_the_answer(
    gateway, upstream, alice, thinker
):
    await thinker(step_tokens=500, final_tokens=900, temperature=0.2)
    upstream.queue_scripts(*three_steps())
    tools = [{"type": "function", "function": {"name": "f"}}]
    format_ = {"type": "json_object"}
    await gateway.request_chat(
        alice.key, model="o1-m", messages=MATHS, tools=tools, response_format=format_, n=1, user="u"
    )
    first, *_, last = (request.json for request in upstream.requests)
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    assert first["messages"][0]["content"].endswith("Be brief.")
    assert "next_action" in first["messages"][0]["content"]
    assert first["response_format"] == {"type": "json_object"}
    assert (first["max_tokens"], first["temperature"], first["user"]) == (500, 0.2, "u")
    assert not {"tools", "n", "stream"} & first.keys()
    assert (last["tools"], last["response_format"], last["max_tokens"]) == (tools, format_, 900)
    assert last["messages"][:2] == MATHS
    assert "Second." in last["messages"][2]["content"]
    assert [message["role"] for message in last["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]


async def test_a_prompt_of_ones_own_stands_instead_of_ours_and_the_form_behind_it(
    gateway, upstream, alice, thinker
):
    await thinker(prompt="Think like a gardener.")
    upstream.queue_scripts(*three_steps())
    await gateway.request_chat(alice.key, model="o1-m", messages=MATHS)
    system = prompts(upstream)[0][0]["content"]
    assert system.startswith("Think like a gardener.")
    assert "next_action" in system
    assert system.endswith("Be brief.")


async def test_the_callers_limit_is_that_of_the_answer(gateway, upstream, alice, thinker):
    await thinker(final_tokens=900)
    upstream.queue_scripts(*three_steps())
    await gateway.request_chat(alice.key, model="o1-m", max_completion_tokens=33)
    first, *_, last = (request.json for request in upstream.requests)
    assert first["max_completion_tokens"] == 1024
    assert last["max_completion_tokens"] == 33
    assert "max_tokens" not in first | last


async def test_steps_stream_when_they_are_finished_and_the_answer_word_by_word(
    gateway, upstream, alice, thinker
):
    await thinker()
    one, two, three = three_steps()
    waits, talks = Gate(), Gate()

    async def second(exchange):
        await waits.wait_until_open()
        await two(exchange)

    upstream.queue_scripts(
        one,
        second,
        three,
        send_stream(
            *speech.content_chunks("It", " is"),
            talks,
            *speech.streamed_completion(" 42.")[1:],
            DONE,
        ),
    )
    async with gateway.open_stream(
        alice.key, model="o1-m", stream_options={"include_usage": True}
    ) as reading:
        await reading.read_until("Step 1: One")
        await waits.wait_until_reached()
        await reading.read_until('"step":2')  # a word of what is being done
        assert b"Step 2: Two" not in reading.body
        waits.open()
        await reading.read_until('" is"')
        assert b"Step 3: Three" in reading.body
        talks.open()
        answer = await reading.read_rest()
    assert answer.is_complete
    deltas = [event["choices"][0]["delta"] for event in answer.events if event["choices"]]
    assert [one.get("role") for one in deltas].count("assistant") == 1
    assert deltas[0]["role"] == "assistant"
    thought = "".join(one.get("reasoning_content") or "" for one in deltas)
    assert 'A "quoted"\nline.' in thought
    assert answer.text.startswith("It is")
    assert answer.finish_reasons == ["stop"]
    with_steps = [at for at, event in enumerate(answer.events) if "steps" in event]
    finish = next(
        at
        for at, one in enumerate(answer.events)
        if one["choices"] and one["choices"][0]["finish_reason"]
    )
    assert with_steps == [finish - 1]
    assert [one["title"] for one in answer.events[finish - 1]["steps"]] == ["One", "Two", "Three"]
    assert answer.events[-1]["usage"]["total_tokens"] == 3 * 15 + 12
    assert len({(event["id"], event["model"]) for event in answer.events}) == 1


@pytest.mark.parametrize(
    ("form", "begins", "has"),
    [
        ("markdown", "## Step 1: One\n\nFirst.", "### Final Answer\n\nHello there!"),
        (
            "details",
            "<details open><summary>Step 1: One</summary>First.</details>",
            'A "quoted"<br>line.',
        ),
    ],
)
async def test_steps_in_the_text_are_the_same_streamed_and_whole(
    gateway, upstream, alice, thinker, form, begins, has
):
    await thinker(format=form, feedback=False)
    upstream.queue_scripts(*three_steps())
    whole = await gateway.request_chat(alice.key, model="o1-m")
    assert whole.text.startswith(begins)
    assert has in whole.text
    assert whole.text.endswith("Hello there!")
    upstream.queue_scripts(*three_steps())
    streamed = await gateway.request_chat(alice.key, model="o1-m", stream=True)
    assert streamed.text == whole.text
    assert not any("status" in event for event in streamed.events)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_callers_may_have_the_thinking_in_tags_or_not_at_all(
    gateway, upstream, alice, thinker, streams
):
    await thinker()
    upstream.queue_scripts(*three_steps())
    raw = await gateway.request_chat(
        alice.key, model="o1-m", stream=streams, reasoning_format="raw"
    )
    assert raw.text.startswith("<think>\n### Step 1: One")
    assert raw.text.endswith("</think>\n\nHello there!")
    upstream.queue_scripts(*three_steps())
    hidden = await gateway.request_chat(
        alice.key, model="o1-m", stream=streams, reasoning_format="hidden"
    )
    assert hidden.text == "Hello there!"
    assert b"First." not in hidden.body


async def test_a_model_that_is_ready_too_soon_is_told_to_think_on(
    gateway, upstream, alice, thinker
):
    await thinker(min_steps=2)
    upstream.queue_scripts(
        step("One", "Done.", "final_answer"), step("Two", "Really.", "final_answer")
    )
    answer = await gateway.request_chat(alice.key, model="o1-m")
    assert len(answer.json["steps"]) == 2
    assert "at least 2" in prompts(upstream)[1][-1]["content"]


async def test_a_model_that_never_ends_is_asked_for_its_answer_after_the_last_step(
    gateway, upstream, alice, thinker
):
    await thinker(max_steps=4)
    upstream.queue_scripts(*[step(f"S{at}") for at in range(4)])
    answer = await gateway.request_chat(alice.key, model="o1-m")
    assert len(answer.json["steps"]) == 4
    assert answer.text == "Hello there!"
    assert len(upstream.requests) == 5


async def test_all_calls_together_are_bounded(gateway, upstream, alice, thinker):
    await thinker(max_calls=4)
    upstream.set_default_script(send_reply(speech.chat_completion("no step")))
    answer = await gateway.request_chat(alice.key, model="o1-m")
    assert answer.status == 200
    assert len(upstream.requests) == 4
    upstream.set_default_script(step())
    await gateway.request_chat(alice.key, model="o1-m")
    assert len(upstream.requests) == 8


async def test_calls_that_failover_makes_again_count_too(gateway, upstream, alice, thinker, three):
    await thinker(max_calls=5)
    upstream.queue_scripts(step(), *[send_refusal(500)] * 3)
    answer = await gateway.request_chat(alice.key, model="o1-m")
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert len(upstream.requests) == 5
    outcomes = [attempt["outcome"] for attempt in (await rows.read_only_usage_record()).attempts]
    assert (outcomes.count("ServerFailed"), outcomes.count("answered")) == (3, 2)


@pytest.mark.parametrize("most", [3, 4, 5, 6])
async def test_failover_makes_no_more_calls_than_there_may_be_and_the_answer_has_one(
    gateway, upstream, alice, thinker, three, most
):
    await thinker(max_calls=most)
    upstream.queue_scripts(step(), *[send_refusal(500)] * (most - 2))
    answer = await gateway.request_chat(alice.key, model="o1-m")
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert len(upstream.requests) == most


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_what_is_no_step_is_asked_for_again_and_then_becomes_an_error_step(
    gateway, upstream, alice, thinker, streams
):
    await thinker()
    nothing = send_reply(speech.chat_completion("…"))
    upstream.queue_scripts(nothing, step("One", "Mended."), nothing, nothing, nothing)
    answer = await gateway.request_chat(alice.key, model="o1-m", stream=streams)
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert [len(prompt) for prompt in prompts(upstream)][:2] == [2, 4]
    whole = next(event for event in answer.events if "steps" in event) if streams else answer.json
    assert [one["title"] for one in whole["steps"]] == ["One", "Error"]
    assert "Step 2: Error" in answer.body.decode()
    assert len(upstream.requests) == 6
    assert "Error" not in json.dumps(prompts(upstream)[-1])
    assert (await rows.read_only_usage_record()).status == "complete"


async def test_a_step_that_was_cut_gets_more_room(gateway, upstream, alice, thinker):
    await thinker(step_tokens=100)
    upstream.queue_scripts(
        step(finish="length"),
        send_reply(speech.chat_completion('{"title": "x', finish="length")),
        *three_steps()[1:],
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
    gateway, upstream, alice, thinker
):
    await thinker()
    upstream.queue_scripts(send_refusal(400, "response_format is not supported."), *three_steps())
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
    gateway, upstream, alice, thinker, streams
):
    await thinker()
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


async def test_half_of_the_time_is_left_to_the_answer(gateway, upstream, alice, thinker, provider):
    provider.total_seconds = 1.4
    await run_in_thread(provider.save)
    await thinker()
    upstream.queue_scripts(step("One", "First."), keep_silent)
    answer = await gateway.request_chat(alice.key, model="o1-m")
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert [one["title"] for one in answer.json["steps"]] == ["One", "Error"]
    await upstream.exchanges[1].wait_until_left()
    assert len(upstream.requests) == 3


async def test_a_final_answer_that_breaks_off_is_no_whole_one(gateway, upstream, alice, thinker):
    await thinker()
    upstream.queue_scripts(*three_steps(), send_stream(*speech.content_chunks("It is"), CUT))
    answer = await gateway.request_chat(alice.key, model="o1-m", stream=True)
    assert answer.stream_error["code"] == "upstream_disconnected"
    row = await rows.read_only_usage_record()
    assert row.status == "truncated"
    assert row.prompt_tokens > 30
    assert row.estimated


async def test_a_caller_who_leaves_stops_everything_and_pays_for_what_was_thought(
    gateway, upstream, alice, thinker
):
    await thinker()
    one, _, _ = three_steps()
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


async def test_usage_that_an_upstream_does_not_give_is_estimated(gateway, upstream, alice, thinker):
    await thinker()
    bare = [
        send_reply(
            speech.chat_completion(json.dumps({"title": "T", "content": "c " * 40}), usage=None)
        )
        for _ in range(3)
    ]
    await_steps = [*bare, step("T", "end", "final_answer")]
    upstream.queue_scripts(
        *await_steps, send_reply(speech.chat_completion("42", usage=speech.token_usage(20, 1)))
    )
    answer = await gateway.request_chat(alice.key, model="o1-m")
    row = await rows.read_only_usage_record()
    assert row.estimated
    assert row.completion_tokens > 3 * 20
    assert answer.json["usage"]["completion_tokens"] == row.completion_tokens
    assert "estimated" not in answer.json["usage"]


async def test_options_that_cannot_be_used_are_named(gateway, upstream, alice, thinker, caplog):
    await thinker(max_steps="many")
    answer = await gateway.request_chat(alice.key, model="o1-m")
    assert answer.status == 500
    assert "max_steps" in answer.error["message"]
    assert upstream.requests == []
    caplog.clear()


async def test_the_old_route_thinks_in_steps_over_any_model(gateway, upstream, alice):
    for streams in (False, True):
        upstream.queue_scripts(*three_steps())
        body = {"model": "m", "messages": MATHS, "stream": streams}
        answer = await gateway.send_request(
            "POST", "/v1/chat/completions/cot", alice.key, json=body
        )
        assert (answer.status, answer.text) == (200, "Hello there!")
        assert "Step 3: Three" in answer.body.decode()
    assert (await gateway.send_request("GET", "/v1/chat/completions/cot", alice.key)).status == 405
    assert (await gateway.send_request("POST", "/v1/chat/completions/cot", json={})).status == 401


async def test_the_old_route_takes_the_options_of_a_model_that_thinks_so_anyway(
    gateway, upstream, alice, thinker
):
    await thinker(min_steps=1, format="markdown")
    upstream.queue_scripts(step("One", "Only.", "final_answer"))
    body = {"model": "o1-m", "messages": MATHS}
    answer = await gateway.send_request("POST", "/v1/chat/completions/cot", alice.key, json=body)
    assert answer.text.startswith("## Step 1: One")


async def test_other_endpoints_of_such_a_model_are_asked_plainly(gateway, upstream, alice, thinker):
    await thinker()
    body = {"model": "o1-m", "prompt": "Say"}
    answer = await gateway.send_request("POST", "/v1/completions", alice.key, json=body)
    assert answer.json["choices"][0]["text"] == "Hello there!"
    assert len(upstream.requests) == 1


CLOCK = {"type": "function", "function": {"name": "clock", "description": "Tells the time."}}
CALL = '<tool_call>{"name": "clock", "arguments": {}}</tool_call>'
DEMAND = {"tools": [CLOCK], "tool_choice": "required"}
WHOLE_AND_STREAMED = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])


@pytest.fixture
async def wordless(provider):
    """The provider's models have to be told in words how to call tools."""
    provider.native_tools = False
    await run_in_thread(provider.save)


def final(text, streams, **usage):
    """A final answer, whole or streamed."""
    if not streams:
        return send_reply(speech.chat_completion(text, usage=speech.token_usage(20, 7), **usage))
    return send_stream(
        *speech.streamed_completion(text)[:-1], speech.usage_chunk(speech.token_usage(20, 7)), DONE
    )


@WHOLE_AND_STREAMED
async def test_a_tool_that_the_final_answer_had_to_call_is_asked_for_once_more(
    gateway, upstream, alice, thinker, wordless, streams
):
    await thinker()
    upstream.queue_scripts(*three_steps(), final("It is late.", streams), final(CALL, streams))
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
    gateway, upstream, alice, thinker, wordless
):
    await thinker()
    bare = [
        send_reply(speech.chat_completion(text, usage=None)) for text in ("It is late. " * 20, CALL)
    ]
    upstream.queue_scripts(*three_steps(), *bare)
    await gateway.request_chat(alice.key, model="o1-m", **DEMAND)
    row = await rows.read_only_usage_record()
    assert row.estimated
    assert row.completion_tokens > 15 + 60  # the words that nobody sees too


async def test_a_correction_counts_among_the_calls_that_are_bounded(
    gateway, upstream, alice, thinker, wordless
):
    await thinker(max_calls=4)
    upstream.queue_scripts(*three_steps(), final("It is late.", False), final(CALL, False))
    answer = await gateway.request_chat(alice.key, model="o1-m", **DEMAND)
    assert (answer.status, answer.text, len(upstream.requests)) == (200, "It is late.", 4)


@pytest.fixture
def traces(gateway, monkeypatch):
    """The traces of all requests, as the ledger had them."""
    found, recorded = [], gateway.inner.ledger.record_batches

    def noted(trace, batches):
        found.append(trace)
        return recorded(trace, batches)

    monkeypatch.setattr(gateway.inner.ledger, "record_batches", noted)
    return found


@WHOLE_AND_STREAMED
async def test_what_was_thought_is_noted_even_where_the_caller_does_not_see_it(
    gateway, upstream, alice, thinker, traces, streams
):
    await thinker()
    upstream.queue_scripts(*three_steps())
    answer = await gateway.request_chat(
        alice.key, model="o1-m", stream=streams, reasoning_format="hidden"
    )
    assert b"First." not in answer.body
    (trace,) = traces
    assert [step["content"] for step in trace.strategy_result.thinking["steps"]] == [
        "First.",
        "Second.",
        'A "quoted"\nline.',
    ]
    assert trace.strategy_result.thinking["total_thinking_time"] == pytest.approx(
        sum(step["seconds"] for step in trace.strategy_result.thinking["steps"]), abs=0.01
    )


async def test_an_answer_without_steps_has_nothing_to_note(gateway, alice, traces):
    await gateway.request_chat(alice.key)
    assert traces[0].strategy_result.thinking == {}


@WHOLE_AND_STREAMED
@pytest.mark.parametrize("form", ["markdown", "details", "reasoning"])
async def test_steps_in_the_text_are_noted_as_what_is_not_the_answer(
    gateway, upstream, alice, thinker, traces, form, streams
):
    await thinker(format=form)
    upstream.queue_scripts(*three_steps())
    answer = await gateway.request_chat(alice.key, model="o1-m", stream=streams)
    assert answer.text.removeprefix(traces[0].strategy_result.preface) == "Hello there!"
    assert bool(traces[0].strategy_result.preface) is (form != "reasoning")


async def test_a_step_nested_beyond_all_sense_is_no_step(gateway, upstream, alice, thinker):
    await thinker(min_steps=1)
    deep = '{"content":' + "[" * 960 + "1" + "]" * 960 + ',"next_action":"final_answer"}'
    upstream.queue_scripts(
        send_reply(speech.chat_completion(deep)), step("One", "Mended.", "final_answer")
    )
    answer = await gateway.request_chat(alice.key, model="o1-m")
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert [one["title"] for one in answer.json["steps"]] == ["One"]
