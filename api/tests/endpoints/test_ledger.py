"""The ledger: one row per accepted request in every exit path, also when the database is away for a
while.
"""

import asyncio
import errno
import shutil
from contextlib import asynccontextmanager

import pytest
from django.conf import settings
from django.db import OperationalError, connection

from api.models import ApiKey, UsageRecord
from providers.database.database_threads import run_in_thread
from proxysite.testing import PATIENCE_SECONDS, rows, speech, wait_until_true
from proxysite.testing.upstream import DONE, Gate, answer_honestly, send_reply, send_stream

STREAMS = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
PROMISED_SECONDS = 3  # in which new requests are told that the database is away
IMPATIENT = pytest.mark.settings(DATABASE_TIMEOUT_SECONDS=0.3)


def spooled():
    return list((settings.HOME.root / "spool").iterdir())


def late(gate, script):
    """`script`, when the test opens the gate."""

    async def waiting(exchange):
        await gate.wait_until_open()
        await script(exchange)

    return waiting


async def answers(gateway, alice):
    return (await gateway.request_chat(alice.key)).status == 200


# --- one row each ---------------------------------------------------------------------------------
async def test_many_requests_at_once_have_one_row_each(gateway, upstream, alice):
    asked = [gateway.request_chat(alice.key, stream=bool(number % 2)) for number in range(60)]
    found = await asyncio.gather(*asked)
    assert {answer.status for answer in found} == {200}
    written = {f"req_{row.id.hex}" for row in await rows.read_usage_records()}
    assert written == {answer.headers["x-request-id"] for answer in found}
    assert len(written) == 60


async def test_ids_are_in_the_order_of_time(gateway, upstream, alice):
    ids = [(await gateway.request_chat(alice.key)).headers["x-request-id"] for _ in range(3)]
    assert [f"req_{row.id.hex}" for row in await rows.read_usage_records()] == ids
    assert all(row.id.version == 7 for row in await rows.read_usage_records())


