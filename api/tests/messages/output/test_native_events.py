"""Events in Anthropic's own words are passed on, alone or among rendered ones."""

import json

from api.tests.messages.message_events import build_streamed_message, read_events
from api.tests.messages.output.rendered_messages import conform_chunks, make_renderer, stream_chunks
from providers.protocol.chunks import NATIVE
from proxysite.testing import speech

MESSAGE = {
    "id": "msg_up",
    "type": "message",
    "role": "assistant",
    "model": "claude-upstream",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 5, "output_tokens": 1},
}


def make_native(*events, **delta):
    return speech.chat_chunk(delta) | {NATIVE: list(events)}


def make_block(index, kind, *deltas, **fields):
    """Return chunks of one block."""
    place = {"index": index}
    start = {"type": "content_block_start", **place, "content_block": {"type": kind, **fields}}
    pieces = [{"type": "content_block_delta", **place, "delta": delta} for delta in deltas]
    return [
        make_native(event) for event in (start, *pieces, {"type": "content_block_stop", **place})
    ]


START = make_native({"type": "message_start", "message": MESSAGE})
END = [
    make_native(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "pause_turn", "stop_sequence": None, "new_field": 1},
            "usage": {"output_tokens": 9, "input_tokens": 5},
        }
    ),
    make_native({"type": "message_stop"}),
]
TEXT = make_block(0, "text", {"type": "text_delta", "text": "Hi"}, text="")


def test_native_events_pass_unchanged_but_for_the_model():
    odd = make_block(1, "server_tool_use", id="srv", name="web_search", input={})
    chunks = [START, make_native({"type": "ping"}), *TEXT, *odd, *END]
    expected = [event for chunk in chunks for event in chunk[NATIVE]]
    expected[0] = {"type": "message_start", "message": MESSAGE | {"model": "m"}}
    assert stream_chunks(chunks) == expected


def test_a_whole_native_message_passes_unchanged_but_for_the_model():
    whole = MESSAGE | {"content": [{"type": "text", "text": "Hi"}], "stop_reason": "end_turn"}
    answer = speech.chat_completion("Hi") | {NATIVE: whole}
    assert json.loads(make_renderer(stream=False).render_whole(answer)) == whole | {"model": "m"}


def test_rendered_blocks_before_native_ones_shift_their_indexes():
    first = conform_chunks([speech.chat_chunk({"content": "Before. "})])
    message = build_streamed_message(stream_chunks([*first, START, *TEXT, *END]))
    assert [block["text"] for block in message["content"]] == ["Before. ", "Hi"]
    assert message["stop_reason"] == "pause_turn"


def test_rendered_blocks_behind_a_native_one_that_is_open_close_it():
    later = [speech.chat_chunk({"content": " Later."}), speech.chat_chunk(finish="stop")]
    message = build_streamed_message(stream_chunks([START, *TEXT[:2], *later]))
    assert [block["text"] for block in message["content"]] == ["Hi", " Later."]
    assert message["stop_reason"] == "end_turn"


def test_a_native_stream_without_its_end_gets_one():
    events = stream_chunks([START, *TEXT, END[0]])
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]


def test_nothing_follows_the_stop_reason():
    events = stream_chunks([START, *TEXT, *END, speech.chat_chunk({"content": "more"})])
    build_streamed_message(events)


def test_a_ping_before_a_native_stream_leaves_one_beginning():
    renderer = make_renderer()
    body = renderer.render_ping() + renderer.render_batch([START, *TEXT, *END])
    message = build_streamed_message(read_events(body + renderer.render_end()))
    assert message["model"] == "m"
