"""Responses in the background that another process answers: who listens here is told of them from
rows.
"""

import asyncio
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from api.responses.background import event_log
from api.tests.endpoints.responses.background_responses import (
    create_background_response,
    follow_response,
    mark_turn_running,
    wait_for_stored_events,
)
from conversations.history import dead_turns
from conversations.models import EventBatch, Turn
from providers.database.database_threads import run_in_thread
from proxysite.testing import speech, wait_until_true
from proxysite.testing.upstream import DONE, send_stream


@pytest.fixture
async def answer(gateway, upstream, alice):
    """A response that another process seems to answer: its id, its events, of which the first five
    are rows.
    """
    upstream.queue_scripts(send_stream(*speech.streamed_completion("Hello."), DONE))
    response_id = (await create_background_response(gateway, alice)).json["id"]
    whole = await wait_for_stored_events(gateway)
    await run_in_thread(mark_turn_running)
    await run_in_thread(EventBatch.objects.all().delete)
    await put(whole[:5])
    return response_id, whole


async def put(events):
    turn = await run_in_thread(Turn.objects.get)
    await run_in_thread(event_log.write_event_batches, [(turn.pk, events)])


async def ended(status="completed", seconds_ago=0):
    over = timezone.now() - timedelta(seconds=seconds_ago)
    await run_in_thread(
        lambda: Turn.objects.update(status=status, finished_at=over, alive_until=None)
    )


def listeners(gateway):
    return sum(feed.listener_count for feed in gateway.inner.background_follower.feeds.values())


def fail_first_call(monkeypatch, name, error):
    """Let the first call of a function of the event log raise an error."""
    function, errors = getattr(event_log, name), [error]

    def fail_once(*args):
        if errors:
            raise errors.pop()
        return function(*args)

    monkeypatch.setattr(event_log, name, fail_once)


@pytest.fixture
def looks(monkeypatch):
    """What the database was asked; the next `failing` looks fail."""
    real = event_log.load_new_events

    class Looks(list):
        failing = 0

    def news(wanted):
        found.append(wanted)
        if found.failing:
            found.failing -= 1
            raise OperationalError("the connection is lost")
        return real(wanted)

    found = Looks()
    monkeypatch.setattr("api.responses.background.event_log.load_new_events", news)
    return found


async def test_all_who_listen_are_told_all_from_where_they_are(gateway, alice, answer, looks):
    response_id, whole = answer
    listening = [
        asyncio.create_task(follow_response(gateway, alice, response_id, after))
        for after in (-1, -1, 2, 5, 5_000)
    ]
    await wait_until_true(lambda: listeners(gateway) == len(listening))
    assert all(len(wanted) == 1 for wanted in looks)  # one question for all of them
    await put(whole[5:7])
    await wait_until_true(
        lambda: any(
            feed.next_event_number > 6 for feed in gateway.inner.background_follower.feeds.values()
        )
    )
    late = asyncio.create_task(follow_response(gateway, alice, response_id, 1))
    await put(whole[7:])
    await ended()
    assert await asyncio.gather(*listening) == [whole, whole, whole[3:], whole[6:], []]
    assert await late == whole[2:]
    await wait_until_true(lambda: not gateway.inner.background_follower.feeds)


async def test_an_end_is_made_up_only_where_none_is_written(gateway, alice, answer):
    response_id, _ = answer
    await ended("incomplete", seconds_ago=10)
    (last,) = await follow_response(gateway, alice, response_id, 4)
    assert (last["type"], last["sequence_number"]) == ("response.incomplete", 5)
    assert (await follow_response(gateway, alice, response_id))[-1] == last
    assert await follow_response(gateway, alice, response_id, 5) == []


async def test_the_events_of_a_dead_process_end(gateway, alice, answer):
    response_id, whole = answer
    await run_in_thread(
        lambda: Turn.objects.update(alive_until=timezone.now() - timedelta(seconds=1))
    )
    assert await run_in_thread(dead_turns.end_all_dead_turns) == 1
    found = await gateway.send_request("GET", f"/v1/responses/{response_id}", alice.key)
    assert found.json["status"] == "incomplete"
    *before, last = await follow_response(gateway, alice, response_id)
    assert (before, last["response"]) == (whole[:5], found.json)