HOSTILE = [
    "back\\slash \\N \\.",
    "tab\tline\nreturn\r",
    "quote\"'; DROP TABLE x; --",
    "\u2028 Grüße 🙂 \x7f",
    "{}%s$1,,",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_whatever_an_upstream_says_stands_in_the_row_as_it_is(gateway, upstream, alice, text):
    upstream.queue_scripts(send_reply(speech.openai_error_body(text), 500))
    shown = (await gateway.request_chat(alice.key)).error["message"]
    assert (await rows.read_only_usage_record()).attempts[0]["reason"] == shown
    for part in text.split():
        if part.isprintable():
            assert part in shown


@pytest.mark.parametrize("name", ["we\\ird\\N", "\\.", "a'b\"c", "Grüße🙂", "a,b{c}"])
async def test_whatever_a_model_is_called_stands_in_the_row_as_it_is(
    gateway, upstream, alice, name
):
    await run_in_thread(rows.create_alias, name, "m")
    await gateway.reload_rows()
    assert (await gateway.request_chat(alice.key, model=name)).status == 200
    assert (await rows.read_only_usage_record()).model == name


async def test_a_row_outlives_what_it_refers_to(gateway, upstream, alice, token, provider):
    gate = Gate()
    upstream.queue_scripts(late(gate, answer_honestly()))
    asking = asyncio.create_task(gateway.request_chat(alice.key))
    await upstream.wait_for_request()

    def delete():
        ApiKey.objects.all().delete()
        provider.delete()

    await run_in_thread(delete)
    gate.open()
    assert (await asking).status == 200
    assert (await rows.read_only_usage_record()).status == "complete"


async def test_a_refused_request_has_no_row(gateway, upstream, alice):
    assert (await gateway.request_chat(alice.key, temperature=9)).status == 400
    assert (await gateway.request_chat(alice.key, model="nothing")).status == 404
    assert (await gateway.request_chat("sk-ps-unknown")).status == 401
    assert await rows.read_usage_records() == []


# --- the database is away -------------------------------------------------------------------------
@IMPATIENT
@STREAMS
async def test_while_nothing_can_be_written_running_answers_end_well_and_new_ones_wait(
    gateway, upstream, alice, ledger_lock, streams
):
    gate = Gate()
    upstream.queue_scripts(late(gate, answer_honestly()))
    asking = asyncio.create_task(gateway.request_chat(alice.key, stream=streams))
    await upstream.wait_for_request()
    async with ledger_lock:
        gate.open()
        answer = await asking
        assert (answer.status, answer.text) == (200, "Hello there!")
        assert not streams or answer.is_complete
        assert spooled()
        refused = await gateway.request_chat(alice.key)
        assert (refused.status, refused.error["type"]) == (503, "server_error")
        assert refused.error["code"] == "database_unavailable"
        assert int(refused.headers["retry-after"]) >= 1
        assert len(upstream.requests) == 1
    await wait_until_true(lambda: answers(gateway, alice))
    found = await rows.read_usage_records()
    assert f"req_{found[0].id.hex}" == answer.headers["x-request-id"]
    assert [row.status for row in found] == ["complete", "complete"]
    assert spooled() == []


@IMPATIENT
async def test_a_stream_whose_caller_leaves_meanwhile_is_not_forgotten(
    gateway, upstream, alice, ledger_lock
):
    upstream.queue_scripts(send_stream(*speech.content_chunks("one"), upstream.gate, DONE))
    async with ledger_lock:
        async with gateway.open_stream(alice.key) as reading:
            await reading.read_until("one")
            await reading.leave_early()
        await wait_until_true(spooled)
    await wait_until_true(lambda: answers(gateway, alice))
    assert [row.status for row in await rows.read_usage_records()] == ["abandoned", "complete"]


@IMPATIENT
async def test_rows_that_were_put_aside_are_written_at_the_next_start_and_only_once(
    gateway, upstream, alice, ledger_lock, tmp_path
):
    gate = Gate()
    upstream.queue_scripts(late(gate, answer_honestly()))
    asking = asyncio.create_task(gateway.request_chat(alice.key))
    await upstream.wait_for_request()
    async with ledger_lock:
        gate.open()
        await asking
        (spool,) = spooled()
        shutil.copy(spool, tmp_path)
    await wait_until_true(lambda: not spooled())
    await run_in_thread(UsageRecord.objects.all().delete)
    for _ in range(2):
        await gateway.stop()
        shutil.copy(tmp_path / spool.name, spool)
        await gateway.start()
        assert spooled() == []
        assert (await rows.read_only_usage_record()).status == "complete"


@pytest.mark.settings(DATABASE_TIMEOUT_SECONDS=0.3, SPOOL_LIMIT_BYTES=10)
async def test_a_row_that_neither_database_nor_spool_takes_is_written_without_a_restart(
    gateway, upstream, alice, ledger_lock, caplog
):
    gate = Gate()
    upstream.queue_scripts(late(gate, answer_honestly()))
    asking = asyncio.create_task(gateway.request_chat(alice.key))
    await upstream.wait_for_request()
    async with ledger_lock:
        gate.open()
        assert (await asking).status == 200
        ready = await gateway.send_request("GET", "/readyz")
        assert (ready.status, ready.body) == (503, b"not ready: the database does not answer\n")
    await wait_until_true(lambda: not gateway.inner.ledger.is_suspended)
    assert (await rows.read_only_usage_record()).status == "complete"
    assert (await gateway.send_request("GET", "/readyz")).status == 200
    caplog.clear()


async def test_a_journal_on_a_full_disk_is_a_503_that_says_so_and_no_fault(
    gateway, upstream, alice, monkeypatch, caplog
):
    def full(file, offset, length):
        raise OSError(errno.ENOSPC, "No space left on device")

    taken = [
        gateway.inner.ledger._journal._free_slots.pop()
        for _ in range(len(gateway.inner.ledger._journal._free_slots))
    ]
    with monkeypatch.context() as patch:
        patch.setattr("api.accounting.journal.os.posix_fallocate", full)
        for _ in range(5):
            found = await gateway.request_chat(alice.key)
            assert (found.status, found.error["code"]) == (503, "database_unavailable")
            assert "the disk is full" in found.error["message"]
            assert found.headers["retry-after"]
        ready = await gateway.send_request("GET", "/readyz")
        assert (ready.status, ready.body) == (503, b"not ready: the disk is full\n")
        assert (await gateway.send_request("GET", "/healthz")).status == 200
    assert upstream.exchanges == []
    assert sum("the disk is full" in record.getMessage() for record in caplog.records) == 1
    gateway.inner.ledger._journal._free_slots += taken
    await wait_until_true(lambda: not gateway.inner.ledger.is_suspended)
    assert (await gateway.request_chat(alice.key)).status == 200


ODD_FIGURES = [True, False, -1, 10**30, 1e308, "7", None, [1], {"a": 1}, "\0", 2**31, 1.5]


@pytest.mark.parametrize("figure", ODD_FIGURES, ids=str)
async def test_whatever_an_upstream_says_of_its_usage_the_row_is_written(
    gateway, upstream, alice, figure
):
    usage = {
        "prompt_tokens": figure,
        "completion_tokens": figure,
        "total_tokens": figure,
        "cached_tokens": figure,
        "completion_tokens_details": {"reasoning_tokens": figure},
    }
    upstream.queue_scripts(send_reply(speech.chat_completion("hi") | {"usage": usage}))
    answer = await gateway.request_chat(alice.key)
    assert answer.status == 200
    row = await rows.read_only_usage_record()
    assert f"req_{row.id.hex}" == answer.headers["x-request-id"]
    assert (row.status, row.user_id, row.model) == ("complete", alice.user.pk, "m")
    assert isinstance(row.prompt_tokens, int)
    assert row.estimated


async def test_a_row_that_the_database_refuses_is_written_as_facts_alone(
    gateway, upstream, alice, monkeypatch, caplog
):
    monkeypatch.setattr(
        "providers.protocol.usage_meter.parse_count", lambda value: value
    )  # a fault that lets anything through
    usage = {"prompt_tokens": -5, "completion_tokens": 10**30}
    upstream.queue_scripts(send_reply(speech.chat_completion("hi") | {"usage": usage}))
    answer = await gateway.request_chat(alice.key)
    row = await rows.read_only_usage_record()
    assert f"req_{row.id.hex}" == answer.headers["x-request-id"]
    assert (row.status, row.http_status, row.user_id, row.model) == (
        "complete",
        200,
        alice.user.pk,
        "m",
    )
    assert (row.prompt_tokens, row.completion_tokens, row.estimated) == (0, 0, True)
    assert "refuses a row" in caplog.text
    caplog.clear()


@asynccontextmanager
async def disturbed(monkeypatch):
    """Within it the watcher of changes cannot read them; on Postgres its connection is ended
    once.
    """
    if connection.vendor == "postgresql":
        await run_in_thread(end_other_connections)
        yield
        return
    faults = []

    def broken():
        faults.append(1)
        raise OperationalError("away")

    with monkeypatch.context() as patch:
        patch.setattr("proxysite.server.change_watcher.read_versions", broken)
        await wait_until_true(lambda: len(faults) >= 2)
        yield


def end_other_connections():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid != pg_backend_pid()"
        )


