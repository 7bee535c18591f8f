"""What a response says: events, thinking, calls, and how it ends."""

import json

import openai
import pytest

from api.tests.endpoints.chat_messages import answer_texts, get_sent_messages, user_message
from conversations.models import Turn
from providers.database.database_threads import run_in_thread
from proxysite.testing import speech
from proxysite.testing.upstream import CUT, DONE, send_refusal, send_reply, send_stream

WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {}},
    "strict": False,
}


async def test_a_stream_of_events_ends_when_the_turn_is_in_the_log(client, upstream):
    upstream.queue_scripts(send_stream(*speech.streamed_completion("Hel", "lo."), DONE))
    kinds, texts = [], []
    async with client.responses.stream(model="m", input="Hi") as events:
        async for event in events:
            kinds.append(event.type)
            if event.type == "response.output_text.delta":
                texts.append(event.delta)
            if event.type == "response.completed":
                rows = await run_in_thread(
                    lambda: list(Turn.objects.values_list("status", flat=True))
                )
                assert rows == ["completed"]
        final = await events.get_final_response()
    assert ("".join(texts), final.output_text) == ("Hello.", "Hello.")
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert (await client.responses.retrieve(final.id)).output_text == "Hello."


async def test_thinking_and_calls_are_items_and_go_back_upstream(client, upstream):
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    calling = speech.chat_completion(
        None, message={"tool_calls": [call], "reasoning_content": "hm"}, finish="tool_calls"
    )
    upstream.queue_scripts(send_reply(calling), *answer_texts("Sunny."))
    first = await client.responses.create(model="m", input="Weather?", tools=[WEATHER])
    assert [item.type for item in first.output] == ["reasoning", "function_call"]
    result = {
        "type": "function_call_output",
        "call_id": first.output[1].call_id,
        "output": "25 degrees",
    }
    second = await client.responses.create(
        model="m", input=[result], tools=[WEATHER], previous_response_id=first.id
    )
    assert get_sent_messages(upstream) == [
        user_message("Weather?"),
        {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "25 degrees"},
    ]
    assert upstream.requests[-1].json["tools"][0]["function"]["name"] == "weather"
    assert second.output_text == "Sunny."


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
async def test_thinking_that_is_not_stored_can_be_brought_back_sealed(client, upstream, streams):
    calls = [
        {
            "index": 0,
            "id": "call_1",
            "type": "function",
            "function": {"name": "weather", "arguments": "{}"},
        }
    ]
    said = {"role": "assistant", "reasoning_content": "hm", "content": None, "tool_calls": calls}
    whole = send_reply(speech.chat_completion(None, message=said, finish="tool_calls"))
    upstream.queue_scripts(
        send_stream(speech.chat_chunk(said), speech.chat_chunk(finish="tool_calls"), DONE)
        if streams
        else whole
    )
    upstream.queue_scripts(*answer_texts("Sunny."))
    sealed = {
        "model": "m",
        "tools": [WEATHER],
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    if streams:
        async with client.responses.stream(input="Weather?", **sealed) as events:
            first = await events.get_final_response()
    else:
        first = await client.responses.create(input="Weather?", **sealed)
    thought = {
        "type": "reasoning",
        "summary": [],
        "encrypted_content": first.output[0].encrypted_content,
    }
    call = first.output[1].to_dict()
    result = {"type": "function_call_output", "call_id": "call_1", "output": "25 degrees"}
    await client.responses.create(
        input=[{"role": "user", "content": "Weather?"}, thought, call, result], **sealed
    )
    assert [message.get("reasoning_content") for message in get_sent_messages(upstream)] == [
        None,
        "hm",
        None,
    ]


async def test_a_result_that_comes_behind_a_new_question_is_told_behind_its_call(client, upstream):
    """The Vercel AI SDK sends its question once more with the result; it is said once (F15)."""
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    upstream.queue_scripts(
        send_reply(
            speech.chat_completion(None, message={"tool_calls": [call]}, finish="tool_calls")
        ),
        *answer_texts("Sunny."),
    )
    talk = await client.conversations.create()
    more = {"model": "m", "tools": [WEATHER], "conversation": talk.id}
    first = await client.responses.create(input="Weather?", **more)
    result = {
        "type": "function_call_output",
        "call_id": first.output[0].call_id,
        "output": "25 degrees",
    }
    await client.responses.create(input=[{"role": "user", "content": "Weather?"}, result], **more)
    roles = [message["role"] for message in get_sent_messages(upstream)]
    assert roles == ["user", "assistant", "tool"]


async def test_the_form_of_the_text_is_asked_for(client, upstream):
    upstream.queue_scripts(*answer_texts('{"a": 1}'))
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form = {"format": {"type": "json_schema", "name": "thing", "schema": schema, "strict": True}}
    made = await client.responses.create(model="m", input="Go", text=form)
    asked = upstream.requests[0].json["response_format"]
    assert asked == {
        "type": "json_schema",
        "json_schema": {"name": "thing", "schema": schema, "strict": True},
    }
    assert json.loads(made.output_text) == {"a": 1}


async def test_an_error_before_the_first_word_keeps_its_status_and_is_kept_as_failed(
    client, upstream
):
    upstream.queue_scripts(send_refusal(400, "No."))
    with pytest.raises(openai.BadRequestError):
        await client.responses.create(model="m", input="Hi")
    (row,) = await run_in_thread(lambda: list(Turn.objects.all()))
    found = await client.responses.retrieve(f"resp_{row.pk.hex}")
    assert (found.status, found.error.message) == ("failed", "No.")


async def test_a_stream_that_breaks_is_never_told_as_complete(client, upstream):
    upstream.queue_scripts(send_stream(*speech.content_chunks("Once"), CUT))
    kinds = []
    async for event in await client.responses.create(model="m", input="Hi", stream=True):
        kinds.append(event.type)
        last = event
    assert kinds[-1] == "response.failed"
    assert (last.response.status, last.response.error.message != "") == ("failed", True)
    found = await client.responses.retrieve(last.response.id)
    assert (found.status, found.output[0].status) == ("failed", "incomplete")
    assert found.output_text == "Once"


async def test_an_answer_that_was_too_long_is_incomplete(client, upstream):
    upstream.queue_scripts(send_reply(speech.chat_completion("Once upon", finish="length")))
    made = await client.responses.create(model="m", input="Hi", max_output_tokens=16)
    assert (made.status, made.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert (await client.responses.retrieve(made.id)).model_dump() == made.model_dump()
