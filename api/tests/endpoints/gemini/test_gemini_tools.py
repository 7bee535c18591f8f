"""Tools over Gemini's own interface: calls, their signatures, and results over two turns."""

import json

import pytest

from api.tests.endpoints.gemini.gemini_answers import (
    SIGNATURE,
    answer_with,
    make_call,
    make_event,
    text_part,
)

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
QUESTION = {"role": "user", "content": "The weather in Paris and Rome?"}
FIRST_EVENTS = (
    make_event(text_part("I should look.", thought=True)),
    make_event(text_part("Let me see.")),
    make_event(
        make_call("get_weather", SIGNATURE, city="Paris"), make_call("get_weather", city="Rome")
    ),
    make_event(text_part(""), finish="STOP"),
)


def fold_message(answer, streams):
    """Return the message of an answer, however it came."""
    if not streams:
        return answer.json["choices"][0]["message"]
    message = {"role": "assistant", "content": "", "tool_calls": []}
    for event in answer.events:
        for choice in event["choices"]:
            delta = choice["delta"]
            message["content"] += delta.get("content") or ""
            message["tool_calls"] += delta.get("tool_calls") or ()
    return message


@pytest.mark.parametrize("streams", [True, False])
async def test_calls_and_their_signatures_go_over_two_turns(
    gateway, upstream, alice, token, streams
):
    upstream.queue_scripts(
        answer_with(*FIRST_EVENTS, streams=streams),
        answer_with(make_event(text_part("Sunny."), finish="STOP"), streams=streams),
    )
    answer = await gateway.request_chat(
        alice.key, messages=[QUESTION], tools=[TOOL], stream=streams
    )
    assert answer.status == 200, answer.text
    sent = upstream.requests[0]
    method = "streamGenerateContent?alt=sse" if streams else "generateContent"
    assert sent.path == f"/v1/models/gemini-3-flash:{method}"
    assert sent.headers["x-goog-api-key"] == "sk-up-1"
    assert "authorization" not in sent.headers
    assert sent.json["tools"] == [
        {
            "functionDeclarations": [
                {
                    "name": "get_weather",
                    "description": "The weather.",
                    "parametersJsonSchema": TOOL["function"]["parameters"],
                }
            ]
        }
    ]
    message = fold_message(answer, streams)
    assert message["content"] == "Let me see."
    first, second = message["tool_calls"]
    assert json.loads(first["function"]["arguments"]) == {"city": "Paris"}
    assert first["extra_content"] == {"google": {"thought_signature": SIGNATURE}}
    assert "extra_content" not in second
    assert first["id"] != second["id"]

    results = [
        {"role": "tool", "tool_call_id": call["id"], "content": f"sun {number}"}
        for number, call in enumerate(message["tool_calls"])
    ]
    answer = await gateway.request_chat(
        alice.key, messages=[QUESTION, message, *results], tools=[TOOL], stream=streams
    )
    assert answer.text == "Sunny."
    assert upstream.connections == 1  # the end of the bytes leaves the connection usable
    question, calls, responses = upstream.requests[1].json["contents"]
    assert question == {"role": "user", "parts": [{"text": QUESTION["content"]}]}
    assert calls["role"] == "model"
    text, paris, rome = calls["parts"]
    assert text == {"text": "Let me see."}
    assert paris == {
        "functionCall": {"id": first["id"], "name": "get_weather", "args": {"city": "Paris"}},
        "thoughtSignature": SIGNATURE,
    }
    assert "thoughtSignature" not in rome
    assert responses == {
        "role": "user",
        "parts": [
            {
                "functionResponse": {
                    "id": call["id"],
                    "name": "get_weather",
                    "response": {"output": f"sun {number}"},
                }
            }
            for number, call in enumerate(message["tool_calls"])
        ],
    }
