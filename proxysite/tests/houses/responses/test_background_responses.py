"""Responses in the background by the official `openai` package: followed, polled, cancelled."""

import asyncio

from proxysite.testing import speech, wait_until_true
from proxysite.testing.upstream import DONE, Gate, send_stream
from proxysite.tests.houses.responses.response_events import collect_events


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
        collect_events(await client.responses.retrieve(made.id, stream=True, starting_after=last))
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
