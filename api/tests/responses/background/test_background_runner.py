"""How many responses run in the background, and how they end with the server."""

import asyncio

import pytest
from django.db import DataError, OperationalError

from api.tests.endpoints.responses.background_responses import (
    create_background_response,
    list_stored_events,
    read_events,
    wait_for_stored_events,
)
from conversations.history import finish_turn, turn_batches
from conversations.history.turn_batches import TurnBatches
from conversations.models import Turn
from providers.database.database_threads import run_in_thread
from providers.exceptions import DatabaseUnavailable
from proxysite.testing import speech
from proxysite.testing.upstream import DONE, Gate, send_stream


@pytest.mark.settings(REQUESTS_IN_FLIGHT=2)
async def test_no_more_run_than_requests_may_be_in_flight(gateway, upstream, alice):
    gate = Gate()
    upstream.set_default_script(
        send_stream(*speech.content_chunks("One"), gate, *speech.streamed_completion("."), DONE)
    )
    answers = [await create_background_response(gateway, alice) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 503, 503]
    assert answers[-1].error["code"] == "too_many_requests_in_flight"
    gate.open()
    await wait_for_stored_events(gateway)
    assert await run_in_thread(Turn.objects.count) == 2
    assert (await create_background_response(gateway, alice)).status == 200
    await wait_for_stored_events(gateway)


@pytest.mark.settings(GRACE_SECONDS=2)
async def test_what_a_shutdown_cuts_off_has_failed_in_its_row_and_its_events(
    gateway, upstream, alice, caplog
):
    gate = Gate()
    upstream.queue_scripts(send_stream(*speech.content_chunks("One"), gate, DONE))
    first = asyncio.create_task(create_background_response(gateway, alice, stream=True))
    await gate.wait_until_reached()
    await gateway.drain_server()
    events = read_events(await first)
    await gateway.start()
    last, found = (
        events[-1],
        await gateway.send_request(
            "GET", f"/v1/responses/{events[0]['response']['id']}", alice.key
        ),
    )
    assert (last["type"], last["response"]) == ("response.failed", found.json)
    assert (found.json["status"], found.json["error"]["reason"]) == ("failed", "server_shutdown")
    assert await list_stored_events() == events
    gate.open()
    caplog.clear()  # on a busy machine the server finds its listener a little late


async def test_the_grace_begins_with_the_signal_whoever_listens(gateway, upstream, alice, settings):
    """What runs in the background is not given another one when the requests have had theirs."""
    settings.GRACE_SECONDS = 1
    gate, background = Gate(), gateway.inner.background
    upstream.queue_scripts(send_stream(*speech.content_chunks("One"), gate, DONE))
    first = asyncio.create_task(create_background_response(gateway, alice, stream=True))
    await gate.wait_until_reached()
    ends = background.start_draining()
    assert 0 < ends <= 1
    settings.GRACE_SECONDS = 10_000  # one that began later would not be over for hours
    assert background.start_draining() <= ends
    refused = await create_background_response(gateway, alice)
    assert (refused.status, refused.error["code"]) == (503, "server_shutdown")
    await background.drain_and_stop()
    assert read_events(await first)[-1]["type"] == "response.failed"
    gate.open()


@pytest.mark.settings(GRACE_SECONDS=1, BACKGROUND_PER_USER=0)
async def test_very_many_that_a_shutdown_cuts_off_are_written_in_batches(
    gateway, upstream, alice, caplog, monkeypatch
):
    many, batches = 230, []
    finish_all = turn_batches.write_outcomes

    def finish_counted(finished):
        batches.append(len(finished))
        return finish_all(finished)

    monkeypatch.setattr(turn_batches, "write_outcomes", finish_counted)
    gate = Gate()
    upstream.set_default_script(send_stream(*speech.content_chunks("One"), gate, DONE))
    ids = []
    for _ in range(many // 10):
        ids += [
            answer.json["id"]
            for answer in await asyncio.gather(
                *(create_background_response(gateway, alice) for _ in range(10))
            )
        ]
    await upstream.wait_for_request(many)
    await gateway.drain_server()
    await gateway.stop()
    assert (sum(batches), max(batches) <= 50) == (many, True)
    assert len(batches) < many / 10
    assert "not written" not in caplog.text
    assert "does not answer" not in caplog.text
    await gateway.start()
    for response_id in ids[::40]:
        answer = await gateway.send_request("GET", f"/v1/responses/{response_id}", alice.key)
        assert (answer.json["status"], answer.json["error"]["reason"]) == (
            "failed",
            "server_shutdown",
        )
    assert await run_in_thread(lambda: set(Turn.objects.values_list("error__code", flat=True))) == {
        "server_shutdown"
    }
    gate.open()


async def test_a_turn_that_the_database_never_takes_holds_up_no_other(
    gateway, alice, monkeypatch, caplog
):
    history, written_ids = gateway.inner.history, []

    def finish(finished):
        if finished.id == "bad":
            raise DataError("made up")
        written_ids.append(finished.id)

    monkeypatch.setattr(finish_turn, "write_turn_outcome", finish)
    history._unwritten_outcomes += [
        finish_turn.TurnOutcome(id=name, conversation_id="c", status="completed")
        for name in ("bad", "good")
    ]
    await history._write_late_outcomes()
    assert (written_ids, history._unwritten_outcomes) == (["good"], [])
    assert "never takes the turn bad" in caplog.text
    caplog.clear()


async def test_when_the_database_is_away_no_batch_is_waited_for_twice(gateway, alice, monkeypatch):
    batches = []

    def away(finished):
        batches.append(len(finished))
        raise OperationalError("away")

    monkeypatch.setattr(turn_batches, "write_outcomes", away)
    found = [
        finish_turn.TurnOutcome(id=str(number), conversation_id="c", status="failed")
        for number in range(120)
    ]
    writer = TurnBatches()
    ends = await asyncio.gather(*map(writer.write_in_batch, found), return_exceptions=True)
    assert {type(end) for end in ends} == {DatabaseUnavailable}
    assert batches == [50]
