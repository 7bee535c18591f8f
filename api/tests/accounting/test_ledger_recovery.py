import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.conf import settings as django_settings

from api.accounting import journal
from api.accounting.journal import SLOT_BYTES, Journal
from api.accounting.spool import Spool
from api.accounting.usage_table import COLUMNS
from api.accounting.write_errors import WriteFailed
from api.tests.accounting.test_ledger import Kept, answered, chunk, served, trace, until
from providers.exceptions import DatabaseUnavailable

AT = "2026-11-21T10:00:00.123456+00:00"
VALUES = (
    *(
        "",
        AT,
        11,
        12,
        None,
        None,
        "chat/completions",
        "m",
        True,
        "complete",
        200,
        "",
        [],
        1,
        2,
        0,
        0,
        False,
    ),
    *(0.5, None, 1.0, 2.0),
)


def row(number: int) -> list[Any]:
    return list((dict(zip(COLUMNS, VALUES, strict=True)) | {"id": f"{number:032x}"}).values())


pytestmark = pytest.mark.usefixtures("retries_at_once")


def ids(kept: Kept) -> list[int]:
    return sorted(int(one, 16) for one in kept.writer.table)


def spooled(kept: Kept) -> list[int]:
    lines = (
        line for path in kept.spool.list_waiting_files() for line in path.read_bytes().splitlines()
    )
    return sorted(int(orjson.loads(line)[0], 16) for line in lines)


async def serve(kept: Kept, number: int) -> BaseException | None:
    asked = trace(number)
    return await served(kept, asked, answered(asked, [[chunk("a")]]))


# --- the database is away -------------------------------------------------------------------------
async def test_answers_that_end_while_the_database_is_away_end_well_and_their_rows_are_spooled(
    kept: Kept,
) -> None:
    kept.writer.gate.clear()
    running = [asyncio.create_task(serve(kept, number)) for number in range(5)]
    await kept.writer.reached.wait()
    kept.writer.broken = True
    kept.writer.gate.set()
    assert await asyncio.gather(*running) == [None] * 5
    assert spooled(kept) == list(range(5))
    assert kept.in_flight() == []
    assert ids(kept) == []


async def test_while_the_database_is_away_new_requests_are_refused_before_anything_is_done(
    kept: Kept,
) -> None:
    kept.writer.broken = True
    await serve(kept, 1)
    assert kept.ledger.is_suspended
    for refuse in (kept.ledger.require_available, lambda: kept.ledger.open_record(trace(2))):
        with pytest.raises(DatabaseUnavailable) as caught:
            refuse()
        assert (caught.value.shown_status, caught.value.shown_code) == (503, "database_unavailable")
        assert caught.value.retry_after_seconds
    assert kept.in_flight() == []


async def test_when_the_database_is_back_the_spool_is_written_once_and_requests_are_taken(
    kept: Kept,
) -> None:
    kept.writer.broken = True
    for number in range(3):
        kept.ledger.refusal_reason = ""
        await serve(kept, number)
    kept.writer.broken = False
    await until(lambda: not kept.ledger.is_suspended)
    assert ids(kept) == [0, 1, 2]
    assert kept.spool.list_waiting_files() == []
    assert await serve(kept, 7) is None
    assert ids(kept) == [0, 1, 2, 7]


async def test_an_idle_gateway_notices_that_the_database_is_back(kept: Kept) -> None:
    await asyncio.sleep(0)  # the writing task waits for work
    kept.ledger.suspend_requests()  # as the watcher of changes does
    assert kept.ledger.is_suspended
    await until(lambda: not kept.ledger.is_suspended)
    assert await serve(kept, 1) is None


async def test_a_database_that_goes_away_again_and_again_loses_and_doubles_nothing(
    kept: Kept,
) -> None:
    for number in range(30):
        kept.writer.broken = number % 3 == 1
        assert await serve(kept, number) is None
        kept.writer.broken = False
        await until(lambda: not kept.ledger.is_suspended)
    assert ids(kept) == list(range(30))
    assert (kept.spool.list_waiting_files(), kept.in_flight()) == ([], [])


