"""Anthropic's own package against a real process of ours, with a chat upstream behind it."""

import pytest

from proxysite.testing import speech
from proxysite.testing.upstream import send_reply
from proxysite.tests.cases import Cases
from proxysite.tests.interop.python_clients.conftest import SCRIPTS, call, say
from proxysite.tests.processes import pip_programs, surroundings

pytestmark = pytest.mark.interop

both = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])


@pytest.fixture
def client(house, house_key, tmp_path):
    env = surroundings(BASE_URL=f"{house.url}/v1", API_KEY=house_key, HOME=str(tmp_path))
    return Cases((pip_programs("anthropic") / "python", "anthropic_client.py"), SCRIPTS, env)


@both
async def test_thinking_and_a_call_come_as_the_package_knows_them(client, house_upstream, streams):
    house_upstream.queue_scripts(call("weather", streams=streams, city="Graz"))
    seen = await client("message", streams)
    thinking, made = seen["content"]
    assert thinking["thinking"] == "Hm"
    assert made["name"] == "weather"
    assert made["input"] == {"city": "Graz"}
    assert seen["stop"] == "tool_use"
    assert seen["usage"]["input_tokens"] == 9
    assert seen["usage"]["output_tokens"] == 3
    assert seen["model"] == "m"
    if streams:
        assert {"thinking", "signature", "input_json", "message_stop"} <= set(seen["kinds"])


@both
async def test_its_tool_runner_calls_a_tool_and_asks_again(client, house_upstream, streams):
    house_upstream.queue_scripts(
        call("weather", streams=streams, city="Graz"), *say("Wet.", streams=streams)
    )
    assert await client("tool_runner", streams) == [["tool_use"], ["text"]]
    messages = house_upstream.last_exchange.request.json["messages"]
    assert [message["role"] for message in messages] == ["user", "assistant", "tool"]
    assert messages[2]["content"] == "It rains in Graz."


async def test_it_counts_tokens_and_lists_models(client):
    assert await client("count") > 5
    seen = await client("models")
    assert "m" in seen["ids"]
    assert seen["types"] == ["model"]
    assert seen["one"][0] == "m"


async def test_it_tells_errors_apart(client, house_upstream):
    body = speech.openai_error_body("Too long.", "invalid_request_error")
    house_upstream.queue_scripts(send_reply(body, status=400))
    assert await client("errors") == [
        ["NotFoundError", 404, "not_found_error", True],
        ["BadRequestError", 400, "invalid_request_error", True],
        ["AuthenticationError", 401, "authentication_error", True],
        ["BadRequestError", 400, "invalid_request_error", True],
    ]


async def test_a_thread_is_refused_in_the_way_that_it_understands(client):
    assert await client("thread") == ["ThreadUnsupportedRequestError", "thread_unsupported_request"]
