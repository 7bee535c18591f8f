"""Calls of tools at upstreams that refuse what they do not know, and calls that slip into texts."""

from api.tests.endpoints.dialects.use_dialect import use_dialect
from proxysite.testing import speech
from proxysite.testing.upstream import send_reply

HI = {"role": "user", "content": "hi"}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SIGNED_CALL = CALL | {"extra_content": {"google": {"thought_signature": "s"}}}
LEAK = (
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0"
    '<|tool_call_argument_begin|>{"a":1}<|tool_call_end|><|tool_calls_section_end|>'
)


def answer_with_call(call) -> dict:
    reply = speech.chat_completion("")
    reply["choices"][0]["message"] |= {"content": None, "tool_calls": [call]}
    reply["choices"][0]["finish_reason"] = "tool_calls"
    return reply


async def ask_two_turns(gateway, upstream, key) -> dict:
    """Make a call with a signature in a kept conversation; returns the call that goes back."""
    upstream.queue_scripts(send_reply(answer_with_call(SIGNED_CALL)))
    ask = {"conversation_id": "talk", "tools": TOOLS}
    await gateway.request_chat(key, messages=[HI], **ask)
    result = {"role": "tool", "tool_call_id": "call_1", "content": "5"}
    assert (await gateway.request_chat(key, messages=[result], **ask)).status == 200
    return upstream.requests[-1].json["messages"][1]["tool_calls"][0]


async def test_a_signature_in_the_log_goes_back_to_the_upstream_that_gave_it(
    gateway, upstream, alice
):
    await use_dialect(gateway, "gemini")
    assert await ask_two_turns(gateway, upstream, alice.key) == SIGNED_CALL


async def test_a_strict_upstream_does_not_get_the_signature_of_another(gateway, upstream, alice):
    await use_dialect(gateway, "mistral")
    assert await ask_two_turns(gateway, upstream, alice.key) == CALL


async def test_a_text_is_not_looked_through_where_no_calls_slip_in(gateway, upstream, alice):
    await use_dialect(gateway, "openai")
    upstream.queue_scripts(send_reply(speech.chat_completion(LEAK)))
    answer = await gateway.request_chat(alice.key, tools=TOOLS)
    assert answer.text == LEAK


async def test_a_row_may_say_which_calls_slip_in(gateway, upstream, alice):
    await use_dialect(gateway, "openai", leaked_forms=["kimi"])
    upstream.queue_scripts(send_reply(speech.chat_completion(LEAK)))
    message = (await gateway.request_chat(alice.key, tools=TOOLS)).json["choices"][0]["message"]
    assert [call["function"]["arguments"] for call in message["tool_calls"]] == ['{"a":1}']
