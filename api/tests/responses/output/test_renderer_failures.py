"""The events of an answer that breaks off, and how the server sends them."""

from typing import Any

import orjson
import pytest

from api.streaming.stream_answer import SLICE_BYTES, Heartbeat, StreamAnswer
from api.tests.responses.output.rendered_events import (
    ID,
    REQUEST,
    event_types,
    make_call,
    make_renderer,
    parse_events,
    read_with_sdk,
)
from providers.exceptions import Disconnected, GatewayError, RateLimited, Rejected
from providers.protocol.chunks import Batches, Chunk, make_delta


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Disconnected("It broke off."), "server_error"),
        (RateLimited("Too many."), "rate_limit_exceeded"),
        (Rejected("Bad words."), "invalid_prompt"),
    ],
)
def test_an_answer_that_breaks_off_has_failed(error: GatewayError, code: str) -> None:
    rendering = make_renderer()
    sent = rendering.render_batch(
        [make_delta(REQUEST, reasoning_content="hm"), make_delta(REQUEST, content="so fa")]
    )
    events = parse_events(sent + rendering.render_failure(error))
    read_with_sdk(events)
    assert event_types(events)[-2:] == ["output_text.delta", "failed"]
    final = events[-1]["response"]
    assert (final["status"], final["error"]["code"], final["error"]["message"]) == (
        "failed",
        code,
        error.message,
    )
    assert [item["status"] for item in final["output"]] == ["completed", "incomplete"]
    assert final["output"][1]["content"][0]["text"] == "so fa"
    assert final["completed_at"] is None


def test_a_failure_before_the_first_chunk_begins_the_response_too() -> None:
    events = parse_events(make_renderer().render_failure(Disconnected("It broke off.")))
    read_with_sdk(events)
    assert event_types(events) == ["created", "in_progress", "failed"]
    assert events[-1]["response"]["error"]["reason"] == "upstream_disconnected"


def test_calls_that_were_half_said_are_incomplete_in_a_failure() -> None:
    rendering = make_renderer()
    chunks = [
        make_call(0, id="c1", name="f", arguments='{"a"'),
        make_call(1, id="c2", name="g", arguments="{}"),
    ]
    chunks += [make_call(2, id="c3", name="h", arguments="{")]
    events = parse_events(
        rendering.render_batch(chunks) + rendering.render_failure(Disconnected("It broke off."))
    )
    output = events[-1]["response"]["output"]
    assert [item["status"] for item in output] == ["incomplete", "completed", "incomplete"]


async def sent_by_the_server(*batches: list[Chunk], error: GatewayError) -> list[dict[str, Any]]:
    """What the server is given to send when the upstream breaks off after these batches."""
    messages: list[dict[str, Any]] = []

    async def upstream() -> Batches:
        for batch in batches:
            yield batch
        raise error

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    await StreamAnswer(upstream(), make_renderer(), Heartbeat(60), f"req_{ID}").send_answer(send)
    return messages


async def test_a_large_event_is_sent_in_slices() -> None:
    text = "x" * (2 * SLICE_BYTES)
    _, *bodies = await sent_by_the_server(
        [make_delta(REQUEST, content=text)], error=Disconnected("It broke off.")
    )
    assert max(len(body["body"]) for body in bodies) == SLICE_BYTES
    assert [body["more_body"] for body in bodies] == [*[True] * (len(bodies) - 1), False]
    deltas = [
        event
        for event in parse_events(b"".join(body["body"] for body in bodies))
        if event["type"].endswith("text.delta")
    ]
    assert deltas[0]["delta"] == text


async def test_a_stream_that_breaks_off_ends_with_the_failure_and_nothing_after_it() -> None:
    error = Disconnected("It broke off.")
    head, *bodies = await sent_by_the_server([make_delta(REQUEST, content="so fa")], error=error)
    assert head["status"] == 200
    assert [body["more_body"] for body in bodies] == [True, False]
    events = parse_events(b"".join(body["body"] for body in bodies))
    assert event_types(events)[-2:] == ["output_text.delta", "failed"]


async def test_a_failure_before_the_first_chunk_keeps_its_status_and_the_usual_error_object() -> (
    None
):
    head, body = await sent_by_the_server(error=RateLimited("Too many."))
    assert head["status"] == 429
    assert orjson.loads(body["body"])["error"]["code"] == "rate_limit_exceeded"
