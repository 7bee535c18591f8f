"""The Vercel AI SDK with `@ai-sdk/openai-compatible` (npm), unmodified, against a real process of
ours. `npm/ai_compatible.mjs` does what a program would do and prints what it saw.
"""

import json

import pytest

from proxysite.testing import speech
from proxysite.testing.upstream import DONE, send_reply, send_stream
from proxysite.tests.cases import Cases
from proxysite.tests.processes import npm_packages, surroundings

pytestmark = pytest.mark.interop

LARGEST_FLOAT64 = 1.7976931348623157e308
LARGEST_FLOAT32 = 3.4028234663852886e38
both = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])


@pytest.fixture
def sdk(house, house_key, house_upstream):
    env = surroundings(BASE_URL=f"{house.url}/v1", API_KEY=house_key)
    return Cases(("node", "ai_compatible.mjs"), npm_packages(), env)


def say(text, *, streams):
    if streams:
        return send_stream(*speech.streamed_completion(text), DONE)
    return send_reply(speech.chat_completion(text))


def call(number, *, streams, **arguments):
    function = {"name": "convert", "arguments": json.dumps(arguments)}
    made = {"id": f"call_{number}", "type": "function", "function": function}
    message = {"role": "assistant", "reasoning_content": "Hm", "content": None}
    if not streams:
        whole = message | {"tool_calls": [made]}
        return send_reply(speech.chat_completion(None, finish="tool_calls", message=whole))
    return send_stream(
        speech.chat_chunk(message),
        speech.chat_chunk({"tool_calls": [{"index": 0, **made}]}),
        speech.chat_chunk(finish="tool_calls"),
        speech.usage_chunk(),
        DONE,
    )


@both
async def test_two_turns_in_which_the_sdk_runs_a_tool_with_floats(sdk, house_upstream, streams):
    house_upstream.queue_scripts(
        call(1, streams=streams, celsius=20.5),
        say("68.9", streams=streams),
        call(2, streams=streams, celsius=-1e300),
        say("Cold.", streams=streams),
    )
    first, second = await sdk("chat", streams, "20.5 °C?", "And -1e300 °C?")
    assert (first["text"], first["steps"], first["finish"]) == ("68.9", 2, "stop")
    assert (second["text"], second["steps"], second["finish"]) == ("Cold.", 2, "stop")
    assert (first["usage"]["inputTokens"], first["usage"]["outputTokens"]) == (18, 6)
    (tool,) = house_upstream.requests[0].json["tools"]
    fields = tool["function"]["parameters"]["properties"]
    assert fields["celsius"]["maximum"] == LARGEST_FLOAT64
    assert fields["factor"]["maximum"] == pytest.approx(LARGEST_FLOAT32)
    messages = house_upstream.last_exchange.request.json["messages"]
    roles = ["user", "assistant", "tool", "assistant", "user", "assistant", "tool"]
    assert [message["role"] for message in messages] == roles
    assert json.loads(messages[2]["content"])["fahrenheit"] == pytest.approx(68.9)
    assert json.loads(messages[5]["tool_calls"][0]["function"]["arguments"]) == {"celsius": -1e300}
    assert messages[5]["reasoning_content"] == "Hm"


async def test_structured_output(sdk, house_upstream):
    city = {"name": "Zürich", "people": 443000}
    house_upstream.queue_scripts(say(json.dumps(city), streams=False))
    assert await sdk("object") == city
    form = house_upstream.last_exchange.request.json["response_format"]["json_schema"]
    assert form["schema"]["required"] == ["name", "people"]


async def test_embeddings(sdk, house_upstream):
    house_upstream.queue_scripts(send_reply(speech.embedding_list([0.5, -0.25], [1.0, 0.0])))
    seen = await sdk("embeddings", "one", "two")
    assert seen == {"embeddings": [[0.5, -0.25], [1, 0]], "usage": {"tokens": 4}}
    assert house_upstream.last_exchange.request.json["input"] == ["one", "two"]
