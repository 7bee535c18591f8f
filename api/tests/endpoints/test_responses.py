"""/v1/responses by the official client: stored, followed, streamed, in conversations."""

import json

import openai
import pytest

from conversations.models import Conversation, EventBatch, Item, Turn
from providers.database.database_threads import run_in_thread
from proxysite.testing import speech
from proxysite.testing.upstream import CUT, DONE, send_refusal, send_reply, send_stream

WEATHER = {
    "type": "function",
    "name": "weather",
    "parameters": {"type": "object", "properties": {}},
    "strict": False,
}


@pytest.fixture
async def client(gateway, alice):
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=alice.key, max_retries=0
    ) as found:
        yield found


@pytest.fixture
async def stranger(gateway, mallory):
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=mallory.key, max_retries=0
    ) as found:
        yield found


def words(*texts):
    return [send_reply(speech.chat_completion(text)) for text in texts]


def told(upstream, at=-1):
    return upstream.requests[at].json["messages"]


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


async def test_a_response_is_answered_stored_and_found_again(client, upstream):
    upstream.queue_scripts(*words("Hello."))
    made = await client.responses.create(
        model="m", input="Hi", instructions="Be brief.", metadata={"a": "b"}
    )
    assert (made.output_text, made.status, made.usage.total_tokens) == ("Hello.", "completed", 12)
    assert told(upstream) == [{"role": "system", "content": "Be brief."}, user("Hi")]
    found = await client.responses.retrieve(made.id)
    assert found.model_dump() == made.model_dump()
    items = await client.responses.input_items.list(made.id)
    assert [(item.role, item.content[0].text) for item in items.data] == [("user", "Hi")]


async def test_a_response_goes_on_after_another_and_may_branch_off(client, upstream):
    upstream.queue_scripts(*words("One.", "Two.", "Three.", "Zwei."))
    first = await client.responses.create(model="m", input="1", instructions="Count.")
    second = await client.responses.create(model="m", input="2", previous_response_id=first.id)
    assert told(upstream) == [
        user("1"),
        assistant("One."),
        user("2"),
    ]  # instructions are not carried over
    third = await client.responses.create(model="m", input="3", previous_response_id=second.id)
    assert told(upstream) == [user("1"), assistant("One."), user("2"), assistant("Two."), user("3")]
    assert third.previous_response_id == second.id
    await client.responses.create(model="m", input="zwei", previous_response_id=first.id)
    assert told(upstream) == [user("1"), assistant("One."), user("zwei")]
    assert await run_in_thread(Conversation.objects.count) == 2


async def test_what_is_not_stored_may_follow_what_is(client, upstream):
    upstream.queue_scripts(*words("One.", "Two."))
    first = await client.responses.create(model="m", input="1")
    second = await client.responses.create(
        model="m", input="2", previous_response_id=first.id, store=False
    )
    assert told(upstream) == [user("1"), assistant("One."), user("2")]
    assert second.store is False
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(second.id)
    assert await run_in_thread(Turn.objects.count) == 1


