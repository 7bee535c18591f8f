"""Files that are written whole or not at all."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from providers.durable_files import write_durable_file


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_a_file_is_its_pieces_and_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_durable_file(tmp_path / "a", [b"one ", b"two"])
    finally:
        os.umask(before)
    assert (tmp_path / "a").read_bytes() == b"one two"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    assert names_in(tmp_path) == ["a"]


def test_a_file_that_is_there_is_replaced(tmp_path: Path) -> None:
    write_durable_file(tmp_path / "a", [b"old"])
    write_durable_file(tmp_path / "a", [b"new"])
    assert (tmp_path / "a").read_bytes() == b"new"
    assert names_in(tmp_path) == ["a"]


def test_a_file_that_is_not_to_be_replaced_stays(tmp_path: Path) -> None:
    write_durable_file(tmp_path / "a", [b"old"], overwrite=False)
    with pytest.raises(FileExistsError):
        write_durable_file(tmp_path / "a", [b"new"], overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names_in(tmp_path) == ["a"]


def test_pieces_that_break_off_leave_what_was_there(tmp_path: Path) -> None:
    def broken_pieces() -> Iterator[bytes]:
        yield b"new"
        raise ConnectionError("the sender is gone")

    write_durable_file(tmp_path / "a", [b"old"])
    with pytest.raises(ConnectionError):
        write_durable_file(tmp_path / "a", broken_pieces())
    assert (tmp_path / "a").read_bytes() == b"old"
    assert names_in(tmp_path) == ["a"]


@pytest.mark.parametrize("overwrite", [True, False])
def test_the_bytes_are_on_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    synced = []

    def note_sync(descriptor: int) -> None:
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        synced.append(("directory" if is_directory else "file", (tmp_path / "a").exists()))

    monkeypatch.setattr(os, "fsync", note_sync)
    write_durable_file(tmp_path / "a", [b"x"], overwrite=overwrite)
    assert synced == [("file", False), ("directory", True)]
