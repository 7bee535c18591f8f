"""Responses in the background: requests that make and follow them, and the rows of their events."""

import json
from datetime import timedelta

from django.utils import timezone

from conversations.models import EventBatch, Turn
from providers.database.database_threads import run_in_thread
from proxysite.testing import wait_until_true


async def create_background_response(gateway, person, text="Hi", **body):
    """Create a response in the background; return the answer."""
    body = {"model": "m", "input": text, "background": True} | body
    return await gateway.send_request("POST", "/v1/responses", person.key, json=body)


async def follow_response(gateway, person, response_id, after=-1):
    """Return the events of a response behind the event number `after`."""
    path = f"/v1/responses/{response_id}?stream=true&starting_after={after}"
    return read_events(await gateway.send_request("GET", path, person.key))


def read_events(answer):
    """Return the events of a stream."""
    assert answer.status == 200, answer.body
    return [
        json.loads(line[6:])
        for line in answer.body.decode().splitlines()
        if line.startswith("data: {")
    ]


async def list_stored_events():
    """Return the events that are rows."""
    found = await run_in_thread(
        lambda: list(
            EventBatch.objects.order_by("turn", "first_number").values_list("events", flat=True)
        )
    )
    return [event for events in found for event in events]


async def wait_for_stored_events(gateway):
    """Wait until no response runs; return the events that are rows."""
    await wait_until_true(lambda: not gateway.inner.background.feeds)
    return await list_stored_events()


def mark_turn_running():
    """Let all turns run, as if another process answered them."""
    Turn.objects.update(
        status="in_progress", alive_until=timezone.now() + timedelta(seconds=60), finished_at=None
    )
