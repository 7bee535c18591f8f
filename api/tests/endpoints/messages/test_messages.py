"""Messages over a chat upstream: texts, thinking, calls, usage, streamed and whole."""

from api.tests.endpoints.messages.conftest import receive_message, request_message
from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from proxysite.testing import speech
from proxysite.testing.upstream import DONE, answer_honestly, send_reply, send_stream

CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "look", "arguments": '{"at": "x"}'},
}
TOOLS = [{"name": "look", "description": "Look.", "input_schema": {"type": "object"}}]


@WHOLE_AND_STREAMED
async def test_a_text_comes_as_a_message(gateway, alice, upstream, streams):
    upstream.queue_scripts(answer_honestly("Hello", " there", "!"))
    message = await receive_message(gateway, alice.key, streams=streams)
    assert message["content"] == [{"type": "text", "text": "Hello there!"}]
    assert message["model"] == "m"
    assert message["role"] == "assistant"
    assert message["stop_reason"] == "end_turn"
    assert message["usage"]["input_tokens"] == 9
    assert message["usage"]["output_tokens"] == 3
    sent = upstream.last_exchange.request.json
    assert sent["messages"] == [{"role": "user", "content": "Hello!"}]
    assert sent["max_tokens"] == 100


@WHOLE_AND_STREAMED
async def test_thinking_and_a_call_come_as_blocks(gateway, alice, upstream, streams):
    if streams:
        head = CALL | {"index": 0, "function": {"name": "look", "arguments": ""}}
        script = send_stream(
            speech.chat_chunk({"role": "assistant", "reasoning_content": "Hm"}),
            speech.chat_chunk({"reasoning_content": "m."}),
            speech.chat_chunk({"content": "I look."}),
            speech.chat_chunk({"tool_calls": [head]}),
            speech.chat_chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"at":'}}]}),
            speech.chat_chunk({"tool_calls": [{"index": 0, "function": {"arguments": ' "x"}'}}]}),
            speech.chat_chunk(finish="tool_calls"),
            speech.usage_chunk(),
            DONE,
        )
    else:
        whole = {"reasoning_content": "Hmm.", "content": "I look.", "tool_calls": [CALL]}
        script = send_reply(speech.chat_completion(None, finish="tool_calls", message=whole))
    upstream.queue_scripts(script)
    message = await receive_message(
        gateway, alice.key, streams=streams, tools=TOOLS, thinking={"type": "adaptive"}
    )
    thinking, text, call = message["content"]
    assert thinking == {"type": "thinking", "thinking": "Hmm.", "signature": "proxysite."}
    assert text == {"type": "text", "text": "I look."}
    assert call == {"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": "x"}}
    assert message["stop_reason"] == "tool_use"


async def test_an_error_has_anthropics_form(gateway, alice):
    answer = await request_message(gateway, alice.key, max_tokens=None)
    assert answer.status == 400
    assert answer.json["type"] == "error"
    assert answer.json["error"] == {
        "type": "invalid_request_error",
        "message": "max_tokens: Field required",
    }
    assert answer.json["request_id"] == answer.headers["request-id"]
