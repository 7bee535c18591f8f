"""/v1/responses by the official client: stored, followed, in conversations."""

import openai
import pytest

from api.tests.endpoints.chat_messages import (
    answer_texts,
    assistant_message,
    get_sent_messages,
    user_message,
)
from conversations.models import Conversation, EventBatch, Item, Turn
from providers.database.database_threads import run_in_thread


async def test_a_response_is_answered_stored_and_found_again(client, upstream):
    upstream.queue_scripts(*answer_texts("Hello."))
    made = await client.responses.create(
        model="m", input="Hi", instructions="Be brief.", metadata={"a": "b"}
    )
    assert (made.output_text, made.status, made.usage.total_tokens) == ("Hello.", "completed", 12)
    assert get_sent_messages(upstream) == [
        {"role": "system", "content": "Be brief."},
        user_message("Hi"),
    ]
    found = await client.responses.retrieve(made.id)
    assert found.model_dump() == made.model_dump()
    items = await client.responses.input_items.list(made.id)
    assert [(item.role, item.content[0].text) for item in items.data] == [("user", "Hi")]


async def test_a_response_goes_on_after_another_and_may_branch_off(client, upstream):
    upstream.queue_scripts(*answer_texts("One.", "Two.", "Three.", "Zwei."))
    first = await client.responses.create(model="m", input="1", instructions="Count.")
    second = await client.responses.create(model="m", input="2", previous_response_id=first.id)
    assert get_sent_messages(upstream) == [
        user_message("1"),
        assistant_message("One."),
        user_message("2"),
    ]  # instructions are not carried over
    third = await client.responses.create(model="m", input="3", previous_response_id=second.id)
    assert get_sent_messages(upstream) == [
        user_message("1"),
        assistant_message("One."),
        user_message("2"),
        assistant_message("Two."),
        user_message("3"),
    ]
    assert third.previous_response_id == second.id
    await client.responses.create(model="m", input="zwei", previous_response_id=first.id)
    assert get_sent_messages(upstream) == [
        user_message("1"),
        assistant_message("One."),
        user_message("zwei"),
    ]
    assert await run_in_thread(Conversation.objects.count) == 2


async def test_what_is_not_stored_may_follow_what_is(client, upstream):
    upstream.queue_scripts(*answer_texts("One.", "Two."))
    first = await client.responses.create(model="m", input="1")
    second = await client.responses.create(
        model="m", input="2", previous_response_id=first.id, store=False
    )
    assert get_sent_messages(upstream) == [
        user_message("1"),
        assistant_message("One."),
        user_message("2"),
    ]
    assert second.store is False
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(second.id)
    assert await run_in_thread(Turn.objects.count) == 1


async def test_another_users_response_and_an_unknown_one_are_the_same_404(
    client, stranger, upstream
):
    upstream.queue_scripts(*answer_texts("One."))
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


async def test_responses_of_a_conversation_stand_in_it(client, upstream):
    upstream.queue_scripts(*answer_texts("Hello Ann.", "You are Ann."))
    begun = [{"type": "message", "role": "user", "content": "I am Ann."}]
    conversation = await client.conversations.create(items=begun)
    await client.responses.create(model="m", input="Hi", conversation=conversation.id)
    assert get_sent_messages(upstream) == [user_message("I am Ann."), user_message("Hi")]
    made = await client.responses.create(
        model="m", input="Who am I?", conversation=conversation.id, store=False
    )
    assert get_sent_messages(upstream)[2:] == [
        assistant_message("Hello Ann."),
        user_message("Who am I?"),
    ]
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
    upstream.queue_scripts(*answer_texts("One.", "Two."))
    first = await client.responses.create(model="m", input="1")
    named = [{"type": "item_reference", "id": first.output[0].id}, {"role": "user", "content": "2"}]
    await client.responses.create(model="m", input=named)
    assert get_sent_messages(upstream) == [assistant_message("One."), user_message("2")]
    with pytest.raises(openai.NotFoundError):
        await stranger.responses.create(model="m", input=named)


async def test_a_deleted_response_leaves_nothing(client, upstream):
    upstream.queue_scripts(*answer_texts("One."))
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
    upstream.queue_scripts(*answer_texts("One."))
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