async def test_another_users_response_and_an_unknown_one_are_the_same_404(
    client, stranger, upstream
):
    upstream.queue_scripts(*words("One."))
    first = await client.responses.create(model="m", input="1")
    unknown = "resp_" + "0" * 32
    for ask in (
        lambda name: stranger.responses.retrieve(name),
        lambda name: stranger.responses.delete(name),
        lambda name: stranger.responses.cancel(name),
        lambda name: stranger.responses.input_items.list(name),
        lambda name: stranger.responses.create(model="m", input="2", previous_response_id=name),
    ):
        bodies = []
        for name in (first.id, unknown):
            with pytest.raises(openai.NotFoundError) as found:
                await ask(name)
            bodies.append(found.value.response.text.replace(name, "ID"))
        assert bodies[0] == bodies[1]
    assert len(upstream.requests) == 1
    assert (await client.responses.retrieve(first.id)).output_text == "One."


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
    upstream.queue_scripts(send_reply(calling), *words("Sunny."))
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
    assert told(upstream) == [
        user("Weather?"),
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
    upstream.queue_scripts(*words("Sunny."))
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
    assert [message.get("reasoning_content") for message in told(upstream)] == [None, "hm", None]


async def test_a_result_that_comes_behind_a_new_question_is_told_behind_its_call(client, upstream):
    """The Vercel AI SDK sends its question once more with the result; it is said once (F15)."""
    call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    upstream.queue_scripts(
        send_reply(
            speech.chat_completion(None, message={"tool_calls": [call]}, finish="tool_calls")
        ),
        *words("Sunny."),
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
    roles = [message["role"] for message in told(upstream)]
    assert roles == ["user", "assistant", "tool"]


async def test_the_form_of_the_text_is_asked_for(client, upstream):
    upstream.queue_scripts(*words('{"a": 1}'))
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    form = {"format": {"type": "json_schema", "name": "thing", "schema": schema, "strict": True}}
    made = await client.responses.create(model="m", input="Go", text=form)
    asked = upstream.requests[0].json["response_format"]
    assert asked == {
        "type": "json_schema",
        "json_schema": {"name": "thing", "schema": schema, "strict": True},
    }
    assert json.loads(made.output_text) == {"a": 1}


async def test_responses_of_a_conversation_stand_in_it(client, upstream):
    upstream.queue_scripts(*words("Hello Ann.", "You are Ann."))
    begun = [{"type": "message", "role": "user", "content": "I am Ann."}]
    conversation = await client.conversations.create(items=begun)
    await client.responses.create(model="m", input="Hi", conversation=conversation.id)
    assert told(upstream) == [user("I am Ann."), user("Hi")]
    made = await client.responses.create(
        model="m", input="Who am I?", conversation=conversation.id, store=False
    )
    assert told(upstream)[2:] == [assistant("Hello Ann."), user("Who am I?")]
    assert made.conversation.id == conversation.id
    found = await client.conversations.items.list(conversation.id, order="asc")
    assert [item.content[0].text for item in found.data] == [
        "I am Ann.", "Hi", "Hello Ann.", "Who am I?", "You are Ann."
    ]  # fmt: skip


async def test_a_conversation_that_is_not_there_is_not_begun(client, upstream):
    for name in ("conv_" + "0" * 32, "my own"):
        with pytest.raises(openai.NotFoundError):
            await client.responses.create(model="m", input="Hi", conversation=name)
    assert (len(upstream.requests), await run_in_thread(Turn.objects.count)) == (0, 0)


async def test_an_item_may_be_named_instead_of_told(client, stranger, upstream):
    upstream.queue_scripts(*words("One.", "Two."))
    first = await client.responses.create(model="m", input="1")
    named = [{"type": "item_reference", "id": first.output[0].id}, {"role": "user", "content": "2"}]
    await client.responses.create(model="m", input=named)
    assert told(upstream) == [assistant("One."), user("2")]
    with pytest.raises(openai.NotFoundError):
        await stranger.responses.create(model="m", input=named)


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


async def test_a_deleted_response_leaves_nothing(client, upstream):
    upstream.queue_scripts(*words("One."))
    made = await client.responses.create(model="m", input="1")
    await client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(made.id)
    counts = await run_in_thread(
        lambda: [model.objects.count() for model in (Conversation, Turn, Item, EventBatch)]
    )
    assert counts == [0, 0, 0, 0]


async def test_a_key_that_stores_nothing_gets_responses_that_are_not_stored(
    gateway, client, upstream, alice
):
    await run_in_thread(type(alice.row).objects.update, stores_content=False)
    await gateway.reload_rows()
    upstream.queue_scripts(*words("One."))
    made = await client.responses.create(model="m", input="1", store=True)
    assert (made.output_text, made.store) == ("One.", False)
    for more in (
        {"background": True},
        {"previous_response_id": made.id},
        {"conversation": "conv_" + "0" * 32},
    ):
        with pytest.raises(openai.PermissionDeniedError):
            await client.responses.create(model="m", input="1", **more)
    assert await run_in_thread(Turn.objects.count) == 0
