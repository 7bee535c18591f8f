"""Tool calls of upstreams that support them, as they really come: every endpoint says the same."""

import json
from typing import Any

import pytest

from proxysite.testing import speech
from proxysite.testing.upstream import DONE, Script, send_reply, send_stream

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city"],
}
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}
CUSTOM = {"type": "custom", "custom": {"name": "code"}}
FORCED = {"type": "function", "function": {"name": "weather"}}
ARGUMENTS = '{"city": "北京"}'
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": ARGUMENTS}}
CUSTOM_CALL = {"id": "c2", "type": "custom", "custom": {"name": "code", "input": "print(1)"}}
EXTRA = {"google": {"thought_signature": "c2ln"}}
KIMI_CALL = (
    "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0"
    f"<|tool_call_argument_begin|>{ARGUMENTS}<|tool_call_end|><|tool_calls_section_end|>"
)
BOTH = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])


def answer_calls(
    *calls: dict[str, Any], streams: bool, finish: str | None = "tool_calls"
) -> Script:
    """An upstream's answer with these calls."""
    if not streams:
        message = {"content": None, "tool_calls": list(calls)}
        return send_reply(speech.chat_completion("", message=message, finish=finish))
    deltas = [{"tool_calls": [{"index": index, **call}]} for index, call in enumerate(calls)]
    end = [speech.chat_chunk(finish=finish)] if finish else []
    return send_stream(*map(speech.chat_chunk, deltas), *end, DONE)


def answer_text(text: str, field: str, *, streams: bool) -> Script:
    if not streams:
        message = {"content": None, field: text}
        return send_reply(speech.chat_completion("", message=message))
    pieces = [text[start : start + 5] for start in range(0, len(text), 5)]
    chunks = [speech.chat_chunk({field: piece}) for piece in pieces]
    return send_stream(*chunks, speech.chat_chunk(finish="stop"), DONE)