async def test_a_row_that_was_committed_and_spooled_stands_once(kept: Kept) -> None:
    await serve(kept, 1)
    kept.spool.append_rows([row(1), row(2)])
    assert await kept.ledger.replay_spools() == 2
    assert ids(kept) == [1, 2]
    assert kept.writer.table[f"{1:032x}"]["prompt_tokens"] == 0  # the first one stays


async def test_rows_that_nobody_takes_stand_in_the_journal_with_their_end(
    tmp_path: Path,
) -> None:
    kept = Kept(tmp_path)
    kept.spool._limit_bytes = 10
    task = asyncio.create_task(kept.ledger.write_until_cancelled())
    kept.writer.broken = True
    assert await serve(kept, 1) is None
    assert kept.in_flight() == [f"{1:032x}"]
    task.cancel()
    await asyncio.wait([task])
    kept.ledger._journal.close()
    kept.writer.broken = False
    assert await kept.ledger.sweep_journals() == 1
    assert kept.writer.table[f"{1:032x}"]["status"] == "complete"


# --- replaying what several processes left --------------------------------------------------------
async def test_spools_of_dead_processes_are_replayed_in_bounded_batches(kept: Kept) -> None:
    dead = Spool(kept.spool.directory, 10**9)
    dead.append_rows([row(number) for number in range(2_500)])
    assert await kept.ledger.replay_spools() == 2_500
    assert len(ids(kept)) == 2_500
    assert max(kept.writer.batches) <= 1_000
    assert kept.spool.list_waiting_files() == []


async def test_a_replay_that_fails_half_way_is_repeated_without_loss(kept: Kept) -> None:
    Spool(kept.spool.directory, 10**9).append_rows([row(number) for number in range(1_500)])
    write, calls = kept.writer.write_rows, []

    async def fails_at_the_third(rows: list[Any]) -> None:
        calls.append(len(rows))
        if len(calls) == 3:
            raise WriteFailed("made up")
        await write(rows)

    kept.writer.write_rows = fails_at_the_third  # type: ignore[method-assign]
    with pytest.raises(WriteFailed):
        await kept.ledger.replay_spools()
    assert spooled(kept) == list(range(1_500))
    assert await kept.ledger.replay_spools() == 1_500
    assert ids(kept) == list(range(1_500))
    assert kept.spool.list_waiting_files() == []


async def test_rows_that_are_spooled_after_a_replay_that_failed_do_not_displace_those_before(
    kept: Kept,
) -> None:
    write = kept.writer.write_rows

    async def takes_no_rows(rows: list[Any]) -> None:
        if rows:
            raise WriteFailed("away again")

    kept.spool.append_rows([row(1)])
    for number in (2, 3):
        kept.writer.write_rows = takes_no_rows  # type: ignore[method-assign]
        with pytest.raises(WriteFailed):
            await kept.ledger.replay_spools()
        kept.spool.append_rows([row(number)])
    kept.writer.write_rows = write  # type: ignore[method-assign]
    await kept.ledger.replay_spools()
    await kept.ledger.replay_spools()
    assert ids(kept) == [1, 2, 3]
    assert kept.spool.list_waiting_files() == []


async def test_a_row_that_another_process_spools_while_its_file_is_replayed_is_not_lost(
    kept: Kept,
) -> None:
    other = Spool(kept.spool.directory, 10**9)
    other.append_rows([row(1)])
    write, adding = kept.writer.write_rows, []

    async def meanwhile(rows: list[Any]) -> None:
        if rows and not adding:  # the other process has not noticed yet that the database is back
            adding.append(asyncio.create_task(asyncio.to_thread(other.append_rows, [row(2)])))
            await asyncio.wait(
                adding, timeout=0.1
            )  # it is through at once, or waits until the replay is over
        await write(rows)

    kept.writer.write_rows = meanwhile  # type: ignore[method-assign]
    await kept.ledger.replay_spools()
    await adding[0]
    await kept.ledger.replay_spools()
    assert ids(kept) == [1, 2]
    assert kept.spool.list_waiting_files() == []


