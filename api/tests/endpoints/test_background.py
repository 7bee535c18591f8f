"""/v1/responses in the background: answered whoever listens, come back to, cancelled, ended with
the server.
"""

import asyncio
import json
from datetime import timedelta

import openai
import pytest
from django.db import DataError
from django.utils import timezone
from openai.types.responses import Response

from api.responses.background import event_log
from conversations.models import EventBatch, Turn
from providers.database.database_threads import run_in_thread
from proxysite.testing import speech, wait_until_true
from proxysite.testing.upstream import DONE, Gate, send_refusal, send_reply, send_stream


@pytest.fixture
async def client(gateway, alice):
    async with openai.AsyncOpenAI(
        base_url=f"{gateway.url}/v1", api_key=alice.key, max_retries=0
    ) as found:
        yield found


async def asked(gateway, person, text="Hi", **body):
    body = {"model": "m", "input": text, "background": True} | body
    return await gateway.send_request("POST", "/v1/responses", person.key, json=body)


async def followed(gateway, person, response_id, after=-1):
    path = f"/v1/responses/{response_id}?stream=true&starting_after={after}"
    return told(await gateway.send_request("GET", path, person.key))


def told(answer):
    """The events of a stream."""
    assert answer.status == 200, answer.body
    return [
        json.loads(line[6:])
        for line in answer.body.decode().splitlines()
        if line.startswith("data: ")
    ]


async def written():
    """The events that are rows."""
    found = await run_in_thread(
        lambda: list(
            EventBatch.objects.order_by("turn", "first_number").values_list("events", flat=True)
        )
    )
    return [event for events in found for event in events]


async def all_written(gateway):
    await wait_until_true(lambda: not gateway.inner.background.feeds)
    return await written()


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
    coming = asyncio.create_task(collected(client, response_id, heard[-1].sequence_number))
    gate.open()
    rest = await coming
    numbers = [event.sequence_number for event in [*heard, *rest]]
    assert numbers == list(range(len(numbers)))
    assert rest[-1].response.output_text == "Hello."
    again = await collected(client, response_id, None)
    assert [event.model_dump() for event in again] == [
        event.model_dump() for event in [*heard, *rest]
    ]


async def collected(client, response_id, after):
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
    events = await collected(client, made.id, None)
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
    assert (await collected(client, made.id, None))[-1].type == "response.failed"


# --- what the events are --------------------------------------------------------------------------
async def test_what_no_database_keeps_is_not_told_and_stops_nobodys_events(
    gateway, upstream, alice
):
    upstream.queue_scripts(
        send_stream(*speech.streamed_completion("a\0b"), DONE),
        send_stream(*speech.streamed_completion("fine"), DONE),
    )
    first = await asked(gateway, alice)
    await asked(gateway, alice)
    assert (
        len(
            [event for event in await all_written(gateway) if event["type"] == "response.completed"]
        )
        == 2
    )
    deltas = [event.get("delta") for event in await followed(gateway, alice, first.json["id"])]
    assert "a\ufffdb" in deltas


async def test_events_that_the_database_refuses_are_left_out_alone(
    gateway, upstream, alice, monkeypatch, caplog
):
    real, gate = event_log.write_event_batches, Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("bad"), gate, DONE),
        send_stream(*speech.content_chunks("good"), gate, *speech.streamed_completion("."), DONE),
    )

    def write(fresh):
        if any("bad" in json.dumps(events) for _, events in fresh):
            raise DataError("no")
        real(fresh)

    monkeypatch.setattr("api.responses.background.event_log.write_event_batches", write)
    await asked(gateway, alice)
    await asked(gateway, alice)
    gate.open()
    texts = json.dumps(await all_written(gateway))
    assert ("bad" in texts, "good" in texts) == (False, True)
    assert "cannot be written" in caplog.text


async def test_a_write_that_nobody_heard_of_is_written_again_with_what_came_since(
    gateway, upstream, alice
):
    upstream.queue_scripts(send_stream(*speech.streamed_completion("Hello."), DONE))
    await asked(gateway, alice)
    whole = await all_written(gateway)
    turn_id = (await run_in_thread(Turn.objects.get)).pk
    await run_in_thread(EventBatch.objects.all().delete)
    await run_in_thread(event_log.write_event_batches, [(turn_id, whole[:3])])
    await run_in_thread(event_log.write_event_batches, [(turn_id, whole)])
    assert await written() == whole


