"""A whole answer where a stream was asked for, and a stream where none was."""

import pytest

from proxysite.testing import rows, speech
from proxysite.testing.upstream import DONE, send_reply, send_stream


async def test_a_stream_that_comes_as_one_answer_is_made_a_stream(gateway, upstream, alice):
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    upstream.queue_scripts(
        send_reply(
            speech.chat_completion("Hi.", finish="tool_calls", message={"tool_calls": [call]})
        )
    )
    answer = await gateway.request_chat(
        alice.key, stream=True, stream_options={"include_usage": True}
    )
    assert answer.is_complete
    assert answer.text == "Hi."
    assert answer.events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert {event["object"] for event in answer.events} == {"chat.completion.chunk"}
    assert answer.events[0]["choices"][0]["delta"]["tool_calls"][0]["index"] == 0
    assert answer.finish_reasons == ["tool_calls"]
    assert answer.events[-1]["usage"] == speech.token_usage()
    assert (await rows.read_only_usage_record()).status == "complete"


# --- a stream that nobody asked for ---------------------------------------------------------------
USED = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json", "text/plain"])
async def test_a_stream_in_answer_to_a_whole_request_becomes_one_whole_answer(
    gateway, upstream, alice, token, kind
):
    events = [
        *speech.streamed_completion("Hello", " there", "!")[:-1],
        speech.usage_chunk(USED),
        DONE,
    ]
    upstream.queue_scripts(send_stream(*events, content_type=kind))
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert answer.json["object"] == "chat.completion"
    assert answer.json["choices"][0]["finish_reason"] == "stop"
    assert answer.json["usage"]["completion_tokens"] == 5
    assert len(upstream.requests) == 1
    assert gateway.count_failures() == 0
    row = await rows.read_only_usage_record()
    assert (row.status, row.prompt_tokens, row.completion_tokens, row.estimated) == (
        "complete",
        3,
        5,
        False,
    )


async def test_a_stream_in_answer_to_a_whole_completion_becomes_one_too(gateway, upstream, alice):
    upstream.queue_scripts(send_stream(*speech.streamed_text_completion("Hello there!"), DONE))
    answer = await gateway.send_request(
        "POST", "/v1/completions", alice.key, json={"model": "m", "prompt": "Hello!"}
    )
    assert answer.status == 200
    assert answer.json["object"] == "text_completion"
    assert answer.json["choices"][0]["text"] == "Hello there!"
    assert gateway.count_failures() == 0


async def test_a_stream_that_breaks_off_is_no_whole_answer(gateway, upstream, alice):
    upstream.queue_scripts(send_stream(*speech.content_chunks("Hello")))
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (502, "upstream_disconnected")


async def test_an_error_in_a_stream_that_nobody_asked_for_means_what_it_says(
    gateway, upstream, alice, token
):
    upstream.queue_scripts(
        send_stream({"error": {"message": "No sk-up-1.", "code": "invalid_api_key"}})
    )
    assert (await gateway.request_chat(alice.key)).status == 503
    assert (await gateway.read_token_row(token)).strikes == 1
