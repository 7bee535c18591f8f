"""Rows in files that no database accepts: the others are written."""

from typing import Any

import orjson
import pytest

from api.accounting.journal import SLOT_BYTES, Journal
from api.accounting.usage_table import COLUMNS
from api.tests.accounting.ledger_harness import AT, LedgerHarness, facts, read_row_ids, row, until

pytestmark = pytest.mark.usefixtures("retries_at_once")


def errors(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    found = [record.getMessage() for record in caplog.records]
    return [message for message in found if text in message]


GARBAGE = [b"\x00" * 700, b"\xff\xfe\xfa" * 300, b"{" * 600, b"\x01\x00" + b"[" * 510]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda data: repr(data[:4]))
async def test_what_is_no_row_is_kept_beside_the_rows_that_are_written(
    harness: LedgerHarness, garbage: bytes
) -> None:
    (harness.spool.directory / "0-odd.spool").write_bytes(
        garbage + b"\n" + orjson.dumps(row(1)) + b"\n" + garbage
    )
    odd = garbage.ljust(2 * SLOT_BYTES, b"\0") + b"\0" * (
        -len(garbage.ljust(2 * SLOT_BYTES)) % SLOT_BYTES
    )
    good = orjson.dumps(facts(2))
    slot = (len(good).to_bytes(2, "big") + good).ljust(SLOT_BYTES, b"\0")
    (harness.ledger._journal_directory / "0-odd.journal").write_bytes(odd + slot)
    await harness.ledger.replay_spools()
    await harness.ledger.sweep_journals()
    assert read_row_ids(harness) == [1, 2]
    assert harness.spool.list_waiting_files() == []
    [left] = harness.spool.directory.glob("*.unreadable")
    assert garbage in left.read_bytes()


def refused(harness: LedgerHarness) -> list[Any]:
    path = harness.spool.refused_path
    return (
        [orjson.loads(line)["row"] for line in path.read_bytes().splitlines()]
        if path.exists()
        else []
    )


def changed(**values: Any) -> list[Any]:
    return list((dict(zip(COLUMNS, row(3), strict=True)) | values).values())


MISSHAPEN: dict[str, list[Any]] = {
    "a time that is no text": changed(started_at=5),
    "a time that is none": changed(started_at="yesterday"),
    "a time without an offset": changed(started_at="2026-11-21T10:00:00"),
    "an id that is none": changed(id="zz"),
    "an id that is a number": changed(id=7),
    "an id in another form": changed(id="00000000-0000-0000-0000-000000000003"),
    "too few columns": row(3)[:-2],
    "too many columns": [*row(3), 1],
    "no column": [],
}


@pytest.mark.parametrize("case", MISSHAPEN)
async def test_a_row_of_wrong_shape_is_kept_in_a_file_and_the_others_are_written(
    harness: LedgerHarness, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    harness.spool.append_rows([row(1), MISSHAPEN[case], row(2)])
    harness.ledger.suspend_requests()
    await until(lambda: not harness.ledger.is_suspended)
    assert read_row_ids(harness) == [1, 2]
    assert refused(harness) == [MISSHAPEN[case]]
    assert len(errors(caplog, str(harness.spool.refused_path))) == 1
    assert harness.spool.refused_path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "slot", [["zz", 1, 2, 3, 4, 5, 6], [None] * 7, [[]] * 16, facts(3)[:1] + [None] * 15], ids=str
)
async def test_a_journal_slot_of_wrong_shape_is_kept_in_a_file(
    harness: LedgerHarness, slot: list[Any]
) -> None:
    ended = Journal(harness.ledger._journal_directory)
    for one in (facts(1), slot, facts(2)):
        ended.write_facts(one)
    ended.close()
    assert await harness.ledger.sweep_journals() == 3
    assert read_row_ids(harness) == [1, 2]
    assert len(refused(harness)) == 1


async def test_what_no_column_holds_is_left_out_and_the_row_is_written(
    harness: LedgerHarness,
) -> None:
    odd = {
        "prompt_tokens": True,
        "completion_tokens": 10**30,
        "http_status": "x",
        "stream": "yes",
        "attempts": 5,
    }
    harness.spool.append_rows([changed(**{**odd, "completion_tokens": -1})])
    await harness.ledger.replay_spools()
    found = harness.writer.table[f"{3:032x}"]
    assert (found["prompt_tokens"], found["completion_tokens"], found["estimated"]) == (0, 0, True)
    assert (found["http_status"], found["stream"], found["attempts"]) == (None, False, [])
    assert (found["started_at"], found["key_id"], found["user_id"], found["model"]) == (
        AT,
        11,
        12,
        "m",
    )


async def test_a_row_that_is_refused_whatever_is_done_is_kept_in_a_file(
    harness: LedgerHarness,
) -> None:
    harness.writer.refuses.add(f"{2:032x}")
    harness.spool.append_rows([row(number) for number in range(1, 20)])
    await harness.ledger.replay_spools()
    assert read_row_ids(harness) == [1, *range(3, 20)]
    assert refused(harness) == [row(2)]


async def test_a_refused_row_that_no_file_takes_is_told_in_the_log(
    harness: LedgerHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.spool.refused_path.mkdir()
    harness.spool.append_rows([changed(id="zz"), row(1)])
    await harness.ledger.replay_spools()
    assert read_row_ids(harness) == [1]
    assert len(errors(caplog, "a row is lost")) == 1
