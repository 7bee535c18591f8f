"""Answers and errors of the Responses API by the official `openai` package."""

import json

import openai
import pytest
from openai import OpenAI
from pydantic import BaseModel

from proxysite.testing import speech
from proxysite.testing.upstream import CUT, DONE, send_reply, send_stream
from proxysite.tests.houses.responses.response_events import (
    collect_events,
    list_upstream_messages,
    make_replies,
)

WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    "strict": True,
}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Graz"}'},
}
CALLING = speech.chat_completion(
    None, finish="tool_calls", message={"tool_calls": [CALL], "reasoning_content": "Hm."}
)
NOBODYS = "resp_" + "0" * 32


class City(BaseModel):
    name: str
    people: int


async def test_a_response_is_what_its_row_says_later(client, house_upstream):
    made = await client.responses.create(
        model="m", input="Hi", instructions="Be brief.", metadata={"a": "b"}
    )
    assert (made.output_text, made.status, made.usage.total_tokens) == (
        "Hello there!",
        "completed",
        12,
    )
    assert list_upstream_messages(house_upstream) == [("system", "Be brief."), ("user", "Hi")]
    assert (await client.responses.retrieve(made.id)).to_dict() == made.to_dict()
    items = await client.responses.input_items.list(made.id)
    assert [item.content[0].text for item in items.data] == ["Hi"]
    await client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(made.id)


async def test_the_streaming_helper_puts_the_response_together(client):
    async with client.responses.stream(model="m", input="Hi") as events:
        found = await collect_events(events)
        whole = await events.get_final_response()
    assert [event.sequence_number for event in found] == list(range(len(found)))
    assert (
        "".join(event.delta for event in found if event.type == "response.output_text.delta")
        == "Hello there!"
    )
    assert (found[0].type, found[-1].type) == ("response.created", "response.completed")
    assert whole.output_text == "Hello there!"
    assert (await client.responses.retrieve(whole.id)).output_text == whole.output_text


def test_the_synchronous_client(house, house_key):
    with OpenAI(base_url=f"{house.url}/v1", api_key=house_key) as client:
        first = client.responses.create(model="echo", input="Hello!")
        assert first.output_text == "Hello!"
        with client.responses.create(
            model="echo", input="And again.", previous_response_id=first.id, stream=True
        ) as events:
            assert list(events)[-1].response.output_text == "And again."


async def test_what_the_model_thought_is_told_as_text_or_as_a_summary(client, house_upstream):
    thinking = [
        speech.chat_chunk({"role": "assistant", "reasoning_content": "Hm"}),
        *speech.streamed_completion("Yes."),
    ]
    house_upstream.queue_scripts(*[send_stream(*thinking, DONE)] * 2)
    events = await collect_events(await client.responses.create(model="m", input="Hi", stream=True))
    assert [event.delta for event in events if event.type == "response.reasoning_text.delta"] == [
        "Hm"
    ]
    assert events[-1].response.output[0].content[0].text == "Hm"
    events = await collect_events(
        await client.responses.create(
            model="m", input="Hi", stream=True, reasoning={"effort": "low", "summary": "auto"}
        )
    )
    assert [
        event.delta for event in events if event.type == "response.reasoning_summary_text.delta"
    ] == ["Hm"]
    assert events[-1].response.output[0].summary[0].text == "Hm"
    assert events[-1].response.output_text == "Yes."
    assert house_upstream.last_exchange.request.json["reasoning_effort"] == "low"


@pytest.mark.parametrize("way", ["previous_response_id", "items"])
async def test_a_function_is_called_and_its_result_heard(client, house_upstream, way):
    house_upstream.queue_scripts(send_reply(CALLING), *make_replies("Sunny."))
    first = await client.responses.create(
        model="m", input="Weather?", tools=[WEATHER], tool_choice="required"
    )
    thought, call = first.output
    assert (thought.type, call.type, json.loads(call.arguments)) == (
        "reasoning",
        "function_call",
        {"city": "Graz"},
    )
    result = {"type": "function_call_output", "call_id": call.call_id, "output": "25 degrees"}
    if way == "items":  # what a program that keeps the history itself sends
        given = {
            "input": [{"role": "user", "content": "Weather?"}, *first.output, result],
            "store": False,
        }
    else:
        given = {"input": [result], "previous_response_id": first.id}
    second = await client.responses.create(model="m", tools=[WEATHER], **given)
    assert second.output_text == "Sunny."
    assert list_upstream_messages(house_upstream) == [
        ("user", "Weather?"),
        ("assistant", None),
        ("tool", "25 degrees"),
    ]
    (_, calling, answered) = house_upstream.last_exchange.request.json["messages"]
    assert (calling["tool_calls"], calling["reasoning_content"]) == ([CALL], "Hm.")
    assert answered["tool_call_id"] == "call_1"


async def test_structured_output_is_parsed(client, house_upstream):
    text = json.dumps({"name": "Graz", "people": 300000})
    house_upstream.queue_scripts(
        *make_replies(text), send_stream(*speech.streamed_completion(text[:5], text[5:]), DONE)
    )
    whole = await client.responses.parse(model="m", input="Which city?", text_format=City)
    assert whole.output_parsed == City(name="Graz", people=300000)
    form = house_upstream.last_exchange.request.json["response_format"]["json_schema"]
    assert (form["name"], form["strict"], form["schema"]["required"]) == (
        "City",
        True,
        ["name", "people"],
    )
    async with client.responses.stream(model="m", input="Which city?", text_format=City) as events:
        assert (await events.get_final_response()).output_parsed == whole.output_parsed


async def test_input_tokens_are_counted_and_nobody_is_asked(client, house_upstream):
    short = await client.responses.input_tokens.count(model="m", input="Hello!")
    long = await client.responses.input_tokens.count(
        model="m",
        input="Hello!",
        instructions="Answer in as few words as you can.",
        tools=[WEATHER],
    )
    assert 0 < short.input_tokens < long.input_tokens
    assert house_upstream.requests == []
    first = await client.responses.create(model="m", input="One two three four five.")
    after = await client.responses.input_tokens.count(
        model="m", input="Hello!", previous_response_id=first.id
    )
    assert after.input_tokens > short.input_tokens


async def test_errors_are_of_the_packages_classes(client, house_upstream):
    ask = client.responses.create
    with pytest.raises(openai.NotFoundError) as caught:
        await ask(model="nothing", input="Hi")
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.AuthenticationError) as caught:
        await client.with_options(api_key="sk-ps-wrong").responses.create(model="m", input="Hi")
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.NotFoundError):
        await ask(model="m", input="Hi", previous_response_id=NOBODYS)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(NOBODYS)
    with pytest.raises(openai.BadRequestError) as caught:
        await ask(
            model="m",
            input="Hi",
            tools=[{"type": "code_interpreter", "container": {"type": "auto"}}],
            tool_choice={"type": "code_interpreter"},
        )
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "tool_choice")
    assert house_upstream.requests == []


async def test_a_stream_that_breaks_ends_as_failed(client, house_upstream):
    house_upstream.queue_scripts(send_stream(*speech.content_chunks("Once"), CUT))
    events = await collect_events(await client.responses.create(model="m", input="Hi", stream=True))
    assert events[-1].type == "response.failed"
    assert events[-1].response.error.code == "server_error"
    assert (await client.responses.retrieve(events[-1].response.id)).status == "failed"
