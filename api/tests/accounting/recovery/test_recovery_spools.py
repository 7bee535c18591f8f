"""Rows in the spools of several processes are written once."""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import pytest

from api.accounting.spool import Spool
from api.accounting.write_errors import WriteFailed
from api.tests.accounting.ledger_harness import (
    LedgerHarness,
    read_row_ids,
    read_spooled_ids,
    row,
    until,
)

pytestmark = pytest.mark.usefixtures("retries_at_once")


async def test_spools_of_dead_processes_are_replayed_in_bounded_batches(
    harness: LedgerHarness,
) -> None:
    dead = Spool(harness.spool.directory, 10**9)
    dead.append_rows([row(number) for number in range(2_500)])
    assert await harness.ledger.replay_spools() == 2_500
    assert len(read_row_ids(harness)) == 2_500
    assert max(harness.writer.batches) <= 1_000
    assert harness.spool.list_waiting_files() == []


async def test_a_replay_that_fails_half_way_is_repeated_without_loss(
    harness: LedgerHarness,
) -> None:
    Spool(harness.spool.directory, 10**9).append_rows([row(number) for number in range(1_500)])
    write, calls = harness.writer.write_rows, []

    async def fails_at_the_third(rows: list[Any]) -> None:
        calls.append(len(rows))
        if len(calls) == 3:
            raise WriteFailed("made up")
        await write(rows)

    harness.writer.write_rows = fails_at_the_third  # type: ignore[method-assign]
    with pytest.raises(WriteFailed):
        await harness.ledger.replay_spools()
    assert read_spooled_ids(harness) == list(range(1_500))
    assert await harness.ledger.replay_spools() == 1_500
    assert read_row_ids(harness) == list(range(1_500))
    assert harness.spool.list_waiting_files() == []


async def test_rows_that_are_spooled_after_a_replay_that_failed_do_not_displace_those_before(
    harness: LedgerHarness,
) -> None:
    write = harness.writer.write_rows

    async def takes_no_rows(rows: list[Any]) -> None:
        if rows:
            raise WriteFailed("away again")

    harness.spool.append_rows([row(1)])
    for number in (2, 3):
        harness.writer.write_rows = takes_no_rows  # type: ignore[method-assign]
        with pytest.raises(WriteFailed):
            await harness.ledger.replay_spools()
        harness.spool.append_rows([row(number)])
    harness.writer.write_rows = write  # type: ignore[method-assign]
    await harness.ledger.replay_spools()
    await harness.ledger.replay_spools()
    assert read_row_ids(harness) == [1, 2, 3]
    assert harness.spool.list_waiting_files() == []


async def test_a_row_that_another_process_spools_while_its_file_is_replayed_is_not_lost(
    harness: LedgerHarness,
) -> None:
    other = Spool(harness.spool.directory, 10**9)
    other.append_rows([row(1)])
    write, adding = harness.writer.write_rows, []

    async def meanwhile(rows: list[Any]) -> None:
        if rows and not adding:  # the other process has not noticed yet that the database is back
            adding.append(asyncio.create_task(asyncio.to_thread(other.append_rows, [row(2)])))
            await asyncio.wait(
                adding, timeout=0.1
            )  # it is through at once, or waits until the replay is over
        await write(rows)

    harness.writer.write_rows = meanwhile  # type: ignore[method-assign]
    await harness.ledger.replay_spools()
    await adding[0]
    await harness.ledger.replay_spools()
    assert read_row_ids(harness) == [1, 2]
    assert harness.spool.list_waiting_files() == []


async def test_a_spool_that_another_process_replayed_first_is_passed_over(
    harness: LedgerHarness,
) -> None:
    first, second = (Spool(harness.spool.directory, 10**9) for _ in range(2))
    first.append_rows([row(1)])
    second.append_rows([row(2)])
    write = harness.writer.write_rows

    async def meanwhile(rows: list[Any]) -> None:
        await write(rows)
        if rows:
            for path in harness.spool.list_waiting_files():
                if path != harness.spool.list_waiting_files()[0]:
                    path.unlink()  # another process has written these

    harness.writer.write_rows = meanwhile  # type: ignore[method-assign]
    await harness.ledger.replay_spools()
    assert len(read_row_ids(harness)) == 1
    assert harness.spool.list_waiting_files() == []


async def test_a_spool_that_another_process_finishes_just_before_it_is_read_is_passed_over(
    harness: LedgerHarness,
) -> None:
    for number in (1, 2):
        Spool(harness.spool.directory, 10**9).append_rows([row(number)])
    read, finished = harness.spool.read_spool_file, []

    def finished_elsewhere(path: Path) -> list[Any]:
        if not finished:
            finished.append(path)
            path.unlink()
        return read(path)

    harness.spool.read_spool_file = finished_elsewhere  # type: ignore[method-assign]
    await harness.ledger.replay_spools()
    assert len(read_row_ids(harness)) == 1
    assert harness.spool.list_waiting_files() == []


@pytest.mark.parametrize(
    "junk", [b"null\n", b"[1]\n", b"[]\n", b'{"a": 1}\n', b"\xff\n", b"[" * 9], ids=repr
)
async def test_junk_in_a_spool_does_not_keep_the_gateway_away(
    harness: LedgerHarness, junk: bytes
) -> None:
    (harness.spool.directory / "1-ab.spool").write_bytes(junk + orjson.dumps(row(1)) + b"\n")
    harness.ledger.suspend_requests()
    await until(lambda: not harness.ledger.is_suspended)
    assert read_row_ids(harness) in ([1], [])
    assert harness.spool.list_waiting_files() == []