async def test_a_spool_that_another_process_replayed_first_is_passed_over(kept: Kept) -> None:
    first, second = (Spool(kept.spool.directory, 10**9) for _ in range(2))
    first.append_rows([row(1)])
    second.append_rows([row(2)])
    write = kept.writer.write_rows

    async def meanwhile(rows: list[Any]) -> None:
        await write(rows)
        if rows:
            for path in kept.spool.list_waiting_files():
                if path != kept.spool.list_waiting_files()[0]:
                    path.unlink()  # another process has written these

    kept.writer.write_rows = meanwhile  # type: ignore[method-assign]
    await kept.ledger.replay_spools()
    assert len(ids(kept)) == 1
    assert kept.spool.list_waiting_files() == []


async def test_a_spool_that_another_process_finishes_just_before_it_is_read_is_passed_over(
    kept: Kept,
) -> None:
    for number in (1, 2):
        Spool(kept.spool.directory, 10**9).append_rows([row(number)])
    read, finished = kept.spool.read_spool_file, []

    def finished_elsewhere(path: Path) -> list[Any]:
        if not finished:
            finished.append(path)
            path.unlink()
        return read(path)

    kept.spool.read_spool_file = finished_elsewhere  # type: ignore[method-assign]
    await kept.ledger.replay_spools()
    assert len(ids(kept)) == 1
    assert kept.spool.list_waiting_files() == []


@pytest.mark.parametrize(
    "junk", [b"null\n", b"[1]\n", b"[]\n", b'{"a": 1}\n', b"\xff\n", b"[" * 9], ids=repr
)
async def test_junk_in_a_spool_does_not_keep_the_gateway_away(kept: Kept, junk: bytes) -> None:
    (kept.spool.directory / "1-ab.spool").write_bytes(junk + orjson.dumps(row(1)) + b"\n")
    kept.ledger.suspend_requests()
    await until(lambda: not kept.ledger.is_suspended)
    assert ids(kept) in ([1], [])
    assert kept.spool.list_waiting_files() == []


# --- what dead processes had in flight ------------------------------------------------------------
OPENS = """
import sys, time, django
django.setup()
from pathlib import Path
from api.accounting.ledger import Ledger
from providers.protocol.request import ChatRequest
from providers.protocol.trace import Trace

ledger = Ledger(None, None, Path(sys.argv[1]))
for number in range(3):
    name = f"{number:032x}"
    request = ChatRequest(
        id=name, endpoint="chat/completions", model="kimi-k2", body={}, stream=bool(number)
    )
    ledger.open_record(Trace(request, key_id=11, user_id=None))
print("open", flush=True)
time.sleep(600)
"""


async def test_requests_of_a_process_that_was_killed_get_an_interrupted_row_each(
    kept: Kept, tmp_path: Path
) -> None:
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": "proxysite.settings_test",
        "TMPDIR": str(tmp_path),
    }
    command = [sys.executable, "-c", OPENS, str(tmp_path / "journal")]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, cwd=django_settings.BASE_DIR, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"open\n"
        assert await kept.ledger.sweep_journals() == 0  # it lives
        assert len(kept.in_flight()) == 3
    finally:
        process.kill()
        await process.communicate()
    assert await kept.ledger.sweep_journals() == 3
    assert kept.in_flight() == []
    assert ids(kept) == [0, 1, 2]
    for number, found in enumerate(sorted(kept.writer.table.values(), key=lambda one: one["id"])):
        assert (found["status"], found["error_code"], found["http_status"]) == (
            "interrupted",
            "interrupted",
            None,
        )
        assert (found["key_id"], found["user_id"], found["endpoint"]) == (
            11,
            None,
            "chat/completions",
        )
        assert (found["model"], found["stream"]) == ("kimi-k2", bool(number))
        assert found["started_at"]
    assert await kept.ledger.sweep_journals() == 0
    assert journal.list_journals(tmp_path / "journal") == [kept.ledger._journal.path]


