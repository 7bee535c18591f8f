"""Events of the Messages API as chunks: unusual ones, and those that cannot be read."""

import pytest

from providers.adapters.anthropic.message_events import MessageEvents
from providers.exceptions import BadResponse, Disconnected
from providers.filters.answer_folder import fold_answer
from providers.tests.adapters.anthropic.message_calls import make_request
from providers.upstream.stream_reader import DialectReader
from providers.wire.sse import EventSplitter
from proxysite.testing.anthropic_speech import (
    encode_event,
    make_message,
    stream_message,
    text_block,
)

TEXT = stream_message(make_message(text_block("Hello")))
START, *_, DELTA, STOP = TEXT


def ignore(event):
    """Raise nothing for an event that reports an error."""


def make_reader():
    events = MessageEvents(make_request(), ignore, is_native=False)
    return DialectReader(events, EventSplitter(2**20))


def read_chunks(*events):
    """Return the chunks of these events, and require that the stream ended well."""
    reader = make_reader()
    data = b"".join(event if isinstance(event, bytes) else encode_event(event) for event in events)
    chunks = reader.feed(data)
    reader.require_finish()
    return chunks


def make_block(block, *deltas):
    """Return the events of a content block."""
    begin = {"type": "content_block_start", "index": 0, "content_block": block}
    pieces = [{"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas]
    return [begin, *pieces, {"type": "content_block_stop", "index": 0}]


def read_message(*events):
    return fold_answer(read_chunks(START, *events, DELTA, STOP))["choices"][0]["message"]


def test_what_a_block_begins_with_counts():
    thought = {"type": "thinking", "thinking": "A", "signature": "s"}
    call = {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}}
    blocks = [thought, {"type": "text", "text": "B"}, call]
    message = read_message(*(event for block in blocks for event in make_block(block)))
    assert (message["reasoning_content"], message["content"]) == ("A", "B")
    assert message["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}
    (detail,) = message["reasoning_details"]
    assert (detail["text"], detail["signature"]) == ("A", "s")


def test_tools_that_run_at_the_upstream_leave_no_calls():
    server_tool = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    piece = {"type": "input_json_delta", "partial_json": '{"query": "x"}'}
    message = read_message(*make_block(server_tool, piece))
    assert "tool_calls" not in message


def test_citations_of_documents_are_no_annotations():
    citation = {"type": "page_location", "document_index": 0, "cited_text": "x"}
    delta = {"type": "citations_delta", "citation": citation}
    message = read_message(*make_block({"type": "text", "text": "B"}, delta))
    assert "annotations" not in message


@pytest.mark.parametrize(
    "event",
    [
        {"type": "content_block_delta", "index": 0},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 1}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "new_delta"}},
        {"type": "content_block_start", "index": 0},
        {"type": "message_delta"},
        {"type": 7},
        {},
    ],
    ids=str,
)
def test_odd_events_are_passed_over(event):
    lines = b"data: %b\n\n" % str(event).replace("'", '"').encode()
    chunks = read_chunks(*TEXT[:-2], lines, DELTA, STOP)
    assert fold_answer(chunks)["choices"][0]["message"]["content"] == "Hello"


def test_a_stream_of_nothing_readable_fails():
    reader = make_reader()
    reader.feed(b"data: [nothing\n\n" * 11)
    with pytest.raises(BadResponse):
        reader.require_finish()


@pytest.mark.parametrize("events", [TEXT[:-1], [START, STOP], []], ids=["no stop", "no reason", ""])
def test_a_stream_that_does_not_say_why_it_ends_has_broken_off(events):
    with pytest.raises(Disconnected):
        read_chunks(*events)


def test_a_character_in_two_halves_is_one():
    halves = [b'{"type":"text_delta","text":"\\ud83d"}', b'{"type":"text_delta","text":"\\ude00"}']
    lines = [
        b'data: {"type":"content_block_delta","index":0,"delta":%b}\n\n' % half for half in halves
    ]
    message = fold_answer(read_chunks(*TEXT[:2], *lines, *TEXT[-3:]))["choices"][0]["message"]
    assert message["content"] == "😀"


def test_later_counts_replace_earlier_ones():
    delta = DELTA | {"usage": {"output_tokens": 50, "input_tokens": None}}
    assert read_chunks(START, delta, STOP)[-1]["usage"]["completion_tokens"] == 50
    assert read_chunks(START, delta, STOP)[-1]["usage"]["prompt_tokens"] == 9
