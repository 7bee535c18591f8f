"""Bodies of the Responses API at the endpoint of chat completions, as Cursor sends them (F20)."""

import orjson
import pytest

from proxysite.testing import speech
from proxysite.testing.upstream import DONE, send_stream

TOOL = {"type": "function", "name": "read", "description": "d", "parameters": {"type": "object"}}
NESTED = {
    "type": "function",
    "function": {"name": "read", "description": "d", "parameters": {"type": "object"}},
}
CALL = {"id": "c1", "type": "function", "function": {"name": "read", "arguments": "{}"}}
INPUT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "input_text", "text": "Read it."}]},
    {"type": "function_call", "call_id": "c1", "name": "read", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "text"},
]
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Read it."},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "text"},
]


async def post(gateway, person, **fields):
    path = "/v1/chat/completions"
    return await gateway.send_request("POST", path, person.key, json={"model": "m"} | fields)


async def test_input_is_understood_and_answered_as_a_chat_completion(gateway, upstream, alice):
    answer = await post(
        gateway,
        alice,
        input=INPUT,
        tools=[TOOL, {"type": "web_search"}],
        tool_choice={"type": "function", "name": "read"},
        reasoning={"effort": "low", "summary": "auto"},
        text={"format": {"type": "text"}, "verbosity": "low"},
        max_output_tokens=50,
        include=["reasoning.encrypted_content"],
        prompt_cache_retention="24h",
        user="u",
        metadata={"run": "1"},
        store=False,
    )
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert answer.json["object"] == "chat.completion"
    assert upstream.last_exchange.request.json == {
        "model": "upstream-model",
        "messages": MESSAGES,
        "tools": [NESTED],
        "tool_choice": {"type": "function", "function": {"name": "read"}},
        "reasoning_effort": "low",
        "verbosity": "low",
        "max_tokens": 50,
        "prompt_cache_retention": "24h",
        "user": "u",
    }


async def test_a_stream_is_one_of_chat_chunks_with_usage_if_asked_for(gateway, upstream, alice):
    piece = {"tool_calls": [{"index": 0, **CALL}]}
    end = [speech.chat_chunk(finish="tool_calls"), speech.usage_chunk(), DONE]
    upstream.queue_scripts(send_stream(speech.chat_chunk(piece), *end))
    answer = await post(
        gateway,
        alice,
        input="Read it.",
        tools=[TOOL],
        stream=True,
        stream_options={"include_usage": True},
    )
    assert {event["object"] for event in answer.events} == {"chat.completion.chunk"}
    assert answer.events[0]["choices"][0]["delta"]["tool_calls"][0]["function"]["name"] == "read"
    assert answer.events[-1]["usage"]["total_tokens"] == 12


async def test_fields_of_chat_completions_may_stand_beside_it(gateway, upstream, alice):
    response_format = {"type": "json_object"}
    answer = await post(
        gateway, alice, input="hi", max_tokens=5, n=2, response_format=response_format, stop=["x"]
    )
    assert answer.status == 200
    sent = upstream.last_exchange.request.json
    assert (sent["max_tokens"], sent["n"], sent["stop"]) == (5, 2, ["x"])
    assert sent["response_format"] == response_format


async def test_a_custom_tool_is_sent_in_the_form_of_chat_completions(gateway, upstream, alice):
    grammar = {"syntax": "lark", "definition": "start: x"}
    custom = {"type": "custom", "name": "ApplyPatch", "format": {"type": "grammar", **grammar}}
    calls = [
        {"role": "user", "content": "Patch."},
        {"type": "custom_tool_call", "call_id": "c1", "name": "ApplyPatch", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "ok"},
    ]
    choice = {"type": "custom", "name": "ApplyPatch"}
    await post(gateway, alice, input=calls, tools=[custom], tool_choice=choice)
    sent = upstream.last_exchange.request.json
    nested = {"name": "ApplyPatch", "format": {"type": "grammar", "grammar": grammar}}
    assert sent["tools"] == [{"type": "custom", "custom": nested}]
    assert sent["tool_choice"] == {"type": "custom", "custom": {"name": "ApplyPatch"}}
    assert sent["messages"][1]["tool_calls"] == [
        {"id": "c1", "type": "custom", "custom": {"name": "ApplyPatch", "input": "x"}}
    ]


async def test_flat_tools_beside_messages_are_nested(gateway, upstream, alice):
    choice = {"type": "function", "name": "read"}
    assert (await gateway.request_chat(alice.key, tools=[TOOL], tool_choice=choice)).status == 200
    sent = upstream.last_exchange.request.json
    assert sent["tools"] == [NESTED]
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "read"}}


async def test_it_may_be_a_turn_of_a_conversation(gateway, upstream, alice):
    for text in ("One.", "Two."):
        answer = await post(gateway, alice, input=text, conversation_id="c")
        assert answer.json["conversation_id"] == "c"
    sent = upstream.last_exchange.request.json["messages"]
    assert [message["content"] for message in sent] == ["One.", "Hello there!", "Two."]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "messages"),
        ({"input": None}, "messages"),
        ({"input": 5}, "input"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].id"),
        ({"input": "x", "previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": "x", "conversation": "conv_1"}, "conversation"),
        ({"input": "x", "background": True}, "background"),
        ({"input": "x", "temperature": 5}, "temperature"),
        ({"input": "x", "tools": [{"type": "function"}]}, "tools[0].name"),
        ({"input": "x", "tools": [{"type": "mcp"}], "tool_choice": {"type": "mcp"}}, "tool_choice"),
        ({"input": "x", "api_base": "http://a"}, "api_base"),
    ],
)
async def test_a_wrong_field_is_refused_by_its_name(gateway, upstream, alice, fields, param):
    answer = await post(gateway, alice, **fields)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert upstream.requests == []


async def test_a_body_that_is_no_chat_body_at_all_says_what_is_missing(gateway, alice):
    raw = orjson.dumps({"model": "m", "prompt": 'a text with "input" in it'})
    headers = {"content-type": "application/json"}
    answer = await gateway.send_request(
        "POST", "/v1/chat/completions", alice.key, content=raw, headers=headers
    )
    assert (answer.status, answer.error["param"]) == (400, "messages")
