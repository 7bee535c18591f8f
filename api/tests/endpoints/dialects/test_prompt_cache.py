"""An upstream's prompt cache finds again what it was sent before: bytes, order, credential."""

import json

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
HI = {"role": "user", "content": "hi"}


async def test_messages_and_tools_reach_the_upstream_byte_for_byte_in_their_order(
    gateway, upstream, alice
):
    messages = [
        {"content": "Üben\u2028 macht 1.50 €", "role": "system"},
        HI,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"tool_call_id": "call_1", "role": "tool", "content": '{"b":1,"a":2.0}'},
    ]
    tools = [{"function": {"parameters": {"b": 1, "a": 1e-7}, "name": "f"}, "type": "function"}]
    await gateway.request_chat(alice.key, messages=messages, tools=tools)
    await gateway.request_chat(alice.key, messages=[*messages, HI], tools=tools)
    first, second = (json.loads(request.body) for request in upstream.requests)
    assert json.dumps(first["messages"]) == json.dumps(messages)
    assert json.dumps(first["tools"]) == json.dumps(second["tools"]) == json.dumps(tools)
    begun = upstream.requests[0].body.partition(b'"messages":')[2].partition(b"}]")[0]
    assert begun in upstream.requests[1].body
