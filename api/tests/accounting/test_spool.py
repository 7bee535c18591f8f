import resource
import stat
from pathlib import Path
from typing import Any

import pytest

from api.accounting.spool import Spool, SpoolFull


def row(number: int, **more: Any) -> list[Any]:
    return [
        f"{number:032x}",
        "2026-11-21T10:00:00+00:00",
        None,
        1.5,
        True,
        [{"reason": "a\r\nb\u2028\u0085c"}],
        *more.values(),
    ]


def rows(spool: Spool) -> list[Any]:
    return [one for path in spool.list_waiting_files() for one in spool.read_spool_file(path).rows]


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool", 10_000)


def test_rows_come_back_as_they_were_and_in_their_order(spool: Spool) -> None:
    spool.append_rows([row(1), row(2)])
    spool.append_rows([row(3)])
    assert rows(spool) == [row(1), row(2), row(3)]
    assert len(spool.list_waiting_files()) == 1


def test_a_new_spool_waits_for_nothing(spool: Spool) -> None:
    assert spool.list_waiting_files() == []


def test_the_files_of_other_processes_wait_too(spool: Spool) -> None:
    other = Spool(spool.directory, 10_000)
    spool.append_rows([row(1)])
    other.append_rows([row(2)])
    assert sorted(rows(spool)) == sorted(rows(other)) == [row(1), row(2)]


def test_the_file_is_its_owners_alone(spool: Spool) -> None:
    spool.append_rows([row(1)])
    assert stat.S_IMODE(spool.list_waiting_files()[0].stat().st_mode) == 0o600
    assert stat.S_IMODE(spool.directory.stat().st_mode) == 0o700


def test_rows_beyond_the_limit_are_refused_and_nothing_of_them_is_written(spool: Spool) -> None:
    spool.append_rows([row(number) for number in range(50)])
    size = spool.list_waiting_files()[0].stat().st_size
    many = [row(number) for number in range((10_000 - size) * 51 // size)]
    with pytest.raises(SpoolFull):
        spool.append_rows(many)
    assert spool.list_waiting_files()[0].stat().st_size == size
    spool.append_rows(many[:1])
    assert len(rows(spool)) == 51


@pytest.mark.parametrize("cut", [1, 2, 10, 60])
def test_a_last_line_that_was_cut_is_left_out(spool: Spool, cut: int) -> None:
    spool.append_rows([row(1), row(2)])
    [path] = spool.list_waiting_files()
    path.write_bytes(path.read_bytes()[:-cut])
    found = spool.read_spool_file(path).rows
    assert found[0] == row(1)
    assert found[1:] in ([], [row(2)])


@pytest.mark.parametrize(
    "line", [b"", b"{", b"\xff\xfe", b"null", b"5", b"{}", b'"x"', b"\0" * 50], ids=repr
)
def test_a_line_that_is_no_row_is_left_out(spool: Spool, line: bytes) -> None:
    spool.append_rows([row(1)])
    [path] = spool.list_waiting_files()
    path.write_bytes(line + b"\n" + path.read_bytes() + line)
    assert spool.read_spool_file(path).rows == [row(1)]


def test_after_a_full_disk_the_next_rows_are_whole(spool: Spool) -> None:
    spool.append_rows([row(1)])
    size = spool.list_waiting_files()[0].stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(
        resource.RLIMIT_FSIZE, (size + 40, before[1])
    )  # the next row ends in the middle
    try:
        with pytest.raises(OSError, match="File too large"):
            spool.append_rows([row(2)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    spool.append_rows([row(3)])
    assert rows(spool) == [row(1), row(3)]