async def test_reading_a_response_of_a_dead_process_writes_nothing(gateway, alice, answer):
    response_id, whole = answer
    await run_in_thread(
        lambda: Turn.objects.update(alive_until=timezone.now() - timedelta(seconds=1))
    )
    before = await run_in_thread(lambda: list(Turn.objects.values()))
    found = await gateway.send_request("GET", f"/v1/responses/{response_id}", alice.key)
    assert found.json["status"] == "incomplete"
    assert (await follow_response(gateway, alice, response_id))[:-1] == whole[:5]
    assert await run_in_thread(lambda: list(Turn.objects.values())) == before


async def test_events_end_when_the_response_is_deleted(gateway, alice, answer, monkeypatch):
    response_id, whole = answer
    load_events_from = event_log.load_events_from
    row_reads = []

    def load_and_note(turn_id, first_number):
        events = load_events_from(turn_id, first_number)
        row_reads.append(first_number)
        return events

    monkeypatch.setattr(event_log, "load_events_from", load_and_note)
    listening = asyncio.create_task(follow_response(gateway, alice, response_id))
    await wait_until_true(lambda: row_reads)
    await run_in_thread(Turn.objects.all().delete)
    assert await listening == whole[:5]


async def test_a_database_that_is_away_for_a_moment_costs_no_event(gateway, alice, answer, looks):
    response_id, whole = answer
    listening = asyncio.create_task(follow_response(gateway, alice, response_id))
    await wait_until_true(lambda: listeners(gateway))
    looks.failing = 2
    await put(whole[5:])
    await ended()
    assert await listening == whole
    assert looks.failing == 0


async def test_who_listens_is_told_when_the_database_stays_away(
    gateway, alice, answer, looks, monkeypatch
):
    response_id, whole = answer
    monkeypatch.setattr("api.responses.background.background_follower.DATABASE_WAIT_SECONDS", 0.2)
    listening = asyncio.create_task(follow_response(gateway, alice, response_id))
    await wait_until_true(lambda: listeners(gateway))
    looks.failing = 1_000
    *before, last = await listening
    assert before == whole[:5]
    assert (last["type"], last["code"]) == ("error", "database_unavailable")
    looks.failing = 0
    listening = asyncio.create_task(follow_response(gateway, alice, response_id, 4))
    await put(whole[5:])
    await ended()
    assert await listening == whole[5:]


async def test_rows_that_cannot_be_read_end_the_listening_not_the_looking(
    gateway, alice, answer, monkeypatch, caplog
):
    response_id, whole = answer
    fail_first_call(monkeypatch, "load_new_events", ValueError("a row that nobody foresaw"))
    *_, last = await follow_response(gateway, alice, response_id)
    assert (last["type"], last["code"]) == ("error", "internal_error")
    assert "a row that nobody foresaw" in caplog.text
    await put(whole[5:])
    await ended()
    assert await follow_response(gateway, alice, response_id) == whole
    caplog.clear()


async def test_the_first_look_too_may_find_the_database_away(gateway, alice, answer, monkeypatch):
    response_id, whole = answer
    fail_first_call(monkeypatch, "find_next_number", OperationalError("the connection is lost"))
    await put(whole[5:])
    await ended()
    assert await follow_response(gateway, alice, response_id) == whole


@pytest.mark.settings(GRACE_SECONDS=1)
async def test_listeners_are_told_when_the_server_ends(gateway, alice, answer):
    response_id, whole = answer
    listening = asyncio.create_task(follow_response(gateway, alice, response_id))
    await wait_until_true(lambda: listeners(gateway))
    await gateway.drain_server()
    *before, last = await listening
    assert before == whole[:5]
    assert (last["type"], last["code"]) == ("error", "server_shutdown")


async def test_many_are_asked_about_at_once(transactional_db):
    """Databases bound how much one statement may ask."""
    from uuid import uuid4

    wanted = {uuid4(): 0 for _ in range(2 * event_log.ROWS_AT_ONCE + 1)}
    found = await run_in_thread(event_log.load_new_events, wanted)
    assert found == dict.fromkeys(wanted, event_log.NewEvents([], is_over=True))
