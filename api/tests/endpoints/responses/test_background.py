"""/v1/responses in the background: answered whoever listens, come back to, cancelled."""

import asyncio

import openai
import pytest
from openai.types.responses import Response

from proxysite.testing import speech, wait_until_true
from proxysite.testing.upstream import DONE, Gate, send_refusal, send_reply, send_stream


async def test_a_response_in_the_background_is_answered_whoever_listens(client, upstream):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("Hel"), gate, *speech.streamed_completion("lo."), DONE)
    )
    made = await client.responses.create(model="m", input="Hi", background=True)
    assert (made.status, made.background) == ("queued", True)
    await gate.wait_until_reached()
    assert (await client.responses.retrieve(made.id)).status == "in_progress"
    gate.open()

    async def done():
        found = await client.responses.retrieve(made.id)
        return found if found.status == "completed" else None

    assert (await wait_until_true(done)).output_text == "Hello."


async def test_the_events_of_a_background_response_can_be_come_back_to(client, upstream):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("Hel"), gate, *speech.streamed_completion("lo."), DONE)
    )
    heard = []
    async with await client.responses.create(
        model="m", input="Hi", background=True, stream=True
    ) as events:
        async for event in events:
            heard.append(event)
            if event.type == "response.output_text.delta":
                break
    response_id = heard[0].response.id
    coming = asyncio.create_task(collect_events(client, response_id, heard[-1].sequence_number))
    gate.open()
    rest = await coming
    numbers = [event.sequence_number for event in [*heard, *rest]]
    assert numbers == list(range(len(numbers)))
    assert rest[-1].response.output_text == "Hello."
    again = await collect_events(client, response_id, None)
    assert [event.model_dump() for event in again] == [
        event.model_dump() for event in [*heard, *rest]
    ]


async def collect_events(client, response_id, after):
    more = {} if after is None else {"starting_after": after}
    stream_again = await client.responses.retrieve(response_id, stream=True, **more)
    return [event async for event in stream_again]


async def test_a_background_response_can_be_cancelled(client, upstream):
    gate = Gate()
    upstream.queue_scripts(send_stream(*speech.content_chunks("Hel"), gate))
    made = await client.responses.create(model="m", input="Hi", background=True)
    await gate.wait_until_reached()
    found: Response = await client.responses.cancel(made.id)
    assert (found.status, found.output_text) == ("cancelled", "Hel")
    events = await collect_events(client, made.id, None)
    assert (events[-1].type, events[-1].response.status) == ("response.incomplete", "cancelled")
    gate.open()


async def test_only_a_response_in_the_background_can_be_cancelled_or_come_back_to(client, upstream):
    upstream.queue_scripts(send_reply(speech.chat_completion("One.")))
    made = await client.responses.create(model="m", input="1")
    with pytest.raises(openai.BadRequestError):
        await client.responses.cancel(made.id)
    with pytest.raises(openai.BadRequestError):
        await client.responses.retrieve(made.id, stream=True)


async def test_a_background_response_that_fails_says_so(client, upstream):
    upstream.queue_scripts(send_refusal(400, "No."))
    made = await client.responses.create(model="m", input="Hi", background=True)

    async def ended():
        found = await client.responses.retrieve(made.id)
        return found if found.status == "failed" else None

    assert (await wait_until_true(ended)).error.message == "No."
    assert (await collect_events(client, made.id, None))[-1].type == "response.failed"