def died_with(kept: Kept, *facts: list[Any]) -> Path:
    """The journal of a process that died."""
    ended = Journal(kept.ledger._journal_directory)
    for one in facts:
        ended.write_facts(one)
    ended.close()
    return ended.path


def facts(number: int) -> list[Any]:
    return [f"{number:032x}", AT, 11, 12, "embeddings", "m", False]


async def test_a_sweep_leaves_its_own_requests_and_those_of_the_living_alone(kept: Kept) -> None:
    kept.ledger.open_record(trace(1))
    living = Journal(kept.ledger._journal_directory)
    living.write_facts(facts(2))
    assert await kept.ledger.sweep_journals() == 0
    assert kept.in_flight() == [f"{1:032x}", f"{2:032x}"]
    living.close()


async def test_a_request_that_was_committed_just_before_its_process_died_keeps_its_row(
    kept: Kept,
) -> None:
    await serve(kept, 1)
    died_with(kept, facts(1), facts(2))
    await kept.ledger.sweep_journals()
    assert [kept.writer.table[f"{n:032x}"]["status"] for n in (1, 2)] == ["complete", "interrupted"]


async def test_a_journal_stays_while_its_rows_cannot_be_written(kept: Kept) -> None:
    path = died_with(kept, facts(1))
    kept.writer.broken = True
    with pytest.raises(WriteFailed):
        await kept.ledger.sweep_journals()
    assert path.exists()
    kept.writer.broken = False
    assert await kept.ledger.sweep_journals() == 1
    assert not path.exists()


@pytest.mark.parametrize("strange", [[], [1, 2], ["x"] * 9, 5, None, {"a": 1}, "x"], ids=str)
async def test_a_journal_of_another_version_does_not_stop_the_sweep(
    kept: Kept, strange: Any
) -> None:
    data = orjson.dumps(strange)
    odd = kept.ledger._journal_directory / "0-odd.journal"
    odd.write_bytes((len(data).to_bytes(2, "big") + data).ljust(SLOT_BYTES, b"\0"))
    died_with(kept, facts(1))
    await kept.ledger.sweep_journals()
    assert ids(kept) == [1]
    assert not odd.exists()


async def test_an_empty_journal_is_cleared_away(kept: Kept) -> None:
    empty = kept.ledger._journal_directory / "1-ab.journal"
    empty.touch()
    assert await kept.ledger.sweep_journals() == 0
    assert not empty.exists()


# --- the end --------------------------------------------------------------------------------------
async def test_shutting_writes_what_waits_and_leaves_no_file(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    running = asyncio.create_task(serve(kept, 1))
    await until(lambda: kept.ledger._waiting_rows)
    await kept.ledger.write_rest_and_close()
    assert await running is None
    assert ids(kept) == [1]
    assert journal.list_journals(tmp_path / "journal") == []


async def test_the_writing_task_can_be_stopped_in_the_middle_of_a_commit_without_losing_the_batch(
    tmp_path: Path,
) -> None:
    kept = Kept(tmp_path)
    task = asyncio.create_task(kept.ledger.write_until_cancelled())
    kept.writer.gate.clear()
    running = asyncio.create_task(serve(kept, 1))
    await kept.writer.reached.wait()
    task.cancel()
    await asyncio.wait([task])
    kept.writer.gate.set()
    await kept.ledger.write_rest_and_close()
    assert await running is None
    assert ids(kept) == [1]
