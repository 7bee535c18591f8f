"""The ledger while the database is away, and when it is closed."""

import asyncio
from pathlib import Path

import pytest

from api.accounting import journal
from api.tests.accounting.ledger_harness import (
    LedgerHarness,
    read_row_ids,
    read_spooled_ids,
    row,
    serve,
    trace,
    until,
)
from providers.exceptions import (
    DatabaseUnavailable,
)

pytestmark = pytest.mark.usefixtures("retries_at_once")


async def test_answers_that_end_while_the_database_is_away_end_well_and_their_rows_are_spooled(
    harness: LedgerHarness,
) -> None:
    harness.writer.gate.clear()
    running = [asyncio.create_task(serve(harness, number)) for number in range(5)]
    await harness.writer.reached.wait()
    harness.writer.broken = True
    harness.writer.gate.set()
    assert await asyncio.gather(*running) == [None] * 5
    assert read_spooled_ids(harness) == list(range(5))
    assert harness.in_flight() == []
    assert read_row_ids(harness) == []


async def test_while_the_database_is_away_new_requests_are_refused_before_anything_is_done(
    harness: LedgerHarness,
) -> None:
    harness.writer.broken = True
    await serve(harness, 1)
    assert harness.ledger.is_suspended
    for refuse in (harness.ledger.require_available, lambda: harness.ledger.open_record(trace(2))):
        with pytest.raises(DatabaseUnavailable) as caught:
            refuse()
        assert (caught.value.shown_status, caught.value.shown_code) == (503, "database_unavailable")
        assert caught.value.retry_after_seconds
    assert harness.in_flight() == []


async def test_when_the_database_is_back_the_spool_is_written_once_and_requests_are_taken(
    harness: LedgerHarness,
) -> None:
    harness.writer.broken = True
    for number in range(3):
        harness.ledger.refusal_reason = ""
        await serve(harness, number)
    harness.writer.broken = False
    await until(lambda: not harness.ledger.is_suspended)
    assert read_row_ids(harness) == [0, 1, 2]
    assert harness.spool.list_waiting_files() == []
    assert await serve(harness, 7) is None
    assert read_row_ids(harness) == [0, 1, 2, 7]


async def test_an_idle_gateway_notices_that_the_database_is_back(harness: LedgerHarness) -> None:
    await asyncio.sleep(0)  # the writing task waits for work
    harness.ledger.suspend_requests()  # as the watcher of changes does
    assert harness.ledger.is_suspended
    await until(lambda: not harness.ledger.is_suspended)
    assert await serve(harness, 1) is None


async def test_a_database_that_goes_away_again_and_again_loses_and_doubles_nothing(
    harness: LedgerHarness,
) -> None:
    for number in range(30):
        harness.writer.broken = number % 3 == 1
        assert await serve(harness, number) is None
        harness.writer.broken = False
        await until(lambda: not harness.ledger.is_suspended)
    assert read_row_ids(harness) == list(range(30))
    assert (harness.spool.list_waiting_files(), harness.in_flight()) == ([], [])


async def test_a_row_that_was_committed_and_spooled_stands_once(harness: LedgerHarness) -> None:
    await serve(harness, 1)
    harness.spool.append_rows([row(1), row(2)])
    assert await harness.ledger.replay_spools() == 2
    assert read_row_ids(harness) == [1, 2]
    assert harness.writer.table[f"{1:032x}"]["prompt_tokens"] == 0  # the first one stays


async def test_rows_that_nobody_takes_stand_in_the_journal_with_their_end(
    tmp_path: Path,
) -> None:
    harness = LedgerHarness(tmp_path)
    harness.spool._limit_bytes = 10
    task = asyncio.create_task(harness.ledger.write_until_cancelled())
    harness.writer.broken = True
    assert await serve(harness, 1) is None
    assert harness.in_flight() == [f"{1:032x}"]
    task.cancel()
    await asyncio.wait([task])
    harness.ledger._journal.close()
    harness.writer.broken = False
    assert await harness.ledger.sweep_journals() == 1
    assert harness.writer.table[f"{1:032x}"]["status"] == "complete"


async def test_shutting_writes_what_waits_and_leaves_no_file(tmp_path: Path) -> None:
    harness = LedgerHarness(tmp_path)
    running = asyncio.create_task(serve(harness, 1))
    await until(lambda: harness.ledger._waiting_rows)
    await harness.ledger.write_rest_and_close()
    assert await running is None
    assert read_row_ids(harness) == [1]
    assert journal.list_journals(tmp_path / "journal") == []


async def test_the_writing_task_can_be_stopped_in_the_middle_of_a_commit_without_losing_the_batch(
    tmp_path: Path,
) -> None:
    harness = LedgerHarness(tmp_path)
    task = asyncio.create_task(harness.ledger.write_until_cancelled())
    harness.writer.gate.clear()
    running = asyncio.create_task(serve(harness, 1))
    await harness.writer.reached.wait()
    task.cancel()
    await asyncio.wait([task])
    harness.writer.gate.set()
    await harness.ledger.write_rest_and_close()
    assert await running is None
    assert read_row_ids(harness) == [1]
