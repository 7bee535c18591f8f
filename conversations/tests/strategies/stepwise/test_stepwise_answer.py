"""Answers in steps of models that write no JSON, and the forms in which callers want the steps."""

import json
from collections.abc import Awaitable, Callable

import pytest

from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.upstream import Script, send_refusal, send_reply

PROSE = "I would rather think in prose."
WHOLE_AND_STREAMED = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
MakeThinker = Callable[..., Awaitable[None]]


def reply(text: str) -> Script:
    return send_reply(speech.chat_completion(text, usage=speech.token_usage(10, 5)))


def reply_step(title: str, content: str, action: str = "continue") -> Script:
    return reply(json.dumps({"title": title, "content": content, "next_action": action}))


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr("conversations.strategies.stepwise.step_sequence.PAUSE_SECONDS", 0)


@pytest.fixture
async def thinker(gateway) -> MakeThinker:
    """Make the model `o1-m` with these options."""

    async def make_thinker(**options: object) -> None:
        await run_in_thread(rows.create_virtual_model, "o1-m", "m", "stepwise", **options)
        await gateway.reload_rows()

    return make_thinker


def read_steps(answer, *, streams: bool) -> list[tuple[str, str]]:
    events = answer.events if streams else [answer.json]
    body = next(event for event in events if "steps" in event)
    return [(step["title"], step["content"]) for step in body["steps"]]


@WHOLE_AND_STREAMED
async def test_prose_is_asked_for_as_a_step_once_and_then_is_the_step(
    gateway, upstream, alice, thinker, streams
) -> None:
    await thinker()
    upstream.queue_scripts(reply(PROSE), reply(PROSE + " Still."), reply("More."), reply("Last."))
    answer = await gateway.request_chat(alice.key, model="o1-m", stream=streams)
    assert (answer.status, answer.text) == (200, "Hello there!")
    # three steps are the least; from the second on nothing is asked twice
    assert read_steps(answer, streams=streams) == [
        ("Thinking", PROSE + " Still."),
        ("Thinking", "More."),
        ("Thinking", "Last."),
    ]
    assert len(upstream.requests) == 5
    assert PROSE in json.dumps(upstream.requests[-1].json["messages"])


async def test_a_step_that_fails_after_prose_has_the_prose_and_no_error(
    gateway, upstream, alice, thinker
) -> None:
    await thinker(min_steps=1)
    upstream.queue_scripts(reply(PROSE), send_refusal(400, "No.", "context_length_exceeded"))
    upstream.queue_scripts(send_refusal(400, "No.", "context_length_exceeded"))
    answer = await gateway.request_chat(alice.key, model="o1-m")
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert read_steps(answer, streams=False) == [("Thinking", PROSE)]


async def test_latex_that_is_not_escaped_reaches_the_caller_as_it_was_written(
    gateway, upstream, alice, thinker
) -> None:
    await thinker(min_steps=1)
    step = r'{"title": "t", "content": "\frac{1}{2} \times \(x\)", "next_action": "final_answer"}'
    upstream.queue_scripts(reply(step))
    answer = await gateway.request_chat(alice.key, model="o1-m")
    assert read_steps(answer, streams=False) == [("t", r"\frac{1}{2} \times \(x\)")]
    assert len(upstream.requests) == 2


@WHOLE_AND_STREAMED
@pytest.mark.parametrize("form", ["reasoning", "markdown", "details"])
@pytest.mark.parametrize("wish", ["parsed", "raw", "hidden"])
async def test_the_callers_wish_counts_more_than_the_form_of_the_row(
    gateway, upstream, alice, thinker, streams, form, wish
) -> None:
    await thinker(format=form, min_steps=1)
    upstream.queue_scripts(reply_step("One", "First.", "final_answer"))
    answer = await gateway.request_chat(
        alice.key, model="o1-m", stream=streams, reasoning_format=wish
    )
    if streams:
        choices = [choice for event in answer.events for choice in event["choices"]]
        messages = [choice["delta"] for choice in choices]
    else:
        messages = [answer.json["choices"][0]["message"]]
    thinking = "".join(message.get("reasoning_content") or "" for message in messages)
    shown = "### Step 1: One\n\nFirst.\n\n"
    assert (thinking, answer.text) == {
        "parsed": (shown, "Hello there!"),
        "raw": ("", f"<think>\n{shown}</think>\n\nHello there!"),
        "hidden": ("", "Hello there!"),
    }[wish]
