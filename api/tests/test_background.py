"""How many responses run in the background, and how they end with the server."""

import asyncio

import pytest

from api.tests.test_doors_background import all_written, asked, told, written
from conversations.models import Turn
from providers.offloop import off_loop
from proxysite.testing import speech
from proxysite.testing.upstream import DONE, Gate, stream


@pytest.mark.settings(REQUESTS_IN_FLIGHT=2)
async def test_no_more_run_than_requests_may_be_in_flight(gateway, upstream, alice):
    gate = Gate()
    upstream.always(stream(*speech.words("One"), gate, *speech.spoken("."), DONE))
    answers = [await asked(gateway, alice) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 503, 503]
    assert answers[-1].error["code"] == "too_many_requests_in_flight"
    gate.open()
    await all_written(gateway)
    assert await off_loop(Turn.objects.count) == 2
    assert (await asked(gateway, alice)).status == 200
    await all_written(gateway)


@pytest.mark.settings(GRACE_SECONDS=1)
async def test_what_a_shutdown_cuts_off_has_failed_in_its_row_and_its_events(gateway, upstream, alice):
    gate = Gate()
    upstream.will(stream(*speech.words("One"), gate, DONE))
    first = asyncio.create_task(asked(gateway, alice, stream=True))
    await gate.arrival()
    await gateway.drain()
    events = told(await first)
    await gateway.start()
    last, found = events[-1], await gateway.ask("GET", f"/v1/responses/{events[0]['response']['id']}", alice.key)
    assert (last["type"], last["response"]) == ("response.failed", found.json)
    assert (found.json["status"], found.json["error"]["reason"]) == ("failed", "server_shutdown")
    assert await written() == events
    gate.open()


async def test_the_grace_begins_with_the_signal_whoever_listens(gateway, upstream, alice, settings):
    """What runs in the background is not given another one when the requests have had theirs."""
    settings.GRACE_SECONDS = 1
    gate, background = Gate(), gateway.inner.background
    upstream.will(stream(*speech.words("One"), gate, DONE))
    first = asyncio.create_task(asked(gateway, alice, stream=True))
    await gate.arrival()
    ends = background.drain()
    assert 0 < ends <= 1
    settings.GRACE_SECONDS = 10_000  # one that began later would not be over for hours
    assert background.drain() <= ends
    refused = await asked(gateway, alice)
    assert (refused.status, refused.error["code"]) == (503, "server_shutdown")
    await background.stop()
    assert told(await first)[-1]["type"] == "response.failed"
    gate.open()
