"""Thinking in steps: what the upstream is asked, and what the caller sees of it."""

import pytest

from api.tests.endpoints.chat_messages import list_prompts
from api.tests.endpoints.strategies.stepwise_answers import MATHS, send_three_steps
from proxysite.testing import rows, speech
from proxysite.testing.upstream import DONE, Gate, send_reply, send_stream


async def test_a_whole_answer_has_its_steps_and_the_usage_of_all_of_them(
    gateway, upstream, alice, create_stepwise_model
):
    await create_stepwise_model()
    upstream.queue_scripts(
        *send_three_steps(),
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
    gateway, upstream, alice, create_stepwise_model
):
    await create_stepwise_model(step_tokens=500, final_tokens=900, temperature=0.2)
    upstream.queue_scripts(*send_three_steps())
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
    gateway, upstream, alice, create_stepwise_model
):
    await create_stepwise_model(prompt="Think like a gardener.")
    upstream.queue_scripts(*send_three_steps())
    await gateway.request_chat(alice.key, model="o1-m", messages=MATHS)
    system = list_prompts(upstream)[0][0]["content"]
    assert system.startswith("Think like a gardener.")
    assert "next_action" in system
    assert system.endswith("Be brief.")


async def test_the_callers_limit_is_that_of_the_answer(
    gateway, upstream, alice, create_stepwise_model
):
    await create_stepwise_model(final_tokens=900)
    upstream.queue_scripts(*send_three_steps())
    await gateway.request_chat(alice.key, model="o1-m", max_completion_tokens=33)
    first, *_, last = (request.json for request in upstream.requests)
    assert first["max_completion_tokens"] == 1024
    assert last["max_completion_tokens"] == 33
    assert "max_tokens" not in first | last


async def test_steps_stream_when_they_are_finished_and_the_answer_word_by_word(
    gateway, upstream, alice, create_stepwise_model
):
    await create_stepwise_model()
    one, two, three = send_three_steps()
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
    gateway, upstream, alice, create_stepwise_model, form, begins, has
):
    await create_stepwise_model(format=form, feedback=False)
    upstream.queue_scripts(*send_three_steps())
    whole = await gateway.request_chat(alice.key, model="o1-m")
    assert whole.text.startswith(begins)
    assert has in whole.text
    assert whole.text.endswith("Hello there!")
    upstream.queue_scripts(*send_three_steps())
    streamed = await gateway.request_chat(alice.key, model="o1-m", stream=True)
    assert streamed.text == whole.text
    assert not any("status" in event for event in streamed.events)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_callers_may_have_the_thinking_in_tags_or_not_at_all(
    gateway, upstream, alice, create_stepwise_model, streams
):
    await create_stepwise_model()
    upstream.queue_scripts(*send_three_steps())
    raw = await gateway.request_chat(
        alice.key, model="o1-m", stream=streams, reasoning_format="raw"
    )
    assert raw.text.startswith("<think>\n### Step 1: One")
    assert raw.text.endswith("</think>\n\nHello there!")
    upstream.queue_scripts(*send_three_steps())
    hidden = await gateway.request_chat(
        alice.key, model="o1-m", stream=streams, reasoning_format="hidden"
    )
    assert hidden.text == "Hello there!"
    assert b"First." not in hidden.body
