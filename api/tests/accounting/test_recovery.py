"""No file and no row that was left behind stops a start, a recovery, or what comes after it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from api.accounting import file_locks
from api.accounting.journal import SLOT_BYTES, Journal
from api.accounting.spool import Spool
from api.accounting.usage_table import COLUMNS
from api.tests.accounting.test_ledger import Kept, until
from api.tests.accounting.test_ledger_recovery import AT, facts, ids, row

pytestmark = pytest.mark.usefixtures("retries_at_once")


def make_directory(path: Path) -> None:
    path.mkdir()
    (path / "inside").touch()


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def make_link_to_a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


UNREADABLE: dict[str, Callable[[Path], None]] = {
    "a directory": make_directory,
    "a pipe": make_pipe,
    "a link to itself": make_link_to_itself,
    "a link to a device": make_link_to_a_device,
}


def fail_for(monkeypatch: pytest.MonkeyPatch, name: str, fault: OSError) -> None:
    """Opening a file whose name begins so fails."""
    really = file_locks.open_regular_file

    def open_unless(path: Path, flags: int) -> int:
        if path.name.startswith(name):
            raise fault
        return really(path, flags)

    monkeypatch.setattr(file_locks, "open_regular_file", open_unless)


def leave_good_files(kept: Kept) -> None:
    """A spool with row 1 and a journal with request 2, whose names come after the bad ones."""
    good = Spool(kept.spool.directory, 10**9)
    good._path = good.directory / "9-good.spool"
    good.append_rows([row(1)])
    ended = Journal(kept.ledger._journal_directory)
    ended.write_facts(facts(2))
    ended.close()
    ended.path.rename(ended.path.with_name("9-good.journal"))


def errors(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    found = [record.getMessage() for record in caplog.records]
    return [message for message in found if text in message]


@pytest.mark.parametrize("case", UNREADABLE)
async def test_a_thing_that_is_no_file_is_set_aside_and_all_others_are_written(
    kept: Kept, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (
        kept.spool.directory / "0-bad.spool",
        kept.ledger._journal_directory / "0-bad.journal",
    ):
        UNREADABLE[case](path)
    leave_good_files(kept)
    kept.ledger.suspend_requests()
    await until(lambda: not kept.ledger.is_suspended)
    for _ in range(3):
        await kept.ledger.replay_spools()
        await kept.ledger.sweep_journals()
    assert ids(kept) == [1, 2]
    for folder in (kept.spool.directory, kept.ledger._journal_directory):
        [left] = [path.name for path in folder.iterdir() if path.name.startswith("0-bad")]
        assert left.endswith(".unreadable")
        assert len(errors(caplog, left)) == 1


@pytest.mark.parametrize(
    "code", [errno.EACCES, errno.EIO, errno.EPERM, errno.ESTALE], ids=errno.errorcode.get
)
async def test_a_file_that_cannot_be_opened_is_set_aside_and_all_others_are_written(
    kept: Kept, code: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (kept.spool.directory / "0-bad.spool").write_bytes(orjson.dumps(row(7)) + b"\n")
    (kept.ledger._journal_directory / "0-bad.journal").write_bytes(b"\0" * SLOT_BYTES)
    leave_good_files(kept)
    fail_for(monkeypatch, "0-bad", OSError(code, os.strerror(code)))
    kept.ledger.suspend_requests()
    await until(lambda: not kept.ledger.is_suspended)
    await kept.ledger.sweep_journals()
    assert ids(kept) == [1, 2]
    assert len(list(kept.spool.directory.glob("0-bad*.unreadable"))) == 1
    assert len(list(kept.ledger._journal_directory.glob("0-bad*.unreadable"))) == 1
    assert len(errors(caplog, os.strerror(code))) == 2


async def test_a_file_that_was_mended_and_has_its_name_again_is_taken_up(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_good_files(kept)
    with monkeypatch.context() as patch:
        fail_for(patch, "9-good", OSError(errno.EACCES, "Permission denied"))
        await kept.ledger.replay_spools()
        await kept.ledger.sweep_journals()
    assert ids(kept) == []
    for folder in (kept.spool.directory, kept.ledger._journal_directory):
        [path] = folder.glob("*.unreadable")
        path.rename(path.with_name(path.name.removesuffix(".unreadable")))
    await kept.ledger.replay_spools()
    await kept.ledger.sweep_journals()
    assert ids(kept) == [1, 2]


async def test_too_many_open_files_are_no_fault_of_the_file_which_is_written_later(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leave_good_files(kept)
    with monkeypatch.context() as patch:
        fail_for(patch, "9-good", OSError(errno.EMFILE, "Too many open files"))
        for _ in range(3):
            await kept.ledger.replay_spools()
            await kept.ledger.sweep_journals()
    assert ids(kept) == []
    assert len(errors(caplog, "left for later")) == 2
    await kept.ledger.replay_spools()
    await kept.ledger.sweep_journals()
    assert ids(kept) == [1, 2]


async def test_a_file_that_can_neither_be_read_nor_renamed_is_skipped_and_logged_once(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_directory(kept.spool.directory / "0-bad.spool")
    make_directory(kept.ledger._journal_directory / "0-bad.journal")
    leave_good_files(kept)
    really = Path.rename

    def read_only(path: Path, target: Path) -> Path:
        if path.name.startswith("0-bad"):
            raise OSError(errno.EROFS, "Read-only file system")
        return really(path, target)

    monkeypatch.setattr(Path, "rename", read_only)
    kept.ledger.suspend_requests()
    await until(lambda: not kept.ledger.is_suspended)
    for _ in range(3):
        await kept.ledger.replay_spools()
        await kept.ledger.sweep_journals()
    assert ids(kept) == [1, 2]
    assert len(errors(caplog, "skipped")) == 2


async def test_a_file_that_is_written_and_cannot_be_deleted_is_written_once(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leave_good_files(kept)

    def read_only(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", read_only)
        for _ in range(3):
            await kept.ledger.replay_spools()
            await kept.ledger.sweep_journals()
    assert ids(kept) == [1, 2]
    assert sum(kept.writer.batches) == 2
    assert len(errors(caplog, "cannot be deleted")) == 2


async def test_a_folder_that_cannot_be_listed_keeps_nobody_away(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlistable() -> list[Path]:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(kept.spool, "list_waiting_files", unlistable)
    kept.ledger.suspend_requests()
    await until(lambda: not kept.ledger.is_suspended)


async def test_a_fault_of_ours_with_one_file_does_not_stop_the_others(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Spool(kept.spool.directory, 10**9).append_rows([row(5)])
    leave_good_files(kept)
    really, calls = kept.spool.read_spool_file, []

    def read(path: Path) -> Any:
        calls.append(path)
        if len(calls) == 1:
            raise ZeroDivisionError
        return really(path)

    monkeypatch.setattr(kept.spool, "read_spool_file", read)
    await kept.ledger.replay_spools()
    assert len(ids(kept)) == 1
    assert len(list(kept.spool.directory.glob("*.unreadable"))) == 1
    assert "ZeroDivisionError" in caplog.text


# --- what stands in them --------------------------------------------------------------------------
GARBAGE = [b"\x00" * 700, b"\xff\xfe\xfa" * 300, b"{" * 600, b"\x01\x00" + b"[" * 510]


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda data: repr(data[:4]))
async def test_what_is_no_row_is_kept_beside_the_rows_that_are_written(
    kept: Kept, garbage: bytes
) -> None:
    (kept.spool.directory / "0-odd.spool").write_bytes(
        garbage + b"\n" + orjson.dumps(row(1)) + b"\n" + garbage
    )
    odd = garbage.ljust(2 * SLOT_BYTES, b"\0") + b"\0" * (
        -len(garbage.ljust(2 * SLOT_BYTES)) % SLOT_BYTES
    )
    good = orjson.dumps(facts(2))
    slot = (len(good).to_bytes(2, "big") + good).ljust(SLOT_BYTES, b"\0")
    (kept.ledger._journal_directory / "0-odd.journal").write_bytes(odd + slot)
    await kept.ledger.replay_spools()
    await kept.ledger.sweep_journals()
    assert ids(kept) == [1, 2]
    assert kept.spool.list_waiting_files() == []
    [left] = kept.spool.directory.glob("*.unreadable")
    assert garbage in left.read_bytes()


def refused(kept: Kept) -> list[Any]:
    path = kept.spool.refused_path
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
    "too few columns": row(3)[:-1],
    "too many columns": [*row(3), 1],
    "no column": [],
}


@pytest.mark.parametrize("case", MISSHAPEN)
async def test_a_row_of_wrong_shape_is_kept_in_a_file_and_the_others_are_written(
    kept: Kept, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    kept.spool.append_rows([row(1), MISSHAPEN[case], row(2)])
    kept.ledger.suspend_requests()
    await until(lambda: not kept.ledger.is_suspended)
    assert ids(kept) == [1, 2]
    assert refused(kept) == [MISSHAPEN[case]]
    assert len(errors(caplog, str(kept.spool.refused_path))) == 1
    assert kept.spool.refused_path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "slot", [["zz", 1, 2, 3, 4, 5, 6], [None] * 7, [[]] * 16, facts(3)[:1] + [None] * 15], ids=str
)
async def test_a_journal_slot_of_wrong_shape_is_kept_in_a_file(kept: Kept, slot: list[Any]) -> None:
    ended = Journal(kept.ledger._journal_directory)
    for one in (facts(1), slot, facts(2)):
        ended.write_facts(one)
    ended.close()
    assert await kept.ledger.sweep_journals() == 3
    assert ids(kept) == [1, 2]
    assert len(refused(kept)) == 1


async def test_what_no_column_holds_is_left_out_and_the_row_is_written(kept: Kept) -> None:
    odd = {
        "prompt_tokens": True,
        "completion_tokens": 10**30,
        "http_status": "x",
        "stream": "yes",
        "attempts": 5,
    }
    kept.spool.append_rows([changed(**{**odd, "completion_tokens": -1})])
    await kept.ledger.replay_spools()
    found = kept.writer.table[f"{3:032x}"]
    assert (found["prompt_tokens"], found["completion_tokens"], found["estimated"]) == (0, 0, True)
    assert (found["http_status"], found["stream"], found["attempts"]) == (None, False, [])
    assert (found["started_at"], found["key_id"], found["user_id"], found["model"]) == (
        AT,
        11,
        12,
        "m",
    )


async def test_a_row_that_is_refused_whatever_is_done_is_kept_in_a_file(kept: Kept) -> None:
    kept.writer.refuses.add(f"{2:032x}")
    kept.spool.append_rows([row(number) for number in range(1, 20)])
    await kept.ledger.replay_spools()
    assert ids(kept) == [1, *range(3, 20)]
    assert refused(kept) == [row(2)]


async def test_a_refused_row_that_no_file_takes_is_told_in_the_log(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    kept.spool.refused_path.mkdir()
    kept.spool.append_rows([changed(id="zz"), row(1)])
    await kept.ledger.replay_spools()
    assert ids(kept) == [1]
    assert len(errors(caplog, "a row is lost")) == 1