async def test_what_is_written_does_not_stay_in_memory_and_slow_listeners_miss_nothing(
    gateway, upstream, alice
):
    gates = [Gate(), Gate()]
    upstream.queue_scripts(
        send_stream(
            *speech.content_chunks("One"),
            gates[0],
            *speech.content_chunks(" two"),
            gates[1],
            *speech.streamed_completion("."),
            DONE,
        )
    )
    await asked(gateway, alice)
    (feed,) = gateway.inner.background.feeds.values()
    slow = feed.follow_events()
    heard = await anext(slow)
    for gate in gates:
        await gate.wait_until_reached()
        await wait_until_true(lambda: feed.first_number and not feed.events)
        gate.open()
    whole = await all_written(gateway)
    assert not feed.events
    async for events in slow:
        heard += events
    assert heard == whole
    assert [event["sequence_number"] for event in heard] == list(range(len(heard)))


async def test_behind_the_last_event_there_is_nothing_more(gateway, upstream, alice):
    upstream.queue_scripts(send_stream(*speech.streamed_completion("Hello."), DONE))
    events = told(await asked(gateway, alice, stream=True))
    await all_written(gateway)
    response_id = events[0]["response"]["id"]
    assert await followed(gateway, alice, response_id) == events
    assert await followed(gateway, alice, response_id, events[-2]["sequence_number"]) == events[-1:]
    for after in (events[-1]["sequence_number"], 5_000):
        assert await followed(gateway, alice, response_id, after) == []


async def test_many_listeners_leave_the_database_to_others(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("One"), gate, *speech.streamed_completion("."), DONE)
    )
    upstream.set_default_script(send_reply(speech.chat_completion("ok")))
    response_id = (await asked(gateway, alice)).json["id"]
    (feed,) = gateway.inner.background.feeds.values()
    listening = [asyncio.create_task(followed(gateway, alice, response_id)) for _ in range(20)]
    path = f"/v1/responses/{response_id}"
    await wait_until_true(lambda: gateway.connection_count >= 20)
    for _ in range(3):
        assert (await gateway.send_request("GET", path, alice.key)).status == 200
        assert (await asked(gateway, alice, background=False)).status == 200
    gate.open()
    streams = await asyncio.gather(*listening)
    whole = [event for event in await all_written(gateway) if event in streams[0]]
    assert feed.is_over
    assert all(events == whole for events in streams)


# --- cancelled, deleted ---------------------------------------------------------------------------
async def test_who_listens_hears_of_the_end_of_a_cancelled_response_and_all_hear_the_same(
    gateway, upstream, alice
):
    gate = Gate()
    upstream.queue_scripts(send_stream(*speech.content_chunks("One"), gate, DONE))
    first = asyncio.create_task(asked(gateway, alice, stream=True))
    await gate.wait_until_reached()
    (turn_id,) = gateway.inner.background.feeds
    response_id = f"resp_{turn_id}"
    second = asyncio.create_task(followed(gateway, alice, response_id))
    cancelled = await gateway.send_request("POST", f"/v1/responses/{response_id}/cancel", alice.key)
    assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
    events = told(await first)
    assert (events[-1]["type"], events[-1]["response"]) == ("response.incomplete", cancelled.json)
    assert events == await second == await all_written(gateway)
    assert events == await followed(gateway, alice, response_id)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    gate.open()


async def test_cancelling_what_another_process_answers_does_not_wait_too_long(
    gateway, upstream, alice
):
    upstream.queue_scripts(send_stream(*speech.streamed_completion("Hello."), DONE))
    response_id = (await asked(gateway, alice)).json["id"]
    await all_written(gateway)
    await run_in_thread(rerun)
    found = await gateway.send_request("POST", f"/v1/responses/{response_id}/cancel", alice.key)
    assert (found.status, found.json["status"]) == (200, "in_progress")
    assert (await run_in_thread(Turn.objects.get)).asked_to_stop


def rerun():
    """The response runs, as if in another process."""
    Turn.objects.update(
        status="in_progress", alive_until=timezone.now() + timedelta(seconds=60), finished_at=None
    )


async def test_the_events_of_a_response_that_is_deleted_end_and_nothing_of_it_is_written(
    gateway, upstream, alice
):
    gate = Gate()
    upstream.queue_scripts(send_stream(*speech.content_chunks("One"), gate, DONE))
    first = asyncio.create_task(asked(gateway, alice, stream=True))
    await gate.wait_until_reached()
    (turn_id,) = gateway.inner.background.feeds
    assert (
        await gateway.send_request("DELETE", f"/v1/responses/resp_{turn_id}", alice.key)
    ).status == 200
    events = told(await first)
    assert events[-1]["type"] not in event_log.FINAL_EVENT_TYPES
    assert await all_written(gateway) == []
    assert not gateway.inner.history.running_turns
    gate.open()
