"""Agents of LangChain and Pydantic AI: several turns with a tool, streams, structured output."""

import json

import pytest

from proxysite.tests.interop.python_clients.conftest import call, say

pytestmark = pytest.mark.interop

CITY = {"name": "Zürich", "people": 443000}
ways = pytest.mark.parametrize("way", ["chat", "responses"])
both = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])


def queue_turns(upstream, *, streams):
    """Queue the answers of three turns; in the second the model calls a function first."""
    upstream.queue_scripts(
        *say("Hi.", streams=streams),
        call("weather", streams=streams, city="Graz"),
        *say("Wet.", "Bye.", streams=streams),
    )


def read_dialogue(upstream):
    """Return roles and texts of the last request, and check the call in it."""
    messages = upstream.last_exchange.request.json["messages"]
    (called,) = [message for message in messages if message.get("tool_calls")]
    (made,) = called["tool_calls"]
    assert made["function"]["name"] == "weather"
    assert json.loads(made["function"]["arguments"]) == {"city": "Graz"}
    return [(message["role"], message["content"] or "") for message in messages]


DIALOGUE = [
    ("system", "Brief."),
    ("user", "Hello!"),
    ("assistant", "Hi."),
    ("user", "Weather?"),
    ("assistant", ""),
    ("tool", "It rains in Graz."),
    ("assistant", "Wet."),
    ("user", "Bye!"),
]


@ways
@both
async def test_a_langchain_agent_runs_a_tool_within_three_turns(
    langchain, house_upstream, way, streams
):
    queue_turns(house_upstream, streams=streams)
    seen = await langchain("chat", way, streams, "Hello!", "Weather?", "Bye!")
    assert [turn["text"] for turn in seen["turns"]] == ["Hi.", "Wet.", "Bye."]
    assert [turn["usage"]["input_tokens"] for turn in seen["turns"]] == [9, 9, 9]
    assert seen["kinds"] == ["human", "ai", "human", "ai", "tool", "ai", "human", "ai"]
    assert read_dialogue(house_upstream) == DIALOGUE
    assert len(house_upstream.requests) == 4


@ways
async def test_langchain_reads_a_stream(langchain, house_upstream, way):
    pieces = await langchain("stream", way, "Hello!")
    assert "".join(pieces) == "Hello there!"
    assert house_upstream.last_exchange.request.json["stream"]


@ways
async def test_langchain_gets_an_object_by_schema(langchain, house_upstream, way):
    house_upstream.queue_scripts(*say(json.dumps(CITY)))
    assert await langchain("structure", way, "json_schema") == CITY
    body = house_upstream.last_exchange.request.json
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["name", "people"]


async def test_langchain_gets_an_object_by_a_call_that_it_asks_for(langchain, house_upstream):
    house_upstream.queue_scripts(call("City", **CITY))
    assert await langchain("structure", "chat", "function_calling") == CITY
    choice = house_upstream.last_exchange.request.json["tool_choice"]
    assert choice == {"type": "function", "function": {"name": "City"}}


async def test_langchain_embeds_texts(langchain, house_upstream):
    assert await langchain("embed", "one") == [[0.5, -0.25]]


@ways
@both
async def test_a_pydantic_ai_agent_runs_a_tool_within_three_turns(
    pydantic_ai, house_upstream, way, streams
):
    queue_turns(house_upstream, streams=streams)
    seen = await pydantic_ai("chat", way, streams, "Hello!", "Weather?", "Bye!")
    assert [turn["text"] for turn in seen["turns"]] == ["Hi.", "Wet.", "Bye."]
    assert [turn["tokens"] for turn in seen["turns"]] == [[9, 3], [18, 6], [9, 3]]
    assert [kind for kind in seen["kinds"] if kind != "thinking"] == [
        *("user-prompt", "text", "user-prompt", "tool-call", "tool-return", "text"),
        *("user-prompt", "text"),
    ]
    assert "thinking" in seen["kinds"]
    assert read_dialogue(house_upstream) == DIALOGUE
    assert len(house_upstream.requests) == 4


@ways
async def test_pydantic_ai_gets_an_object_by_schema(pydantic_ai, house_upstream, way):
    house_upstream.queue_scripts(*say(json.dumps(CITY)))
    assert await pydantic_ai("structure", way, "native") == CITY
    body = house_upstream.last_exchange.request.json
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["name", "people"]


@ways
async def test_pydantic_ai_gets_an_object_by_a_call_that_it_asks_for(
    pydantic_ai, house_upstream, way
):
    house_upstream.queue_scripts(call("final_result", **CITY))
    assert await pydantic_ai("structure", way, "tool") == CITY
    assert house_upstream.last_exchange.request.json["tool_choice"] == "required"
