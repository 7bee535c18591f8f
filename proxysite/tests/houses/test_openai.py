"""The official `openai` package, as it is, against a real process of ours."""

import asyncio
import json
import struct
from base64 import b64encode

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from proxysite.testing import speech, wait_until_true
from proxysite.testing.house import UPSTREAM_TOKEN
from proxysite.testing.upstream import (
    CUT,
    DONE,
    PAUSE,
    Gate,
    answer_honestly,
    send_refusal,
    send_reply,
    send_stream,
)

HELLO = [{"role": "user", "content": "Hello!"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Graz"}'},
}


class Event(BaseModel):
    name: str
    guests: list[str]


@pytest.fixture
async def client(house, house_key, house_upstream):
    """The package's asynchronous client, with its own defaults but for the second try of what
    failed.
    """
    async with AsyncOpenAI(base_url=f"{house.url}/v1", api_key=house_key, max_retries=0) as found:
        yield found


@pytest.fixture
async def rested(house, client, house_upstream):
    """For tests that harm the token: after them it is as new again, and in use."""
    yield
    house_upstream.set_default_script(answer_honestly())

    async def answered():
        house.run_sql(
            "UPDATE tokens_upstreamtoken SET state = 'active', strikes = 0, rests_until = NULL"
        )
        try:
            return await ask(client)
        except openai.APIStatusError:
            return None

    await wait_until_true(answered)


def ask(client, **more):
    return client.chat.completions.create(model="m", messages=HELLO, **more)


# --- answers --------------------------------------------------------------------------------------
async def test_a_chat_completion(client, house_upstream):
    answer = await ask(client, temperature=0.5, extra_body={"x_vendor": 1})
    assert answer.choices[0].message.content == "Hello there!"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "m"
    assert answer.usage.total_tokens == 12
    assert house_upstream.last_exchange.request.bearer_token == UPSTREAM_TOKEN
    assert house_upstream.last_exchange.request.json["x_vendor"] == 1


async def test_a_streamed_chat_completion(client):
    async with await ask(client, stream=True, stream_options={"include_usage": True}) as chunks:
        found = [chunk async for chunk in chunks]
    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in found if chunk.choices)
        == "Hello there!"
    )
    assert found[0].choices[0].delta.role == "assistant"
    assert [chunk.usage for chunk in found[:-1]] == [None] * (len(found) - 1)
    assert found[-1].usage.total_tokens == 12


async def test_the_streaming_helper_puts_the_answer_together(client):
    async with client.chat.completions.stream(model="m", messages=HELLO) as events:
        kinds = [event.type async for event in events]
        whole = await events.get_final_completion()
    assert whole.choices[0].message.content == "Hello there!"
    assert {"chunk", "content.delta", "content.done"} <= set(kinds)


def test_the_synchronous_client(house, house_key):
    with OpenAI(base_url=f"{house.url}/v1", api_key=house_key) as client:
        answer = client.chat.completions.create(model="echo", messages=HELLO)
        assert answer.choices[0].message.content == "Hello!"
        with client.chat.completions.create(model="echo", messages=HELLO, stream=True) as chunks:
            assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello!"


async def test_tools(client, house_upstream):
    house_upstream.queue_scripts(
        send_reply(
            speech.chat_completion(None, finish="tool_calls", message={"tool_calls": [CALL]})
        ),
        send_stream(
            speech.chat_chunk({"role": "assistant", "tool_calls": [{"index": 0} | CALL]}),
            speech.chat_chunk(finish="tool_calls"),
            DONE,
        ),
    )
    answer = await ask(client, tools=[WEATHER], tool_choice="required")
    (call,) = answer.choices[0].message.tool_calls
    assert json.loads(call.function.arguments) == {"city": "Graz"}
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    async with client.chat.completions.stream(
        model="m", messages=[*HELLO, answer.choices[0].message, result], tools=[WEATHER]
    ) as events:
        streamed = await events.get_final_completion()
    assert streamed.choices[0].message.tool_calls[0].function.name == "weather"
    sent = house_upstream.last_exchange.request.json["messages"]
    assert sent[1]["tool_calls"][0]["id"] == "call_1"
    assert sent[2] == result


