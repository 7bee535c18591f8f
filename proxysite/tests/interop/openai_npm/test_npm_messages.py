"""The official `@anthropic-ai/sdk` package of npm, unmodified, against a real gateway with a
scripted chat upstream behind it.

`npm/anthropic.mjs` does what a program would do and prints what it saw.
"""

import json

import pytest

from proxysite.testing import speech
from proxysite.testing.upstream import DONE, Script, send_reply, send_stream
from proxysite.tests.cases import Cases
from proxysite.tests.processes import surroundings

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="module")]
both = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])


@pytest.fixture(scope="module")
def client(node, packages, gateway):
    env = surroundings(BASE_URL=gateway.url, API_KEY=gateway.issue_key("bob"))
    return Cases(("node", "anthropic.mjs"), packages, env)


def say(text: str, streams: bool) -> Script:
    if streams:
        return send_stream(*speech.streamed_completion(text), DONE)
    return send_reply(speech.chat_completion(text))


def call_weather(streams: bool) -> Script:
    """Return the script of an upstream that thinks and then calls the tool."""
    function = {"name": "weather", "arguments": json.dumps({"city": "Graz"})}
    call = {"id": "call_1", "type": "function", "function": function}
    message = {"role": "assistant", "reasoning_content": "Hm", "content": None}
    if not streams:
        whole = message | {"tool_calls": [call]}
        return send_reply(speech.chat_completion(None, finish="tool_calls", message=whole))
    return send_stream(
        speech.chat_chunk(message),
        speech.chat_chunk({"tool_calls": [{"index": 0, **call}]}),
        speech.chat_chunk(finish="tool_calls"),
        speech.usage_chunk(),
        DONE,
    )


@both
async def test_a_message_comes_as_the_package_knows_it(client, upstream, streams):
    upstream.queue_scripts(say("Hi.", streams))
    seen = await client("message", streams)
    assert [(block["type"], block["text"]) for block in seen["content"]] == [("text", "Hi.")]
    assert (seen["stop_reason"], seen["model"]) == ("end_turn", "m")
    assert (seen["usage"]["input_tokens"], seen["usage"]["output_tokens"]) == (9, 3)


async def test_a_stream_comes_in_pieces(client, upstream):
    upstream.queue_scripts(send_stream(*speech.streamed_completion("Hel", "lo."), DONE))
    assert await client("texts") == ["Hel", "lo."]


@both
async def test_a_tool_is_called_and_its_result_goes_to_the_model(client, upstream, streams):
    upstream.queue_scripts(call_weather(streams), say("Wet.", streams))
    seen = await client("tool", streams)
    assert seen == {"first": ["thinking", "tool_use"], "stop": "tool_use", "text": "Wet."}
    messages = upstream.requests[-1].json["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool"]
    assert messages[1]["reasoning_content"] == "Hm"
    assert messages[2]["content"] == "It rains in Graz."


async def test_tokens_are_counted_and_models_are_listed_page_by_page(client):
    assert await client("count") > 5
    assert {"m", "limited", "slow"} <= set(await client("models"))


async def test_errors_are_told_apart(client):
    wrong_key = await client("error", {}, "wrong")
    assert wrong_key == {
        "name": "AuthenticationError",
        "status": 401,
        "type": "authentication_error",
        "known": True,
    }
    unknown = await client("error", {"model": "nothing"})
    assert (unknown["name"], unknown["type"]) == ("NotFoundError", "not_found_error")
    wrong = await client("error", {"max_tokens": -1})
    assert (wrong["name"], wrong["type"]) == ("BadRequestError", "invalid_request_error")


async def test_whoever_asks_for_batches_learns_where_they_are(client):
    assert "in OpenAI's form, at /v1/batches" in await client("batches")
