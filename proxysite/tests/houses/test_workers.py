"""Several processes behind one port, on Postgres: what one learns all know, and the loss of one is
nobody else's.
"""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import httpx
import pytest
from django.conf import settings

from proxysite.testing import speech, wait_until_true
from proxysite.testing.upstream import DONE, Gate, send_refusal, send_stream
from proxysite.tests.houses.house_workers import list_workers, open_client, run_only, start_workers

pytestmark = pytest.mark.skipif(settings.EMBEDDED_DATABASE, reason="SQLite is for one process")
CHAT = "/v1/chat/completions"


@pytest.fixture
async def pair(own_house):
    """A house that serves with two processes."""
    await start_workers(own_house, 2)
    return own_house


def asked(key, **body):
    data = {"model": "echo", "messages": [{"role": "user", "content": "Hi"}]} | body
    return {"json": data, "headers": {"authorization": f"Bearer {key}"}}


async def status(house, key, **body):
    async with open_client(house) as http:
        return (await http.post(CHAT, **asked(key, **body))).status_code


async def answered(house, key, wanted):
    """Whether the provider's model is answered with this status now."""
    return await status(house, key, model="m") == wanted


async def test_a_revoked_key_stops_within_a_second_in_every_process(pair, house_key):
    key = (await asyncio.to_thread(pair.run_manage_command, "issue_key", "visitor")).splitlines()[
        -1
    ]
    for worker in list_workers(pair):
        with run_only(pair, worker):
            assert await status(pair, key) == 200
    first, second = list_workers(pair)
    await asyncio.to_thread(pair.run_manage_command, "revoke_key", key[:16])

    async def refused():
        return await status(pair, key) == 401

    with run_only(pair, first):
        await wait_until_true(refused, 1.0)
    with run_only(pair, second):
        await wait_until_true(refused, 1.0)
        assert await status(pair, house_key) == 200


async def test_a_killed_process_is_replaced_and_what_it_ran_is_found_as_interrupted(
    pair, house_key, house_upstream
):
    house_upstream.queue_scripts(send_stream(*speech.content_chunks("one"), Gate()))
    first, second = list_workers(pair)
    async with open_client(pair) as http:
        with run_only(pair, first):
            streaming = http.stream("POST", CHAT, **asked(house_key, model="m", stream=True))
            pieces = (await streaming.__aenter__()).aiter_text()
            assert "one" in await anext(pieces)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(pieces)
        await streaming.__aexit__(None, None, None)
    assert await status(pair, house_key) == 200
    await wait_until_true(lambda: len(list_workers(pair)) == 2 and first not in list_workers(pair))
    assert second in list_workers(pair)

    def interrupted():
        return pair.run_sql(
            "SELECT count(*) FROM api_usagerecord WHERE status = 'interrupted'"
        ) == [(1,)]

    await wait_until_true(interrupted)


async def test_both_processes_write_the_ledger(pair, house_key):
    for worker in list_workers(pair):
        with run_only(pair, worker):
            assert await status(pair, house_key) == 200
    assert pair.run_sql("SELECT count(*) FROM api_usagerecord WHERE status = 'complete'") == [(2,)]


async def test_a_rest_that_one_process_met_is_in_force_in_the_other_within_a_second(
    pair, house_key, house_upstream
):
    house_upstream.set_default_script(send_refusal(429, retry_after="60"))
    first, second = list_workers(pair)
    with run_only(pair, first):
        assert await status(pair, house_key, model="m") == 429
    assert len(house_upstream.requests) == 1

    async def told_without_asking():
        asked_before = len(house_upstream.requests)
        return (
            await status(pair, house_key, model="m") == 429
            and len(house_upstream.requests) == asked_before
        )

    with run_only(pair, second):
        await wait_until_true(told_without_asking, 1.0)
    assert len(house_upstream.requests) <= 2


