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
from api.tests.accounting.ledger_harness import (
    LedgerHarness,
    facts,
    read_row_ids,
    row,
    until,
)

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


def leave_good_files(harness: LedgerHarness) -> None:
    """A spool with row 1 and a journal with request 2, whose names come after the bad ones."""
    good = Spool(harness.spool.directory, 10**9)
    good._path = good.directory / "9-good.spool"
    good.append_rows([row(1)])
    ended = Journal(harness.ledger._journal_directory)
    ended.write_facts(facts(2))
    ended.close()
    ended.path.rename(ended.path.with_name("9-good.journal"))


def errors(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    found = [record.getMessage() for record in caplog.records]
    return [message for message in found if text in message]


@pytest.mark.parametrize("case", UNREADABLE)
async def test_a_thing_that_is_no_file_is_set_aside_and_all_others_are_written(
    harness: LedgerHarness, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    for path in (
        harness.spool.directory / "0-bad.spool",
        harness.ledger._journal_directory / "0-bad.journal",
    ):
        UNREADABLE[case](path)
    leave_good_files(harness)
    harness.ledger.suspend_requests()
    await until(lambda: not harness.ledger.is_suspended)
    for _ in range(3):
        await harness.ledger.replay_spools()
        await harness.ledger.sweep_journals()
    assert read_row_ids(harness) == [1, 2]
    for folder in (harness.spool.directory, harness.ledger._journal_directory):
        [left] = [path.name for path in folder.iterdir() if path.name.startswith("0-bad")]
        assert left.endswith(".unreadable")
        assert len(errors(caplog, left)) == 1


@pytest.mark.parametrize(
    "code", [errno.EACCES, errno.EIO, errno.EPERM, errno.ESTALE], ids=errno.errorcode.get
)
async def test_a_file_that_cannot_be_opened_is_set_aside_and_all_others_are_written(
    harness: LedgerHarness,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (harness.spool.directory / "0-bad.spool").write_bytes(orjson.dumps(row(7)) + b"\n")
    (harness.ledger._journal_directory / "0-bad.journal").write_bytes(b"\0" * SLOT_BYTES)
    leave_good_files(harness)
    fail_for(monkeypatch, "0-bad", OSError(code, os.strerror(code)))
    harness.ledger.suspend_requests()
    await until(lambda: not harness.ledger.is_suspended)
    await harness.ledger.sweep_journals()
    assert read_row_ids(harness) == [1, 2]
    assert len(list(harness.spool.directory.glob("0-bad*.unreadable"))) == 1
    assert len(list(harness.ledger._journal_directory.glob("0-bad*.unreadable"))) == 1
    assert len(errors(caplog, os.strerror(code))) == 2


async def test_a_file_that_was_mended_and_has_its_name_again_is_taken_up(
    harness: LedgerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_good_files(harness)
    with monkeypatch.context() as patch:
        fail_for(patch, "9-good", OSError(errno.EACCES, "Permission denied"))
        await harness.ledger.replay_spools()
        await harness.ledger.sweep_journals()
    assert read_row_ids(harness) == []
    for folder in (harness.spool.directory, harness.ledger._journal_directory):
        [path] = folder.glob("*.unreadable")
        path.rename(path.with_name(path.name.removesuffix(".unreadable")))
    await harness.ledger.replay_spools()
    await harness.ledger.sweep_journals()
    assert read_row_ids(harness) == [1, 2]


async def test_too_many_open_files_are_no_fault_of_the_file_which_is_written_later(
    harness: LedgerHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leave_good_files(harness)
    with monkeypatch.context() as patch:
        fail_for(patch, "9-good", OSError(errno.EMFILE, "Too many open files"))
        for _ in range(3):
            await harness.ledger.replay_spools()
            await harness.ledger.sweep_journals()
    assert read_row_ids(harness) == []
    assert len(errors(caplog, "left for later")) == 2
    await harness.ledger.replay_spools()
    await harness.ledger.sweep_journals()
    assert read_row_ids(harness) == [1, 2]


async def test_a_file_that_can_neither_be_read_nor_renamed_is_skipped_and_logged_once(
    harness: LedgerHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_directory(harness.spool.directory / "0-bad.spool")
    make_directory(harness.ledger._journal_directory / "0-bad.journal")
    leave_good_files(harness)
    really = Path.rename

    def read_only(path: Path, target: Path) -> Path:
        if path.name.startswith("0-bad"):
            raise OSError(errno.EROFS, "Read-only file system")
        return really(path, target)

    monkeypatch.setattr(Path, "rename", read_only)
    harness.ledger.suspend_requests()
    await until(lambda: not harness.ledger.is_suspended)
    for _ in range(3):
        await harness.ledger.replay_spools()
        await harness.ledger.sweep_journals()
    assert read_row_ids(harness) == [1, 2]
    assert len(errors(caplog, "skipped")) == 2


async def test_a_file_that_is_written_and_cannot_be_deleted_is_written_once(
    harness: LedgerHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    leave_good_files(harness)

    def read_only(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", read_only)
        for _ in range(3):
            await harness.ledger.replay_spools()
            await harness.ledger.sweep_journals()
    assert read_row_ids(harness) == [1, 2]
    assert sum(harness.writer.batches) == 2
    assert len(errors(caplog, "cannot be deleted")) == 2


async def test_a_folder_that_cannot_be_listed_keeps_nobody_away(
    harness: LedgerHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unlistable() -> list[Path]:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(harness.spool, "list_waiting_files", unlistable)
    harness.ledger.suspend_requests()
    await until(lambda: not harness.ledger.is_suspended)


async def test_a_fault_of_ours_with_one_file_does_not_stop_the_others(
    harness: LedgerHarness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    Spool(harness.spool.directory, 10**9).append_rows([row(5)])
    leave_good_files(harness)
    really, calls = harness.spool.read_spool_file, []

    def read(path: Path) -> Any:
        calls.append(path)
        if len(calls) == 1:
            raise ZeroDivisionError
        return really(path)

    monkeypatch.setattr(harness.spool, "read_spool_file", read)
    await harness.ledger.replay_spools()
    assert len(read_row_ids(harness)) == 1
    assert len(list(harness.spool.directory.glob("*.unreadable"))) == 1
    assert "ZeroDivisionError" in caplog.text
