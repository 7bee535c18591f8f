"""/v1/responses/input_tokens: what would be told to the upstream is counted; nobody is asked and
nothing is kept.
"""

import openai
import pytest

from api.accounting.tokenizer import count_text
from conversations.models import Conversation, Turn
from conversations.text.token_estimate import MESSAGE_TOKENS
from providers.database.database_threads import run_in_thread
from proxysite.testing import speech
from proxysite.testing.upstream import send_reply


def tokens(*texts):
    return sum(map(count_text, texts)) + MESSAGE_TOKENS * len(texts)


async def counted(client, **body):
    return (await client.responses.input_tokens.count(**body)).input_tokens


async def test_the_text_is_counted_and_nothing_else_happens(client, upstream):
    assert await counted(client, model="m", input="Hi there", instructions="Be brief.") == tokens(
        "Be brief.", "Hi there"
    )
    assert await counted(client, input="Hi there") == tokens("Hi there")
    assert upstream.requests == []
    assert await run_in_thread(Turn.objects.count) == 0


@pytest.mark.settings(COUNT_INLINE_BYTES=0)
async def test_long_texts_are_counted_beside_the_event_loop(client):
    assert await counted(client, model="m", input="Hi there") == tokens("Hi there")


async def test_tools_count_too(client):
    tool = {
        "type": "function",
        "name": "weather",
        "parameters": {"type": "object", "properties": {}},
        "strict": False,
    }
    assert await counted(client, model="m", input="Hi", tools=[tool]) > tokens("Hi") + count_text(
        "weather"
    )


async def test_what_was_said_before_counts(client, upstream):
    upstream.queue_scripts(
        send_reply(speech.chat_completion("One.")), send_reply(speech.chat_completion("Two."))
    )
    first = await client.responses.create(model="m", input="1", instructions="Count.")
    assert await counted(client, model="m", input="2", previous_response_id=first.id) == tokens(
        "1", "One.", "2"
    )
    talk = await client.conversations.create(items=[{"role": "user", "content": "I am Ann."}])
    await client.responses.create(model="m", input="Hi", conversation=talk.id)
    said = ("I am Ann.", "Hi", "Two.")
    assert await counted(client, model="m", conversation=talk.id) == tokens(*said)
    assert await counted(client, model="m", input="Bye", conversation=talk.id) == tokens(
        *said, "Bye"
    )
    named = [{"type": "item_reference", "id": first.output[0].id}, {"role": "user", "content": "2"}]
    assert await counted(client, model="m", input=named) == tokens("One.", "2")
    assert (len(upstream.requests), await run_in_thread(Turn.objects.count)) == (
        2,
        3,
    )  # the items given are a turn


async def test_what_is_somebody_elses_is_not_there(client, stranger, upstream):
    upstream.queue_scripts(send_reply(speech.chat_completion("One.")))
    talk = await client.conversations.create()
    made = await client.responses.create(model="m", input="1", conversation=talk.id)
    nothing = "0" * 32
    for field, own, unknown in (
        ("previous_response_id", made.id, f"resp_{nothing}"),
        ("conversation", talk.id, f"conv_{nothing}"),
    ):
        bodies = []
        for name in (own, unknown):
            with pytest.raises(openai.NotFoundError) as caught:
                await counted(stranger, model="m", **{field: name})
            bodies.append(caught.value.response.text.replace(name, "ID"))
        assert bodies[0] == bodies[1]
    with pytest.raises(openai.NotFoundError):
        await counted(
            stranger, model="m", input=[{"type": "item_reference", "id": made.output[0].id}]
        )


@pytest.mark.parametrize(
    ("body", "error", "param"),
    [
        ({"model": "no-such", "input": "Hi"}, openai.NotFoundError, "model"),
        ({"model": "m"}, openai.BadRequestError, "input"),
        ({"input": 7}, openai.BadRequestError, "input"),
        (
            {"input": "Hi", "tools": [{"type": "function"}]},
            openai.BadRequestError,
            "tools[0].name",
        ),
    ],
    ids=["model", "nothing", "type", "tool"],
)
async def test_what_a_response_would_refuse_is_refused(client, body, error, param):
    with pytest.raises(error) as caught:
        await counted(client, **body)
    assert caught.value.param == param


async def test_a_wrong_key_and_a_wrong_method(client, alice, gateway):
    with pytest.raises(openai.AuthenticationError):
        await counted(client.with_options(api_key="sk-ps-wrong"), input="Hi")
    with pytest.raises(openai.APIStatusError) as caught:
        await client.responses.retrieve("input_tokens")
    assert caught.value.status_code == 405


async def test_a_key_that_keeps_nothing_may_count_what_it_brings(gateway, client, alice):
    await run_in_thread(type(alice.row).objects.update, stores_content=False)
    await gateway.reload_rows()
    assert await counted(client, model="m", input="Hi") == tokens("Hi")
    with pytest.raises(openai.PermissionDeniedError):
        await counted(client, model="m", input="Hi", previous_response_id="resp_" + "0" * 32)
    assert await run_in_thread(Conversation.objects.count) == 0