async def test_a_short_fault_of_the_watcher_passes_without_any_request(
    gateway, upstream, alice, monkeypatch
):
    async with disturbed(monkeypatch):
        pass
    await wait_until_true(lambda: answers(gateway, alice))
    person = await run_in_thread(rows.create_person, "later")
    await wait_until_true(lambda: answers(gateway, person))


async def test_changes_made_while_the_database_was_away_are_seen_afterwards(
    gateway, upstream, alice, monkeypatch
):
    async with disturbed(monkeypatch):
        await run_in_thread(ApiKey.objects.all().revoke)

    async def refused():
        return (await gateway.request_chat(alice.key)).status == 401

    await wait_until_true(refused)


# --- Postgres stops answering ---------------------------------------------------------------------
@IMPATIENT
@STREAMS
async def test_a_frozen_database_is_a_503_for_new_requests_and_no_harm_to_running_ones(
    database_proxy, gateway, upstream, alice, mallory, streams
):
    gate = Gate()
    upstream.queue_scripts(late(gate, answer_honestly()))
    assert (await gateway.request_chat("sk-ps-unknown")).status == 401
    asking = asyncio.create_task(gateway.request_chat(alice.key, stream=streams))
    await upstream.wait_for_request()
    with database_proxy.freeze_traffic():
        gate.open()
        async with asyncio.timeout(PROMISED_SECONDS):
            answer = await asking
        assert (answer.status, answer.text) == (200, "Hello there!")
        async with asyncio.timeout(PROMISED_SECONDS):
            known, unknown = await asyncio.gather(
                gateway.request_chat(alice.key), gateway.request_chat(mallory.key)
            )
        for refused in (known, unknown):
            assert (refused.status, refused.error["code"]) == (503, "database_unavailable")
        assert (await gateway.send_request("GET", "/healthz")).status == 200
        assert (await gateway.send_request("GET", "/readyz")).status == 503
        assert len(upstream.requests) == 1
    await wait_until_true(lambda: answers(gateway, alice))
    assert (await gateway.request_chat(mallory.key)).status == 200
    first = (await rows.read_usage_records())[0]
    assert f"req_{first.id.hex}" == answer.headers["x-request-id"]
    assert first.status == "complete"