async def test_a_rest_is_in_force_in_both_processes_within_a_second_also_under_load(
    pair, house_key, house_upstream
):
    """Sixty callers keep both processes busy; a second after the 429 nobody asks the upstream."""
    house_upstream.set_default_script(send_stream(*speech.streamed_completion("Hi."), DONE))
    over = asyncio.Event()
    answers = Counter()

    async def caller(http, model):
        while not over.is_set():
            answer = await http.post(CHAT, **asked(house_key, model=model))
            answers[model, answer.status_code] += 1

    limits = httpx.Limits(max_connections=60)
    async with httpx.AsyncClient(
        base_url=pair.url, trust_env=False, timeout=30, limits=limits
    ) as http:
        callers = [
            asyncio.create_task(caller(http, model)) for model in ("echo", "m") for _ in range(30)
        ]
        await wait_until_true(lambda: answers["m", 200] > 100 and answers["echo", 200] > 100)
        house_upstream.set_default_script(send_refusal(429, retry_after="60"))
        await wait_until_true(lambda: answers["m", 429])
        await asyncio.sleep(1)
        asked_before = len(house_upstream.requests)
        told_before = answers["m", 429]
        await wait_until_true(lambda: answers["m", 429] > told_before + 100)
        over.set()
        await asyncio.gather(*callers)
    assert len(house_upstream.requests) == asked_before
    assert {status for _, status in answers} == {200, 429}


async def test_a_deleted_token_and_a_switched_user_are_known_to_both_within_a_second(
    pair, house_key, house_upstream
):
    for worker in list_workers(pair):
        with run_only(pair, worker):
            assert await status(pair, house_key, model="m") == 200
    pair.run_sql("DELETE FROM tokens_upstreamtoken")
    assert pair.run_sql("SELECT count(*) FROM providers_tombstone WHERE topic = 'tokens'") == [(1,)]
    pair.run_sql("UPDATE auth_user SET is_active = false")
    for worker in list_workers(pair):
        with run_only(pair, worker):
            await wait_until_true(lambda: answered(pair, house_key, 401), 1.0)
    pair.run_sql("UPDATE auth_user SET is_active = true")
    for worker in list_workers(pair):
        with run_only(pair, worker):
            await wait_until_true(
                lambda: answered(pair, house_key, 503), 1.0
            )  # the key is good, the token is gone
    assert pair.run_sql("SELECT floor FROM providers_revision WHERE topic = 'tokens'") == [(0,)]


async def test_what_both_processes_count_of_one_token_adds_up(own_house, house_key, house_upstream):
    own_house.environment["TOKEN_COUNTERS_SECONDS"] = "0.1"
    await asyncio.to_thread(own_house.start, "--workers", "2")
    async with open_client(own_house) as http:
        many = [http.post(CHAT, **asked(house_key, model="m")) for _ in range(60)]
        assert {answer.status_code for answer in await asyncio.gather(*many)} == {200}
    await wait_until_true(
        lambda: own_house.run_sql("SELECT sum(requests) FROM tokens_upstreamtoken") == [(60,)]
    )
    assert "deadlock" not in own_house.output
    names = own_house.run_sql(
        "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database()"
    )
    assert len([name for (name,) in names if name.startswith("proxysite ")]) >= 2


async def test_sigterm_ends_all_of_them(pair):
    ids = list_workers(pair)
    assert await asyncio.to_thread(pair.end_process) == 0
    for pid in ids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert "Traceback" not in pair.output


async def test_a_worker_that_begins_when_its_supervisor_dies_ends_too(own_house):
    own_house.launch_process("--port", "0", "--workers", "2")
    await wait_until_true(lambda: len(list_workers(own_house)) == 2)
    started = list_workers(own_house)  # they have not come far: Django alone takes longer to begin
    os.kill(own_house.process.pid, signal.SIGKILL)
    own_house.process.wait()
    await wait_until_true(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started), 30)
