"""Responses in the background that are cancelled or deleted."""

import asyncio

from api.responses.background import event_log
from api.tests.endpoints.responses.background_responses import (
    create_background_response,
    follow_response,
    mark_turn_running,
    read_events,
    wait_for_stored_events,
)
from conversations.models import Turn
from providers.database.database_threads import run_in_thread
from proxysite.testing import speech
from proxysite.testing.upstream import DONE, Gate, send_stream


async def start_streamed_response(gateway, upstream, alice, gate):
    """Start a response that stops at the gate; return the task that reads it, and its turn's id."""
    upstream.queue_scripts(send_stream(*speech.content_chunks("One"), gate, DONE))
    reading = asyncio.create_task(create_background_response(gateway, alice, stream=True))
    await gate.wait_until_reached()
    (turn_id,) = gateway.inner.background.feeds
    return reading, turn_id


async def test_who_listens_hears_of_the_end_of_a_cancelled_response_and_all_hear_the_same(
    gateway, upstream, alice
):
    gate = Gate()
    first, turn_id = await start_streamed_response(gateway, upstream, alice, gate)
    response_id = f"resp_{turn_id}"
    second = asyncio.create_task(follow_response(gateway, alice, response_id))
    cancelled = await gateway.send_request("POST", f"/v1/responses/{response_id}/cancel", alice.key)
    assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
    events = read_events(await first)
    assert (events[-1]["type"], events[-1]["response"]) == ("response.incomplete", cancelled.json)
    assert events == await second == await wait_for_stored_events(gateway)
    assert events == await follow_response(gateway, alice, response_id)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    gate.open()


async def test_cancelling_what_another_process_answers_does_not_wait_too_long(
    gateway, upstream, alice
):
    upstream.queue_scripts(send_stream(*speech.streamed_completion("Hello."), DONE))
    response_id = (await create_background_response(gateway, alice)).json["id"]
    await wait_for_stored_events(gateway)
    await run_in_thread(mark_turn_running)
    found = await gateway.send_request("POST", f"/v1/responses/{response_id}/cancel", alice.key)
    assert (found.status, found.json["status"]) == (200, "in_progress")
    assert (await run_in_thread(Turn.objects.get)).asked_to_stop


async def test_the_events_of_a_response_that_is_deleted_end_and_nothing_of_it_is_written(
    gateway, upstream, alice
):
    gate = Gate()
    first, turn_id = await start_streamed_response(gateway, upstream, alice, gate)
    assert (
        await gateway.send_request("DELETE", f"/v1/responses/resp_{turn_id}", alice.key)
    ).status == 200
    events = read_events(await first)
    assert events[-1]["type"] not in event_log.FINAL_EVENT_TYPES
    assert await wait_for_stored_events(gateway) == []
    assert not gateway.inner.history.running_turns
    gate.open()
