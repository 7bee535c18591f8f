"""A model that Anthropic and another service answer for."""

import pytest

from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from proxysite.testing.anthropic_speech import (
    answer_message,
    send_error,
    text_block,
    thinking_block,
    tool_block,
)

MARK = {"cache_control": {"type": "ephemeral"}}
PART = {"type": "text", "text": "A long document."}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
MARKED = {
    "messages": [{"role": "user", "content": [PART | MARK]}],
    "tools": [TOOL | MARK],
    "temperature": 0.3,
}


@WHOLE_AND_STREAMED
@pytest.mark.parametrize("status", [429, 529])
async def test_another_service_answers_and_gets_the_chat_body_without_marks(
    gateway, alice, upstream, second, status, streams
):
    other, _ = second
    kind = "overloaded_error" if status == 529 else "rate_limit_error"
    upstream.set_default_script(send_error(status, kind))
    answer = await gateway.request_chat(alice.key, stream=streams, **MARKED)
    assert answer.text == "Hello there!"
    sent = other.requests[0].json
    assert sent["messages"] == [{"role": "user", "content": [PART]}]
    assert (sent["tools"], sent["temperature"]) == ([TOOL], 0.3)
    first = upstream.requests[0].json
    assert first["messages"][0]["content"] == [PART | MARK]
    assert first["tools"][0]["cache_control"] == MARK["cache_control"]


async def test_a_conversation_with_signed_thinking_goes_on_at_the_other_service(
    gateway, alice, upstream, second
):
    other, _ = second
    blocks = [thinking_block("Hm."), text_block("So"), tool_block("f", "toolu_1", a=1)]
    upstream.queue_scripts(answer_message(*blocks, stop="tool_use"))
    first = await gateway.request_chat(alice.key, tools=[TOOL])
    message = first.json["choices"][0]["message"]
    upstream.set_default_script(send_error(529, "overloaded_error"))
    result = {"role": "tool", "tool_call_id": "toolu_1", "content": "1"}
    messages = [{"role": "user", "content": "Hi"}, message, result]
    answer = await gateway.request_chat(alice.key, messages=messages, tools=[TOOL])
    assert answer.text == "Hello there!"
    assert other.requests[0].json["messages"][2] == result


async def test_a_request_that_anthropic_cannot_do_goes_to_the_service_that_can(
    gateway, alice, upstream, second
):
    other, _ = second
    answer = await gateway.request_chat(alice.key, n=2)
    assert (answer.status, len(upstream.requests), len(other.requests)) == (200, 0, 1)
