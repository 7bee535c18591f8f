"""The events of whole streams, and the object of an answer that does not stream."""

import random

import orjson
import pytest
from openai.types.responses import Response

from api.tests.responses.output.rendered_events import (
    CITATION,
    CREATED,
    ID,
    REQUEST,
    event_types,
    join_deltas,
    make_call,
    make_end,
    make_renderer,
    parse_events,
    read_with_sdk,
    render_events,
)
from conversations.messages.answer_builder import CollectedAnswer
from providers.protocol.chunks import Chunk, make_completion, make_delta, make_usage_chunk
from providers.protocol.usage_meter import TokenUsage


def test_a_text_is_told_from_its_beginning_to_its_end() -> None:
    events = render_events(
        [
            [make_delta(REQUEST, role="assistant", content="Hel")],
            [make_delta(REQUEST, content="lo")],
            [make_end()],
        ]
    )
    assert event_types(events) == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *("output_text.delta", "output_text.delta", "output_text.done", "content_part.done"),
        *("output_item.done", "completed"),
    ]
    final = events[-1]["response"]
    assert (final["id"], final["created_at"], final["model"]) == (f"resp_{ID}", CREATED, "public")
    assert final["output"] == [events[-2]["item"]]
    assert final["output"][0]["content"][0]["text"] == events[6]["text"] == "Hello"
    assert final["output"][0]["id"] == events[4]["item_id"]
    assert final["status"] == final["output"][0]["status"] == "completed"
    assert final["completed_at"] >= CREATED
    assert final["usage"] == {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 12,
    }
    assert events[0]["response"]["status"] == "in_progress"
    assert events[0]["response"]["output"] == []


def test_the_first_batch_begins_the_response_whatever_is_in_it() -> None:
    rendering = make_renderer()
    assert event_types(
        parse_events(rendering.render_batch([make_delta(REQUEST, role="assistant")]))
    ) == [
        "created",
        "in_progress",
    ]
    assert rendering.render_batch([make_delta(REQUEST)]) == b""
    assert rendering.render_batch([make_usage_chunk(REQUEST, {"prompt_tokens": 1})]) == b""


def test_a_response_in_the_background_is_queued_first() -> None:
    events = render_events([[make_delta(REQUEST, content="x"), make_end()]], background=True)
    assert event_types(events)[:3] == ["created", "queued", "in_progress"]
    assert [event["response"]["status"] for event in events[:3]] == [
        "queued",
        "queued",
        "in_progress",
    ]
    assert events[0]["response"]["background"] is True


def test_an_answer_of_nothing_is_completed() -> None:
    assert event_types(render_events([[make_end()]])) == ["created", "in_progress", "completed"]


def test_thinking_words_and_calls_keep_their_order() -> None:
    said = [make_delta(REQUEST, reasoning_content="hm"), make_delta(REQUEST, content="let me see")]
    again = [make_call(0, id="c1", name="f", arguments="{}"), make_delta(REQUEST, content="and so")]
    events = render_events([said, again, [make_end()]])
    kinds = ["reasoning", "message", "function_call", "message"]
    assert [item["type"] for item in events[-1]["response"]["output"]] == kinds
    assert len({item["id"] for item in events[-1]["response"]["output"]}) == 4


