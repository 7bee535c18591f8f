"""Responses, conversations and stored completions that follow each other, by `openai`."""

import openai
import pytest

from proxysite.tests.houses.responses.response_events import list_upstream_messages, make_replies


async def test_a_response_follows_another(client, house_upstream):
    house_upstream.queue_scripts(*make_replies("One.", "Two.", "Three."))
    first = await client.responses.create(model="m", input="1", instructions="Count.")
    second = await client.responses.create(model="m", input="2", previous_response_id=first.id)
    await client.responses.create(model="m", input="3", previous_response_id=second.id, store=False)
    assert list_upstream_messages(house_upstream) == [
        ("user", "1"), ("assistant", "One."), ("user", "2"), ("assistant", "Two."), ("user", "3")
    ]  # fmt: skip


async def test_a_conversation_and_its_items(client, house_upstream):
    begun = [{"type": "message", "role": "user", "content": "I am Ann."}]
    talk = await client.conversations.create(items=begun, metadata={"topic": "names"})
    assert (await client.conversations.retrieve(talk.id)).metadata == {"topic": "names"}
    assert (await client.conversations.update(talk.id, metadata={"topic": "n"})).metadata == {
        "topic": "n"
    }
    house_upstream.queue_scripts(*make_replies("Hello Ann."))
    made = await client.responses.create(model="m", input="Hi", conversation=talk.id)
    assert list_upstream_messages(house_upstream) == [("user", "I am Ann."), ("user", "Hi")]
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
