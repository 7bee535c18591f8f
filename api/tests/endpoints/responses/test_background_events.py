"""What the events of a response in the background are, and where they are kept."""

import asyncio
import json

from django.db import DataError

from api.responses.background import event_log
from api.tests.endpoints.responses.background_responses import (
    create_background_response,
    follow_response,
    list_stored_events,
    read_events,
    wait_for_stored_events,
)
from conversations.models import EventBatch, Turn
from providers.database.database_threads import run_in_thread
from proxysite.testing import speech, wait_until_true
from proxysite.testing.upstream import DONE, Gate, send_reply, send_stream


async def test_what_no_database_keeps_is_not_told_and_stops_nobodys_events(
    gateway, upstream, alice
):
    upstream.queue_scripts(
        send_stream(*speech.streamed_completion("a\0b"), DONE),
        send_stream(*speech.streamed_completion("fine"), DONE),
    )
    first = await create_background_response(gateway, alice)
    await create_background_response(gateway, alice)
    assert (
        len(
            [
                event
                for event in await wait_for_stored_events(gateway)
                if event["type"] == "response.completed"
            ]
        )
        == 2
    )
    deltas = [
        event.get("delta") for event in await follow_response(gateway, alice, first.json["id"])
    ]
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
    await create_background_response(gateway, alice)
    await create_background_response(gateway, alice)
    gate.open()
    texts = json.dumps(await wait_for_stored_events(gateway))
    assert ("bad" in texts, "good" in texts) == (False, True)
    assert "cannot be written" in caplog.text


async def test_a_write_that_nobody_heard_of_is_written_again_with_what_came_since(
    gateway, upstream, alice
):
    upstream.queue_scripts(send_stream(*speech.streamed_completion("Hello."), DONE))
    await create_background_response(gateway, alice)
    whole = await wait_for_stored_events(gateway)
    turn_id = (await run_in_thread(Turn.objects.get)).pk
    await run_in_thread(EventBatch.objects.all().delete)
    await run_in_thread(event_log.write_event_batches, [(turn_id, whole[:3])])
    await run_in_thread(event_log.write_event_batches, [(turn_id, whole)])
    assert await list_stored_events() == whole


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
    await create_background_response(gateway, alice)
    (feed,) = gateway.inner.background.feeds.values()
    slow = feed.follow_events()
    heard = await anext(slow)
    for gate in gates:
        await gate.wait_until_reached()
        await wait_until_true(lambda: feed.first_number and not feed.events)
        gate.open()
    whole = await wait_for_stored_events(gateway)
    assert not feed.events
    async for events in slow:
        heard += events
    assert heard == whole
    assert [event["sequence_number"] for event in heard] == list(range(len(heard)))


async def test_behind_the_last_event_there_is_nothing_more(gateway, upstream, alice):
    upstream.queue_scripts(send_stream(*speech.streamed_completion("Hello."), DONE))
    events = read_events(await create_background_response(gateway, alice, stream=True))
    await wait_for_stored_events(gateway)
    response_id = events[0]["response"]["id"]
    assert await follow_response(gateway, alice, response_id) == events
    assert (
        await follow_response(gateway, alice, response_id, events[-2]["sequence_number"])
        == events[-1:]
    )
    for after in (events[-1]["sequence_number"], 5_000):
        assert await follow_response(gateway, alice, response_id, after) == []


async def test_many_listeners_leave_the_database_to_others(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("One"), gate, *speech.streamed_completion("."), DONE)
    )
    upstream.set_default_script(send_reply(speech.chat_completion("ok")))
    response_id = (await create_background_response(gateway, alice)).json["id"]
    (feed,) = gateway.inner.background.feeds.values()
    listening = [
        asyncio.create_task(follow_response(gateway, alice, response_id)) for _ in range(20)
    ]
    path = f"/v1/responses/{response_id}"
    await wait_until_true(lambda: gateway.connection_count >= 20)
    for _ in range(3):
        assert (await gateway.send_request("GET", path, alice.key)).status == 200
        assert (await create_background_response(gateway, alice, background=False)).status == 200
    gate.open()
    streams = await asyncio.gather(*listening)
    whole = [event for event in await wait_for_stored_events(gateway) if event in streams[0]]
    assert feed.is_over
    assert all(events == whole for events in streams)