@pytest.mark.parametrize(
    ("reason", "shown"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_an_answer_that_was_cut_off_by_a_limit_is_incomplete(reason: str, shown: str) -> None:
    events = render_events(
        [
            [make_delta(REQUEST, reasoning_content="hm"), make_delta(REQUEST, content="so")],
            [make_end(reason)],
        ]
    )
    assert event_types(events)[-1] == "incomplete"
    final = events[-1]["response"]
    assert (final["status"], final["incomplete_details"]) == ("incomplete", {"reason": shown})
    assert [item["status"] for item in final["output"]] == ["completed", "incomplete"]
    assert final["completed_at"] is None
    assert final["usage"]["total_tokens"] == 12


def test_what_strategies_say_of_their_thinking_is_in_the_final_object_and_breaks_nothing() -> None:
    batches = [
        [make_delta(REQUEST) | {"status": {"message": "thinking", "step": 2}}],
        [make_delta(REQUEST, content="so")],
        [
            make_delta(REQUEST)
            | {"steps": [{"title": "t"}], "total_thinking_time": 1.5, "model": "evil"}
        ],
        [make_end()],
    ]
    final = render_events(batches)[-1]["response"]
    assert (final["steps"], final["total_thinking_time"]) == ([{"title": "t"}], 1.5)
    assert final["model"] == "public"


def test_only_the_first_choice_is_told() -> None:
    other = make_delta(REQUEST, content="other")
    other["choices"][0]["index"] = 1
    assert (
        join_deltas(
            render_events([[make_delta(REQUEST, content="so"), other, make_end()]]), "output_text"
        )
        == "so"
    )


@pytest.mark.parametrize("seed", range(20))
def test_an_answer_cut_anywhere_is_the_same_response(seed: int) -> None:
    rng = random.Random(seed)
    chunks: list[Chunk] = []
    texts = {
        "reasoning_content": "First I think. \n\n",
        "content": "Then — “I” say\u2028 it 🎈.",
        "refusal": "No!",
    }
    for field, text in texts.items():
        while text:
            size = rng.randint(1, 5)
            chunks.append(make_delta(REQUEST, **{field: text[:size]}))
            text = text[size:]
    pieces = [(0, piece) for piece in ('{"a":', "[1,2", "]}")] + [
        (1, piece) for piece in ("{", '"b":2', "}")
    ]
    if seed % 2:
        pieces = [pieces[at] for at in (0, 3, 1, 4, 2, 5)]
    chunks += [make_call(0, id="c1", name="f"), make_call(1, id="c2", name="g")]
    chunks += [make_call(index, arguments=piece) for index, piece in pieces] + [
        make_end("tool_calls")
    ]
    batches: list[list[Chunk]] = []
    while chunks:
        size = rng.randint(1, 4)
        batches.append(chunks[:size])
        chunks = chunks[size:]
    events = render_events(batches)
    assert join_deltas(events, "reasoning_text") == texts["reasoning_content"]
    assert join_deltas(events, "output_text") == texts["content"]
    assert join_deltas(events, "refusal") == texts["refusal"]
    assert join_deltas(events, "function_call_arguments") == '{"a":[1,2]}{"b":2}'
    final = read_with_sdk(events)
    assert final.output_text == texts["content"]
    assert [item.type for item in final.output] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
    ]
    done = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    assert done == events[-1]["response"]["output"]


def test_an_answer_that_somebody_else_folds_is_told_once() -> None:
    answer = CollectedAnswer(ID)
    rendering = make_renderer(answer)
    sent = b""
    for batch in (
        [make_delta(REQUEST, content="a")],
        [make_delta(REQUEST, content="b")],
        [make_end()],
    ):
        answer.add_chunks(batch)
        sent += rendering.render_batch(batch)
    assert join_deltas(parse_events(sent), "output_text") == "ab"


def test_a_whole_answer_is_one_object() -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    message = {
        "content": "so",
        "reasoning_content": "hm",
        "annotations": [CITATION],
        "tool_calls": calls,
    }
    raw = make_renderer().render_whole(
        make_completion(REQUEST, message, None, "tool_calls") | {"steps": []}
    )
    found = Response.model_validate_json(raw, strict=True)
    assert [item.type for item in found.output] == ["reasoning", "message", "function_call"]
    assert (found.output_text, found.status, found.id) == ("so", "completed", f"resp_{ID}")
    assert found.usage is not None
    assert found.usage.output_tokens_details.reasoning_tokens == 3
    assert orjson.loads(raw)["steps"] == []


def test_a_whole_answer_and_a_streamed_one_are_the_same_object() -> None:
    chunk = make_completion(REQUEST, {"content": "so", "reasoning_content": "hm"}, None, "length")
    whole = orjson.loads(make_renderer().render_whole(chunk))
    streamed = render_events(
        [
            [make_delta(REQUEST, reasoning_content="hm"), make_delta(REQUEST, content="so")],
            [make_end("length")],
        ]
    )
    assert whole == streamed[-1]["response"]


def test_figures_of_the_upstream_are_believed_and_guesses_told_as_they_are() -> None:
    rendering = make_renderer(usage=TokenUsage(prompt=9, completion=1, estimated=True))
    final = orjson.loads(rendering.render_whole(make_completion(REQUEST, {"content": "x"}, None)))
    assert final["usage"]["input_tokens"] == 9