def read_choice(answer: Any, *, streams: bool) -> tuple[str, str, list[dict[str, Any]]]:
    """Text, finish reason and calls of a chat answer."""
    if not streams:
        choice = answer.json["choices"][0]
        message = choice["message"]
        return message.get("content") or "", choice["finish_reason"], message.get("tool_calls", [])
    choices = [event["choices"][0] for event in answer.events if event["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    calls: dict[int, dict[str, Any]] = {}
    for part in (part for one in choices for part in one["delta"].get("tool_calls", ())):
        call = calls.setdefault(part["index"], {"function": {"arguments": ""}})
        arguments = call["function"]["arguments"]
        function = call["function"] | part.get("function", {})
        call |= {name: value for name, value in part.items() if name != "index"}
        if "custom" in part:
            del call["function"]
            continue
        function["arguments"] = arguments + part.get("function", {}).get("arguments", "")
        call["function"] = function
    return text, choices[-1]["finish_reason"], [calls[index] for index in sorted(calls)]


@BOTH
@pytest.mark.parametrize("field", ["content", "reasoning_content"])
async def test_tokens_of_a_call_that_slip_through_are_a_call(
    gateway, upstream, alice, streams, field
):
    upstream.queue_scripts(answer_text(KIMI_CALL, field, streams=streams))
    answer = await gateway.request_chat(alice.key, tools=[WEATHER], stream=streams)
    text, finish, calls = read_choice(answer, streams=streams)
    assert (text, finish) == ("", "tool_calls")
    assert [call["function"] for call in calls] == [CALL["function"]]
    assert b"<|tool_call" not in answer.body


@BOTH
async def test_without_tools_the_same_tokens_are_text(gateway, upstream, alice, streams):
    upstream.queue_scripts(answer_text(KIMI_CALL, "content", streams=streams))
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert read_choice(answer, streams=streams) == (KIMI_CALL, "stop", [])


@BOTH
async def test_custom_calls_pass(gateway, upstream, alice, streams):
    upstream.queue_scripts(answer_calls(CUSTOM_CALL, streams=streams))
    answer = await gateway.request_chat(alice.key, tools=[CUSTOM], stream=streams)
    assert read_choice(answer, streams=streams) == ("", "tool_calls", [CUSTOM_CALL])


@BOTH
@pytest.mark.parametrize(
    ("choice", "finish"), [("auto", "tool_calls"), ("required", "tool_calls"), (FORCED, "stop")]
)
async def test_a_stop_with_calls_is_mended_unless_the_function_was_forced(
    gateway, upstream, alice, streams, choice, finish
):
    upstream.queue_scripts(answer_calls(CALL, streams=streams, finish="stop"))
    answer = await gateway.request_chat(
        alice.key, tools=[WEATHER], tool_choice=choice, stream=streams
    )
    assert read_choice(answer, streams=streams) == ("", finish, [CALL])


@BOTH
async def test_calls_without_a_finish_reason_are_a_normal_end(gateway, upstream, alice, streams):
    upstream.queue_scripts(answer_calls(CALL, streams=streams, finish=None))
    answer = await gateway.request_chat(alice.key, tools=[WEATHER], stream=streams)
    assert answer.status == 200
    assert b"error" not in answer.body
    assert read_choice(answer, streams=streams) == ("", "tool_calls", [CALL])


@BOTH
async def test_no_arguments_are_an_empty_object(gateway, upstream, alice, streams):
    function = {"name": "weather", "arguments": ""}
    upstream.queue_scripts(answer_calls(CALL | {"function": function}, streams=streams))
    answer = await gateway.request_chat(alice.key, tools=[WEATHER], stream=streams)
    [call] = read_choice(answer, streams=streams)[2]
    assert call["function"] == {"name": "weather", "arguments": "{}"}


@BOTH
async def test_a_signature_comes_back_in_the_next_turn_of_a_conversation(
    gateway, upstream, alice, streams
):
    upstream.queue_scripts(
        answer_calls(CALL | {"extra_content": EXTRA}, streams=streams),
        send_reply(speech.chat_completion("Fine.")),
    )
    path = "/v1/chat/completions/signed"
    body = {"model": "m", "tools": [WEATHER], "stream": streams}
    ask = [{"role": "user", "content": "How is it?"}]
    first = await gateway.send_request("POST", path, alice.key, json=body | {"messages": ask})
    assert first.status == 200
    result = [{"role": "tool", "tool_call_id": "c1", "content": "Sunny"}]
    await gateway.send_request(
        "POST", path, alice.key, json=body | {"messages": result, "stream": False}
    )
    [call] = upstream.requests[-1].json["messages"][1]["tool_calls"]
    assert call == CALL | {"extra_content": EXTRA}


async def test_a_signature_comes_back_behind_a_previous_response(gateway, upstream, alice):
    upstream.queue_scripts(
        answer_calls(CALL | {"extra_content": EXTRA}, streams=False),
        send_reply(speech.chat_completion("Fine.")),
    )
    tool = {"type": "function"} | WEATHER["function"]
    body = {"model": "m", "tools": [tool]}
    first = await gateway.send_request(
        "POST", "/v1/responses", alice.key, json=body | {"input": "How is it?"}
    )
    output = [{"type": "function_call_output", "call_id": "c1", "output": "Sunny"}]
    more = {"previous_response_id": first.json["id"], "input": output}
    await gateway.send_request("POST", "/v1/responses", alice.key, json=body | more)
    [call] = upstream.requests[-1].json["messages"][1]["tool_calls"]
    assert call == CALL | {"extra_content": EXTRA}


async def test_a_message_beside_a_delta_is_said_once(gateway, upstream, alice):
    chunks = [speech.chat_chunk({"role": "assistant", "content": text}) for text in ("h", "i")]
    for chunk, message in zip(chunks, ("h", "hi"), strict=True):
        chunk["choices"][0]["message"] = {"role": "assistant", "content": message}
    upstream.queue_scripts(send_stream(*chunks, speech.chat_chunk(finish="stop"), DONE))
    body = {"model": "m", "input": "Hi", "stream": True}
    answer = await gateway.send_request("POST", "/v1/responses", alice.key, json=body)
    lines = answer.body.decode().splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert "".join(event["delta"] for event in deltas) == "hi"
    [message] = events[-1]["response"]["output"]
    assert message["content"][0]["text"] == "hi"
