"""Tools and structured output by the `openai` package of npm."""

import json
from typing import Any

import pytest

from proxysite.testing import speech
from proxysite.testing.upstream import DONE, send_reply, send_stream

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="module")]
CITY = {"name": "Zürich", "people": 443000}


def make_tool_call(name: str = "get_weather", **arguments: Any) -> dict[str, Any]:
    return {
        "id": "call_1",
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)},
    }


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_tools_are_run_by_the_package(node, upstream, streams):
    call = make_tool_call(city="Zürich")
    if streams:
        start, rest = call["function"]["arguments"][:9], call["function"]["arguments"][9:]
        pieces = [
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    call | {"index": 0, "function": {"name": "get_weather", "arguments": ""}}
                ],
            },
            {"tool_calls": [{"index": 0, "function": {"arguments": start}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": rest}}]},
        ]
        upstream.queue_scripts(
            send_stream(
                *map(speech.chat_chunk, pieces), speech.chat_chunk(finish="tool_calls"), DONE
            )
        )
    else:
        upstream.queue_scripts(
            send_reply(
                speech.chat_completion(
                    None, finish="tool_calls", message={"content": None, "tool_calls": [call]}
                )
            )
        )
    seen = await node("tools", streams)
    assert seen["asked"] == ["Zürich"]
    assert seen["answer"] == "Hello there!"
    first, second = (request.json for request in upstream.requests)
    assert first["tools"][0]["function"]["strict"] is True
    assert second["messages"][-1] == {
        "role": "tool",
        "tool_call_id": "call_1",
        "content": "It rains in Zürich.",
    }
    assert (
        second["messages"][-2]["tool_calls"][0]["function"]["arguments"]
        == call["function"]["arguments"]
    )


async def test_a_forced_tool_is_called(node, upstream):
    upstream.queue_scripts(
        send_reply(
            speech.chat_completion(
                None, message={"content": None, "tool_calls": [make_tool_call(city="Bern")]}
            )
        )
    )
    answer = await node("toolChoice")
    assert upstream.last_exchange.request.json["tool_choice"] == {
        "type": "function",
        "function": {"name": "get_weather"},
    }
    assert json.loads(
        answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"]
    ) == {"city": "Bern"}


async def test_structured_output_is_parsed(node, upstream):
    text = json.dumps(CITY)
    upstream.queue_scripts(send_reply(speech.chat_completion(text)))
    assert (await node("parse"))["parsed"] == CITY
    asked = upstream.last_exchange.request.json["response_format"]
    assert (asked["type"], asked["json_schema"]["name"], asked["json_schema"]["strict"]) == (
        "json_schema",
        "city",
        True,
    )
    assert asked["json_schema"]["schema"]["required"] == ["name", "people"]
    upstream.queue_scripts(
        send_stream(
            *speech.content_chunks(text[:5], text[5:]), speech.chat_chunk(finish="stop"), DONE
        )
    )
    assert (await node("parseStream"))["parsed"] == CITY


async def test_a_refusal_is_no_parsed_answer(node, upstream):
    upstream.queue_scripts(
        send_reply(speech.chat_completion(None, message={"content": None, "refusal": "No."}))
    )
    assert await node("parse") == {"parsed": None, "refusal": "No."}
