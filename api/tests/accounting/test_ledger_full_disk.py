"""A full disk: no row is lost, nobody's answer waits, new requests are told so, and it heals by
itself.
"""

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest

from api.accounting import journal
from api.accounting.journal import FIRST_SLOTS
from api.accounting.usage_table import COLUMNS
from api.accounting.write_errors import WriteFailed
from api.tests.accounting.ledger_harness import (
    LedgerHarness,
    read_row_ids,
    serve,
    trace,
    until,
)
from providers.exceptions import DatabaseUnavailable


class Disk:
    """The disk of a ledger; while it is `full` neither the database nor a file takes anything."""

    def __init__(self, harness: LedgerHarness, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        write, write_file = harness.writer.write_rows, journal.os.write
        allocate = journal.os.posix_fallocate

        async def write_rows(rows: list[Any]) -> None:
            harness.writer.reached.set()
            await harness.writer.gate.wait()
            if self.full and rows:  # a transaction without rows needs no room
                raise WriteFailed("database or disk is full", disk_full=True)
            await write(rows)

        def write_or_fail(file: int, data: bytes) -> int:
            self._check()
            return write_file(file, data)

        def allocate_or_fail(file: int, offset: int, length: int) -> None:
            self._check()
            allocate(file, offset, length)

        monkeypatch.setattr(harness.writer, "write_rows", write_rows)
        monkeypatch.setattr("api.accounting.spool.os.write", write_or_fail)
        monkeypatch.setattr("api.accounting.journal.os.posix_fallocate", allocate_or_fail)

    def _check(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")


pytestmark = pytest.mark.usefixtures("retries_at_once")


@pytest.fixture
def disk(harness: LedgerHarness, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(harness, monkeypatch)


def messages(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


async def test_answers_end_well_and_their_rows_are_written_when_there_is_room_again(
    harness: LedgerHarness, disk: Disk
) -> None:
    harness.writer.gate.clear()
    running = [asyncio.create_task(serve(harness, number)) for number in range(30)]
    await harness.writer.reached.wait()
    disk.full = True
    harness.writer.gate.set()
    assert await asyncio.gather(*running) == [None] * 30
    disk.full = False
    await until(lambda: not harness.ledger.is_suspended)
    assert read_row_ids(harness) == list(range(30))
    assert {found["status"] for found in harness.writer.table.values()} == {"complete"}
    assert (harness.in_flight(), harness.spool.list_waiting_files()) == ([], [])


async def fill(harness: LedgerHarness, disk: Disk, number: int = 1) -> None:
    """Let a request end on a full disk."""
    disk.full = True
    assert await serve(harness, number) is None
    assert harness.ledger.is_suspended


async def test_new_requests_are_refused_with_the_reason_until_the_kept_rows_are_written(
    harness: LedgerHarness, disk: Disk
) -> None:
    await fill(harness, disk)
    for _ in range(20):  # the database takes transactions without rows: it is not back for that
        await asyncio.sleep(0.005)
        with pytest.raises(DatabaseUnavailable, match="the disk is full") as caught:
            harness.ledger.open_record(trace(2))
    assert (caught.value.shown_status, caught.value.shown_code) == (503, "database_unavailable")
    assert caught.value.retry_after_seconds
    assert harness.ledger.refusal_reason == "the disk is full"
    disk.full = False
    await until(lambda: not harness.ledger.is_suspended)
    assert await serve(harness, 2) is None
    assert read_row_ids(harness) == [1, 2]


async def test_each_change_of_state_is_one_line_in_the_log_and_no_traceback(
    harness: LedgerHarness, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (1, 2):
        await fill(harness, disk, number)
        for _ in range(20):
            await asyncio.sleep(0.005)
        disk.full = False
        await until(lambda: not harness.ledger.is_suspended)
    assert len(messages(caplog, "the disk is full")) <= 4  # refused; rows are in memory: twice
    assert len(messages(caplog, "taken again")) == 2
    assert not any(record.exc_info for record in caplog.records)
    assert "rollback" not in caplog.text


async def test_a_journal_that_cannot_grow_refuses_requests_and_grows_when_there_is_room(
    harness: LedgerHarness, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(FIRST_SLOTS):
        harness.ledger.open_record(trace(number))
    disk.full = True
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable, match="the disk is full"):
            harness.ledger.open_record(trace(FIRST_SLOTS))
    assert len(messages(caplog, "No space left on device")) == 1
    await asyncio.sleep(0.05)
    assert harness.ledger.is_suspended
    disk.full = False
    await until(lambda: not harness.ledger.is_suspended)
    harness.ledger.open_record(trace(FIRST_SLOTS))
    assert len(harness.in_flight()) == FIRST_SLOTS + 1


@pytest.mark.settings(UNWRITTEN_LIMIT_BYTES=1_500)
async def test_beyond_the_bound_of_memory_the_journal_has_the_rows_and_they_are_written_too(
    harness: LedgerHarness, disk: Disk
) -> None:
    harness.writer.gate.clear()
    running = [asyncio.create_task(serve(harness, number)) for number in range(40)]
    await harness.writer.reached.wait()
    disk.full = True
    harness.writer.gate.set()
    assert await asyncio.gather(*running) == [None] * 40
    assert harness.ledger._unwritten_rows._size_bytes <= 1_500
    assert len(harness.ledger._unwritten_rows) == 40
    disk.full = False
    await until(lambda: not harness.ledger.is_suspended)
    assert read_row_ids(harness) == list(range(40))
    assert {(found["status"], found["key_id"]) for found in harness.writer.table.values()} == {
        ("complete", 11)
    }
    assert {found["completion_tokens"] for found in harness.writer.table.values()} == {1}
    assert harness.in_flight() == []


async def test_a_process_that_dies_on_a_full_disk_leaves_how_its_requests_ended(
    harness: LedgerHarness, disk: Disk
) -> None:
    await fill(harness, disk)
    left = harness.ledger._journal.path.read_bytes()  # as after kill -9
    disk.full = False
    await until(lambda: not harness.ledger.is_suspended)
    written = dict(harness.writer.table[f"{1:032x}"])
    harness.writer.table.clear()
    (harness.ledger._journal_directory / "1-dead.journal").write_bytes(left)
    assert await harness.ledger.sweep_journals() == 1
    found = harness.writer.table[f"{1:032x}"]
    lost = {"provider_id", "token_id", "attempts", "queue_ms", "connect_ms", "first_byte_ms"}
    assert {name for name in COLUMNS if found[name] != written[name]} <= lost


async def test_rows_in_memory_go_to_the_spool_when_the_disk_is_back_before_the_database(
    harness: LedgerHarness, disk: Disk
) -> None:
    await fill(harness, disk)
    harness.writer.broken = True
    disk.full = False
    await until(
        lambda: harness.spool.list_waiting_files() and not len(harness.ledger._unwritten_rows)
    )
    await until(lambda: harness.ledger.refusal_reason == "the database does not answer")
    assert harness.in_flight() == []
    harness.writer.broken = False
    await until(lambda: not harness.ledger.is_suspended)
    assert read_row_ids(harness) == [1]


async def test_a_shutdown_on_a_full_disk_leaves_the_rows_to_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = LedgerHarness(tmp_path)
    disk = Disk(harness, monkeypatch)
    task = asyncio.create_task(harness.ledger.write_until_cancelled())
    await fill(harness, disk)
    task.cancel()
    await asyncio.wait([task])
    await harness.ledger.write_rest_and_close()
    assert harness.in_flight() == [f"{1:032x}"]
    disk.full = False
    following = LedgerHarness(tmp_path)
    await following.ledger.sweep_journals()
    assert following.writer.table[f"{1:032x}"]["status"] == "complete"
    await following.ledger.write_rest_and_close()


async def test_a_fault_of_ours_while_rows_are_written_loses_none_and_is_over_when_it_is(
    harness: LedgerHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faults = [ZeroDivisionError()]
    write = harness.writer.write_rows

    async def write_or_fail(rows: list[Any]) -> None:
        if rows and faults:
            raise faults.pop()
        await write(rows)

    monkeypatch.setattr(harness.writer, "write_rows", write_or_fail)
    assert await serve(harness, 1) is None
    await until(lambda: not harness.ledger.is_suspended)
    assert await serve(harness, 2) is None
    assert read_row_ids(harness) == [1, 2]
    assert "ZeroDivisionError" in caplog.text
