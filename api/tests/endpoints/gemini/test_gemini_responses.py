"""The Responses API over Gemini: signatures of calls come back in the next turn."""

import json

import pytest

from api.tests.endpoints.gemini.gemini_answers import (
    SIGNATURE,
    answer_with,
    make_call,
    make_event,
    text_part,
)

TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize("is_stored", [True, False])
async def test_signatures_come_back_in_the_next_turn(
    gateway, upstream, alice, token, streams, is_stored
):
    upstream.queue_scripts(
        answer_with(
            make_event(text_part("Hmm.", thought=True)),
            make_event(make_call("get_weather", SIGNATURE, call_id="c1", city="Rome")),
            make_event(text_part(""), finish="STOP"),
            streams=streams,
        ),
        answer_with(make_event(text_part("Sunny."), finish="STOP"), streams=streams),
    )
    body = {
        "model": "m",
        "input": [{"role": "user", "content": "Weather?"}],
        "tools": [TOOL],
        "stream": streams,
        "store": is_stored,
    }
    response = await ask(gateway, alice.key, body)
    (call,) = [item for item in response["output"] if item["type"] == "function_call"]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sun"}
    if is_stored:
        body |= {"previous_response_id": response["id"], "input": [result]}
    else:
        body["input"] += [*response["output"], result]
    response = await ask(gateway, alice.key, body)
    assert response["output"][-1]["content"][0]["text"] == "Sunny."
    _, calls, results = upstream.requests[1].json["contents"]
    part = calls["parts"][-1]
    assert part["functionCall"] == {"id": "c1", "name": "get_weather", "args": {"city": "Rome"}}
    assert part["thoughtSignature"] == SIGNATURE
    assert results["parts"][0]["functionResponse"]["response"] == {"output": "sun"}


async def ask(gateway, key, body):
    """Return the response object, however the answer came."""
    answer = await gateway.send_request("POST", "/v1/responses", key, json=body)
    assert answer.status == 200, answer.body
    if not body["stream"]:
        return answer.json
    lines = answer.body.decode().splitlines()
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: {")]
    return json.loads(data[-1])["response"]