@IMPATIENT
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/m", "/health"])
async def test_the_ordinary_doors_do_not_hang_on_a_frozen_database(
    database_proxy, gateway, alice, path
):
    assert (await gateway.send_request("GET", path, alice.key)).status == 200
    with database_proxy.freeze_traffic():
        refused = await gateway.send_request("GET", path, alice.key)
        assert (refused.status, refused.error["code"]) == (503, "database_unavailable")

    async def answered():
        return (await gateway.send_request("GET", path, alice.key)).status == 200

    await wait_until_true(answered)


@IMPATIENT
async def test_many_requests_during_a_freeze_are_all_answered(
    database_proxy, gateway, upstream, alice
):
    people = [await run_in_thread(rows.create_person, f"person-{number}") for number in range(12)]
    assert await answers(gateway, alice)
    with database_proxy.freeze_traffic():
        async with asyncio.timeout(PROMISED_SECONDS):
            found = await asyncio.gather(*(gateway.request_chat(person.key) for person in people))
        assert {answer.status for answer in found} == {503}
    await wait_until_true(lambda: answers(gateway, alice))
    assert {
        answer.status
        for answer in await asyncio.gather(*(gateway.request_chat(person.key) for person in people))
    } == {200}
    assert await run_in_thread(UsageRecord.objects.filter(status="complete").count) == len(
        await rows.read_usage_records()
    )


@IMPATIENT
async def test_a_gateway_that_starts_without_its_database_waits_for_it(
    database_proxy, gateway, upstream, alice
):
    await gateway.stop()
    await run_in_thread(connection.close_pool)  # a new process has none
    with database_proxy.freeze_traffic():
        async with asyncio.timeout(PATIENCE_SECONDS):
            await gateway.start()
        async with asyncio.timeout(PROMISED_SECONDS):
            refused = await gateway.request_chat(alice.key)
        assert (refused.status, refused.error["code"]) == (503, "database_unavailable")
        assert (await gateway.send_request("GET", "/healthz")).status == 200
        assert (await gateway.send_request("GET", "/readyz")).status == 503
    await wait_until_true(lambda: answers(gateway, alice))
