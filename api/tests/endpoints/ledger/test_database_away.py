"""The database is away for a while: running answers end well, and no row is lost."""

import asyncio
import errno
import shutil
from contextlib import asynccontextmanager

import pytest
from django.conf import settings
from django.db import OperationalError, connection

from api.models import ApiKey, UsageRecord
from api.tests.endpoints.late_answers import send_late
from api.tests.endpoints.ledger.impatient_database import SHORT_DATABASE_TIMEOUT, is_answered
from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.upstream import DONE, Gate, answer_honestly, send_stream


def list_spool_files():
    return list((settings.HOME.root / "spool").iterdir())


@SHORT_DATABASE_TIMEOUT
@WHOLE_AND_STREAMED
async def test_while_nothing_can_be_written_running_answers_end_well_and_new_ones_wait(
    gateway, upstream, alice, ledger_lock, streams
):
    gate = Gate()
    upstream.queue_scripts(send_late(gate, answer_honestly()))
    asking = asyncio.create_task(gateway.request_chat(alice.key, stream=streams))
    await upstream.wait_for_request()
    async with ledger_lock:
        gate.open()
        answer = await asking
        assert (answer.status, answer.text) == (200, "Hello there!")
        assert not streams or answer.is_complete
        assert list_spool_files()
        refused = await gateway.request_chat(alice.key)
        assert (refused.status, refused.error["type"]) == (503, "server_error")
        assert refused.error["code"] == "database_unavailable"
        assert int(refused.headers["retry-after"]) >= 1
        assert len(upstream.requests) == 1
    await wait_until_true(lambda: is_answered(gateway, alice))
    found = await rows.read_usage_records()
    assert f"req_{found[0].id.hex}" == answer.headers["x-request-id"]
    assert [row.status for row in found] == ["complete", "complete"]
    assert list_spool_files() == []


@SHORT_DATABASE_TIMEOUT
async def test_a_stream_whose_caller_leaves_meanwhile_is_not_forgotten(
    gateway, upstream, alice, ledger_lock
):
    upstream.queue_scripts(send_stream(*speech.content_chunks("one"), upstream.gate, DONE))
    async with ledger_lock:
        async with gateway.open_stream(alice.key) as reading:
            await reading.read_until("one")
            await reading.leave_early()
        await wait_until_true(list_spool_files)
    await wait_until_true(lambda: is_answered(gateway, alice))
    assert [row.status for row in await rows.read_usage_records()] == ["abandoned", "complete"]


@SHORT_DATABASE_TIMEOUT
async def test_rows_that_were_put_aside_are_written_at_the_next_start_and_only_once(
    gateway, upstream, alice, ledger_lock, tmp_path
):
    gate = Gate()
    upstream.queue_scripts(send_late(gate, answer_honestly()))
    asking = asyncio.create_task(gateway.request_chat(alice.key))
    await upstream.wait_for_request()
    async with ledger_lock:
        gate.open()
        await asking
        (spool,) = list_spool_files()
        shutil.copy(spool, tmp_path)
    await wait_until_true(lambda: not list_spool_files())
    await run_in_thread(UsageRecord.objects.all().delete)
    for _ in range(2):
        await gateway.stop()
        shutil.copy(tmp_path / spool.name, spool)
        await gateway.start()
        assert list_spool_files() == []
        assert (await rows.read_only_usage_record()).status == "complete"


@pytest.mark.settings(DATABASE_TIMEOUT_SECONDS=0.3, SPOOL_LIMIT_BYTES=10)
async def test_a_row_that_neither_database_nor_spool_takes_is_written_without_a_restart(
    gateway, upstream, alice, ledger_lock, caplog
):
    gate = Gate()
    upstream.queue_scripts(send_late(gate, answer_honestly()))
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


@asynccontextmanager
async def disturb_watcher(monkeypatch):
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
    async with disturb_watcher(monkeypatch):
        pass
    await wait_until_true(lambda: is_answered(gateway, alice))
    person = await run_in_thread(rows.create_person, "later")
    await wait_until_true(lambda: is_answered(gateway, person))


async def test_changes_made_while_the_database_was_away_are_seen_afterwards(
    gateway, upstream, alice, monkeypatch
):
    async with disturb_watcher(monkeypatch):
        await run_in_thread(ApiKey.objects.all().revoke)

    async def refused():
        return (await gateway.request_chat(alice.key)).status == 401

    await wait_until_true(refused)
