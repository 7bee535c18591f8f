"""Responses and Conversations by the official `openai` package, as it is, against a real process of
ours.
"""

import asyncio
import json

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from proxysite.testing import speech, wait_until_true
from proxysite.testing.upstream import CUT, DONE, Gate, send_reply, send_stream

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


@pytest.fixture
async def client(house, house_key, house_upstream):
    async with AsyncOpenAI(base_url=f"{house.url}/v1", api_key=house_key, max_retries=0) as found:
        yield found


def said(upstream):
    """What the upstream was told last, as pairs of role and content."""
    return [
        (message["role"], message.get("content"))
        for message in upstream.last_exchange.request.json["messages"]
    ]


def words(*texts):
    return [send_reply(speech.chat_completion(text)) for text in texts]


async def heard(events):
    return [event async for event in events]


# --- answers --------------------------------------------------------------------------------------
async def test_a_response_is_what_its_row_says_later(client, house_upstream):
    made = await client.responses.create(
        model="m", input="Hi", instructions="Be brief.", metadata={"a": "b"}
    )
    assert (made.output_text, made.status, made.usage.total_tokens) == (
        "Hello there!",
        "completed",
        12,
    )
    assert said(house_upstream) == [("system", "Be brief."), ("user", "Hi")]
    assert (await client.responses.retrieve(made.id)).to_dict() == made.to_dict()
    items = await client.responses.input_items.list(made.id)
    assert [item.content[0].text for item in items.data] == ["Hi"]
    await client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(made.id)


async def test_the_streaming_helper_puts_the_response_together(client):
    async with client.responses.stream(model="m", input="Hi") as events:
        found = await heard(events)
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
    events = await heard(await client.responses.create(model="m", input="Hi", stream=True))
    assert [event.delta for event in events if event.type == "response.reasoning_text.delta"] == [
        "Hm"
    ]
    assert events[-1].response.output[0].content[0].text == "Hm"
    events = await heard(
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
    house_upstream.queue_scripts(send_reply(CALLING), *words("Sunny."))
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
    assert said(house_upstream) == [
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
        *words(text), send_stream(*speech.streamed_completion(text[:5], text[5:]), DONE)
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


# --- turns ----------------------------------------------------------------------------------------
async def test_a_response_follows_another(client, house_upstream):
    house_upstream.queue_scripts(*words("One.", "Two.", "Three."))
    first = await client.responses.create(model="m", input="1", instructions="Count.")
    second = await client.responses.create(model="m", input="2", previous_response_id=first.id)
    await client.responses.create(model="m", input="3", previous_response_id=second.id, store=False)
    assert said(house_upstream) == [
        ("user", "1"), ("assistant", "One."), ("user", "2"), ("assistant", "Two."), ("user", "3")
    ]  # fmt: skip


async def test_a_conversation_and_its_items(client, house_upstream):
    begun = [{"type": "message", "role": "user", "content": "I am Ann."}]
    talk = await client.conversations.create(items=begun, metadata={"topic": "names"})
    assert (await client.conversations.retrieve(talk.id)).metadata == {"topic": "names"}
    assert (await client.conversations.update(talk.id, metadata={"topic": "n"})).metadata == {
        "topic": "n"
    }
    house_upstream.queue_scripts(*words("Hello Ann."))
    made = await client.responses.create(model="m", input="Hi", conversation=talk.id)
    assert said(house_upstream) == [("user", "I am Ann."), ("user", "Hi")]
    (more,) = (
        await client.conversations.items.create(talk.id, items=[{"role": "user", "content": "Bye"}])
    ).data
    found = [item async for item in client.conversations.items.list(talk.id, order="asc", limit=2)]
    assert [item.content[0].text for item in found] == ["I am Ann.", "Hi", "Hello Ann.", "Bye"]
    assert (
        await client.conversations.items.retrieve(made.output[0].id, conversation_id=talk.id)
    ).role == "assistant"
    await client.conversations.items.delete(more.id, conversation_id=talk.id)
    with pytest.raises(openai.NotFoundError):
        await client.conversations.items.retrieve(more.id, conversation_id=talk.id)
    assert (await client.conversations.delete(talk.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.responses.create(model="m", input="Hi", conversation=talk.id)
    assert len(house_upstream.requests) == 1


async def test_a_stored_completion(client):
    question = [{"role": "user", "content": "Hello!"}]
    made = await client.chat.completions.create(
        model="m", messages=question, store=True, metadata={"run": "sdk"}
    )
    listed = [one.id async for one in client.chat.completions.list(metadata={"run": "sdk"})]
    assert listed == [made.id]
    found = await client.chat.completions.retrieve(made.id)
    assert found.choices[0].message.content == "Hello there!"
    asked = await client.chat.completions.messages.list(made.id)
    assert [message.content for message in asked.data] == ["Hello!"]
    assert (await client.chat.completions.update(made.id, metadata={"run": "b"})).metadata == {
        "run": "b"
    }
    assert (await client.chat.completions.delete(made.id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.chat.completions.retrieve(made.id)


# --- in the background ----------------------------------------------------------------------------
async def test_a_background_response_goes_on_and_its_events_can_be_come_back_to(
    client, house_upstream
):
    gate = Gate()
    house_upstream.queue_scripts(
        send_stream(*speech.content_chunks("Hel"), gate, *speech.streamed_completion("lo."), DONE)
    )
    before = []
    async with await client.responses.create(
        model="m", input="Hi", background=True, stream=True
    ) as events:
        async for event in events:
            before.append(event)
            if event.type == "response.output_text.delta":
                break
    made = before[0].response
    assert (await client.responses.retrieve(made.id)).status == "in_progress"
    last = before[-1].sequence_number
    after = asyncio.create_task(
        heard(await client.responses.retrieve(made.id, stream=True, starting_after=last))
    )
    gate.open()
    numbers = [event.sequence_number for event in [*before, *await after]]
    assert numbers == list(range(len(numbers)))
    assert after.result()[-1].response.output_text == "Hello."
    assert (await client.responses.retrieve(made.id)).status == "completed"
    async with client.responses.stream(response_id=made.id, starting_after=last) as events:
        assert [event.sequence_number async for event in events] == numbers[last + 1 :]


async def test_a_background_response_is_polled_for(client):
    made = await client.responses.create(model="m", input="Hi", background=True)
    assert made.status == "queued"

    async def done():
        found = await client.responses.retrieve(made.id)
        return found if found.status == "completed" else None

    assert (await wait_until_true(done)).output_text == "Hello there!"


async def test_a_background_response_is_cancelled(client, house_upstream):
    house_upstream.queue_scripts(send_stream(*speech.content_chunks("Hel"), Gate()))
    made = await client.responses.create(model="m", input="Hi", background=True)
    exchange = await house_upstream.wait_for_request()
    found = await client.responses.cancel(made.id)
    assert found.status == "cancelled"
    await exchange.wait_until_left()
    assert (await client.responses.cancel(made.id)).status == "cancelled"


# --- errors ---------------------------------------------------------------------------------------
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
    events = await heard(await client.responses.create(model="m", input="Hi", stream=True))
    assert events[-1].type == "response.failed"
    assert events[-1].response.error.code == "server_error"
    assert (await client.responses.retrieve(events[-1].response.id)).status == "failed"
