"""Streamed and whole messages are the same, however the chunks are cut."""

import json
import random

import pytest

from api.messages.request.answer_wishes import AnswerWishes
from api.tests.messages.message_events import build_streamed_message, read_events
from api.tests.messages.output.rendered_messages import (
    SHOWN,
    conform_chunks,
    make_renderer,
    stream_chunks,
    stream_message,
    whole_message,
)
from conversations.messages.opaque_text import decode_opaque_text
from providers.exceptions import Disconnected
from proxysite.testing import speech

ARGUMENTS = ['{"a": "}\\"]{", "b": [1, {"c": "é\\\\"}]}', "{}", '{"path": "x.py"}']
TEXT = "Two lines\nwith “quotes”, 😀 and \\ backslashes."
THOUGHT = "Hm. <think>?"


def cut_text(text, rng):
    """Return pieces of a text, cut at random places."""
    cuts = sorted(rng.sample(range(1, len(text)), min(rng.randrange(6), len(text) - 1)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def make_deltas(rng, *, calls, interleaved):
    """Return the deltas of an answer with thinking, text and calls."""
    deltas = [{"reasoning_content": piece} for piece in cut_text(THOUGHT, rng)]
    deltas += [{"content": piece} for piece in cut_text(TEXT, rng)]
    heads = []
    pieces = []
    for index in range(calls):
        function = {"name": f"tool_{index}", "arguments": ""}
        head = {"index": index, "id": f"call_{index}", "type": "function", "function": function}
        heads.append({"tool_calls": [head]})
        pieces.append(
            [
                {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
                for piece in cut_text(ARGUMENTS[index], rng)
            ]
        )
    if not interleaved:
        return deltas + [
            delta for head, rest in zip(heads, pieces, strict=True) for delta in (head, *rest)
        ]
    deltas += heads
    while any(pieces):
        deltas.append(rng.choice([rest for rest in pieces if rest]).pop(0))
    return deltas


def make_chunks(deltas, finish):
    return [
        speech.chat_chunk({"role": "assistant", "content": ""}),
        *map(speech.chat_chunk, deltas),
        speech.chat_chunk(finish=finish),
        speech.usage_chunk(),
    ]


@pytest.mark.parametrize("seed", range(60))
def test_streamed_and_whole_are_the_same_for_every_cut(seed):
    rng = random.Random(seed)
    calls = seed % 4
    deltas = make_deltas(rng, calls=calls, interleaved=bool(seed % 2))
    chunks = make_chunks(deltas, "tool_calls" if calls else "stop")
    streamed = stream_message(chunks)
    assert streamed == whole_message(chunks)
    kinds = [block["type"] for block in streamed["content"]]
    assert kinds == ["thinking", "text", *["tool_use"] * calls]
    assert [block["input"] for block in streamed["content"][2:]] == [
        json.loads(text) for text in ARGUMENTS[:calls]
    ]
    batches = stream_chunks(conform_chunks(chunks), batch_size=1 + seed % 5)
    assert build_streamed_message(batches) == streamed


def test_calls_that_come_alternately_are_blocks_one_after_the_other():
    chunks = make_chunks(make_deltas(random.Random(1), calls=3, interleaved=True), "tool_calls")
    events = stream_chunks(conform_chunks(chunks))
    order = [event["index"] for event in events if "index" in event]
    assert order == sorted(order)


def test_the_usage_counts_cached_tokens_apart():
    message = stream_message(make_chunks([{"content": "Hi"}], "stop"))
    usage = message["usage"]
    assert usage["input_tokens"] == 10
    assert usage["cache_read_input_tokens"] == 60
    assert usage["cache_creation_input_tokens"] == 30
    assert usage["output_tokens"] == 7
    assert usage == whole_message(make_chunks([{"content": "Hi"}], "stop"))["usage"]


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
    ],
)
def test_finish_reasons_become_stop_reasons(finish, reason):
    chunks = make_chunks([{"content": "Hi"}], finish)
    assert stream_message(chunks)["stop_reason"] == reason
    assert whole_message(chunks)["stop_reason"] == reason


def test_a_refusal_is_a_text_and_the_reason():
    chunks = make_chunks([{"refusal": "I will"}, {"refusal": " not."}], "stop")
    for message in (stream_message(chunks), whole_message(chunks)):
        assert message["content"] == [{"type": "text", "text": "I will not."}]
        assert message["stop_reason"] == "refusal"
        assert message["stop_details"]["type"] == "refusal"


@pytest.mark.parametrize("field", ["stop_reason", "matched_stop"])
def test_a_stop_sequence_that_a_server_names_is_told(field):
    wishes = AnswerWishes(stop_sequences=frozenset(("END",)))
    chunks = make_chunks([{"content": "Hi"}], "stop")
    chunks[-2]["choices"][0][field] = "END"
    for message in (stream_message(chunks, wishes), whole_message(chunks, wishes)):
        assert message["stop_reason"] == "stop_sequence"
        assert message["stop_sequence"] == "END"


def test_thinking_is_shown_only_where_it_is_wanted():
    chunks = make_chunks([{"reasoning_content": "Hm"}, {"content": "Hi"}], "stop")
    for render in (stream_message, whole_message):
        hidden = render(chunks, AnswerWishes())
        assert [block["type"] for block in hidden["content"]] == ["text"]
        omitted = render(chunks, AnswerWishes(shows_thinking=True, omits_thinking_text=True))
        thinking = omitted["content"][0]
        assert thinking["thinking"] == ""
        assert decode_opaque_text(thinking["signature"]) == "Hm"


def test_an_answer_without_content_is_a_message_without_blocks():
    chunks = make_chunks([], "stop")
    assert stream_message(chunks)["content"] == whole_message(chunks)["content"] == []


def test_sources_of_a_search_become_citations():
    note = {"type": "url_citation", "url_citation": {"url": "https://a.example", "title": "A"}}
    chunks = make_chunks([{"content": "Hi"}, {"annotations": [note]}], "stop")
    (block,) = stream_message(chunks)["content"]
    (citation,) = block["citations"]
    assert citation["type"] == "web_search_result_location"
    assert (citation["url"], citation["title"]) == ("https://a.example", "A")
    assert whole_message(chunks)["content"] == [block]


def test_a_broken_stream_ends_with_an_error_event():
    renderer = make_renderer()
    begun = renderer.render_batch(conform_chunks([speech.chat_chunk({"content": "Hi"})]))
    failure = renderer.render_failure(Disconnected("It broke."))
    *_, last = read_events(begun + failure)
    assert last["type"] == "error"
    assert last["error"] == {"type": "api_error", "message": "It broke."}


def test_a_ping_comes_behind_the_beginning():
    renderer = make_renderer()
    first, second = renderer.render_ping(), renderer.render_ping()
    chunks = conform_chunks(make_chunks([{"content": "Hi"}], "stop"))
    events = read_events(first + second + renderer.render_batch(chunks) + renderer.render_end())
    assert [event["type"] for event in events[:3]] == ["message_start", "ping", "ping"]
    assert build_streamed_message(events)["content"] == [{"type": "text", "text": "Hi"}]


def test_what_an_upstream_wants_back_with_a_call_is_sealed():
    extras = {"extra_content": {"google": {"thought_signature": "sig"}}}
    function = {"name": "look", "arguments": "{}"}
    call = {"index": 0, "id": "c1", "type": "function", "function": function, **extras}
    chunks = make_chunks([{"tool_calls": [call]}], "tool_calls")
    sealed, made = stream_message(chunks, AnswerWishes())["content"]
    assert json.loads(decode_opaque_text(sealed["data"])) == {"calls": {"c1": extras}}
    assert made["type"] == "tool_use"
    assert whole_message(chunks, AnswerWishes())["content"] == [sealed, made]


def test_signed_thinking_of_a_chat_upstream_keeps_its_signature():
    text = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    deltas = [
        {"reasoning_content": "Hm", "reasoning_details": [text | {"text": "Hm"}]},
        {"reasoning_content": "m", "reasoning_details": [text | {"text": "m"}]},
        {"reasoning_details": [text | {"signature": "c2ln"}]},
        {
            "reasoning_details": [
                {"type": "reasoning.encrypted", "data": "ZW5j", "format": "anthropic-claude-v1"}
            ]
        },
        {"content": "Hi"},
    ]
    chunks = make_chunks(deltas, "stop")
    content = stream_message(chunks, SHOWN)["content"]
    assert content == [
        {"type": "thinking", "thinking": "Hmm", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "ZW5j"},
        {"type": "text", "text": "Hi"},
    ]
    assert whole_message(chunks, SHOWN)["content"] == content