async def test_parse_with_a_schema(client, house_upstream):
    wanted = {"name": "dinner", "guests": ["Ann", "Bo"]}
    house_upstream.queue_scripts(send_reply(speech.chat_completion(json.dumps(wanted))))
    answer = await client.chat.completions.parse(model="m", messages=HELLO, response_format=Event)
    assert answer.choices[0].message.parsed == Event(**wanted)
    sent = house_upstream.last_exchange.request.json["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["strict"] is True
    assert sent["json_schema"]["schema"]["properties"].keys() == {"name", "guests"}


async def test_embeddings_as_the_package_asks_for_them_and_as_numbers(client, house_upstream):
    vector = [0.5, -0.25, 1.0]
    house_upstream.queue_scripts(
        send_reply(speech.embedding_list(b64encode(struct.pack("<3f", *vector)).decode())),
        send_reply(speech.embedding_list(vector)),
    )
    by_default = await client.embeddings.create(model="m", input="a")
    assert by_default.data[0].embedding == vector
    assert house_upstream.last_exchange.request.json["encoding_format"] == "base64"
    as_numbers = await client.embeddings.create(model="m", input=["a"], encoding_format="float")
    assert as_numbers.data[0].embedding == vector
    assert as_numbers.usage.total_tokens == 4
    assert len((await client.embeddings.create(model="echo", input="a")).data[0].embedding) > 3


async def test_legacy_completions(client):
    answer = await client.completions.create(model="m", prompt="Hi")
    assert answer.choices[0].text == "Hello there!"
    async with await client.completions.create(model="m", prompt="Hi", stream=True) as chunks:
        assert "".join([chunk.choices[0].text async for chunk in chunks]) == "Hello there!"


async def test_models(client):
    assert [model.id async for model in client.models.list()] == ["echo", "m"]
    one = await client.models.retrieve("m")
    assert (one.id, one.object, one.owned_by) == ("m", "model", "fake")


async def test_headers_of_the_raw_answer(client):
    raw = await client.chat.completions.with_raw_response.create(model="m", messages=HELLO)
    assert raw.headers["x-request-id"].startswith("req_")
    assert raw.headers["openai-processing-ms"].isdigit()
    assert raw.http_response.headers["openai-version"]
    answer = raw.parse()
    assert answer.choices[0].message.content == "Hello there!"
    assert answer._request_id == raw.headers["x-request-id"]


# --- errors ---------------------------------------------------------------------------------------
async def test_a_wrong_key(client):
    with pytest.raises(openai.AuthenticationError) as caught:
        await ask(client.with_options(api_key="sk-ps-wrong"))
    assert caught.value.code == "invalid_api_key"
    assert caught.value.request_id.startswith("req_")


async def test_an_unknown_model_and_an_unknown_address(client):
    with pytest.raises(openai.NotFoundError) as caught:
        await client.chat.completions.create(model="nothing", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("nothing")
    with pytest.raises(openai.NotFoundError) as caught:
        await client.fine_tuning.jobs.list()
    assert caught.value.code == "unknown_url"


async def test_a_wrong_field(client):
    with pytest.raises(openai.BadRequestError) as caught:
        await ask(client, temperature=9)
    assert caught.value.param == "temperature"
    assert caught.value.type == "invalid_request_error"


async def test_a_key_that_may_not_use_the_model(client, house):
    key = (
        await asyncio.to_thread(house.run_manage_command, "issue_key", "guest", "--models", "echo")
    ).splitlines()[-1]
    with pytest.raises(openai.PermissionDeniedError) as caught:
        await ask(client.with_options(api_key=key))
    assert caught.value.type == "permission_error"
    assert [model.id async for model in client.with_options(api_key=key).models.list()] == ["echo"]


async def test_a_rate_limit(client, house_upstream, rested):
    house_upstream.queue_scripts(send_refusal(429, retry_after="30"))
    with pytest.raises(openai.RateLimitError) as caught:
        await ask(client)
    assert caught.value.code == "rate_limit_exceeded"
    assert int(caught.value.response.headers["retry-after"]) >= 30


async def test_a_refusal_of_the_upstream(client, house_upstream):
    house_upstream.queue_scripts(
        send_refusal(400, "Too long.", "context_length_exceeded"), send_refusal(422, "Odd.")
    )
    with pytest.raises(openai.BadRequestError, match="Too long") as caught:
        await ask(client)
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.UnprocessableEntityError):
        await ask(client)


async def test_a_rejected_token_is_a_503_and_not_tried_again_by_the_package(
    client, house_upstream, rested
):
    house_upstream.set_default_script(send_refusal(401))
    with pytest.raises(openai.APIStatusError) as caught:
        await ask(client)
    assert (caught.value.status_code, caught.value.code) == (503, "no_available_token")


async def test_two_failures_of_the_upstream_are_not_seen_by_the_package(client, house_upstream):
    house_upstream.queue_scripts(send_refusal(500), send_refusal(503))
    assert await ask(client.with_options(max_retries=0))
    assert len(house_upstream.requests) == 3  # its only token is asked twice more


async def test_the_package_asks_again_after_all_attempts_of_the_gateway(client, house_upstream):
    house_upstream.queue_scripts(*[send_refusal(500)] * 3)
    assert await ask(client.with_options(max_retries=1))
    assert len(house_upstream.requests) == 4


async def test_a_stream_that_breaks_raises(client, house_upstream):
    house_upstream.queue_scripts(send_stream(*speech.content_chunks("one"), PAUSE, CUT))
    said = []
    with pytest.raises(openai.APIError, match="upstream") as caught:  # noqa: PT012
        async with await ask(client, stream=True) as chunks:
            async for chunk in chunks:
                said.append(chunk.choices[0].delta.content)
                house_upstream.gate.open()
    assert said == ["one"]
    assert caught.value.code == "upstream_disconnected"


async def test_a_client_that_closes_early_frees_the_upstream(client, house_upstream):
    house_upstream.queue_scripts(send_stream(*speech.content_chunks("one"), Gate()))
    chunks = await ask(client, stream=True)
    assert (await anext(chunks)).choices[0].delta.content == "one"
    await chunks.close()
    async with asyncio.timeout(1):
        await house_upstream.last_exchange.gateway_left.wait()
