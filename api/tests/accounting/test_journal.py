import stat
from pathlib import Path
from typing import Any

import orjson
import pytest

from api.accounting import journal
from api.accounting.file_locks import lock_and_read
from api.accounting.journal import FIRST_SLOTS, SLOT_BYTES, Journal, list_journals, parse_journal

FACTS = ["0" * 32, "2026-11-21T10:00:00.123456+00:00", 1, 2, "chat/completions", "kimi-k2", True]


def noted(of: Journal) -> list[list[Any]]:
    return sorted(parse_journal(of.path.read_bytes()).entries, key=str)


@pytest.fixture
def open_journal(tmp_path: Path) -> Any:
    found = Journal(tmp_path / "journal")
    yield found
    found.close()


def test_a_request_stands_in_the_file_from_its_beginning_to_its_end(open_journal: Journal) -> None:
    slot = open_journal.write_facts(FACTS)
    assert noted(open_journal) == [FACTS]
    open_journal.release_slot(slot)
    assert noted(open_journal) == []


def test_many_requests_stand_beside_each_other_and_each_is_erased_alone(
    open_journal: Journal,
) -> None:
    slots = {
        number: open_journal.write_facts([f"{number:032}", *FACTS[1:]]) for number in range(100)
    }
    assert len(set(slots.values())) == 100
    for number in range(0, 100, 2):
        open_journal.release_slot(slots[number])
    assert [int(facts[0]) for facts in noted(open_journal)] == list(range(1, 100, 2))


def test_slots_are_used_again_and_the_file_does_not_grow(open_journal: Journal) -> None:
    size = open_journal.path.stat().st_size
    for _ in range(10 * FIRST_SLOTS):
        open_journal.release_slot(open_journal.write_facts(FACTS))
    assert open_journal.path.stat().st_size == size


def test_with_more_requests_than_slots_it_grows_and_keeps_all(open_journal: Journal) -> None:
    for number in range(5 * FIRST_SLOTS):
        open_journal.write_facts([f"{number:032}", *FACTS[1:]])
    assert [int(facts[0]) for facts in noted(open_journal)] == list(range(5 * FIRST_SLOTS))


@pytest.mark.parametrize(
    "text", ["x" * 200, "🎈" * 200, '"\\' * 100, "\x01" * 200, "\u2028" * 200], ids=ascii
)
def test_long_facts_do_not_reach_into_the_next_slot(open_journal: Journal, text: str) -> None:
    for number in range(6):
        open_journal.write_facts([f"{number:032}", *FACTS[1:5], text, True])
    found = noted(open_journal)
    assert [int(facts[0]) for facts in found] == list(range(6))
    assert all(len(facts) == len(FACTS) and text.startswith(facts[5]) for facts in found)
    assert all(facts[1:5] == FACTS[1:5] for facts in found)


def test_facts_about_nobody_are_kept_as_nothing(open_journal: Journal) -> None:
    open_journal.write_facts([FACTS[0], FACTS[1], None, None, *FACTS[4:]])
    assert noted(open_journal)[0][2:4] == [None, None]


def test_the_file_is_its_owners_alone(open_journal: Journal) -> None:
    assert stat.S_IMODE(open_journal.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(open_journal.path.parent.stat().st_mode) == 0o700


def test_its_room_on_the_disk_is_taken_at_once_so_that_a_full_disk_is_an_error_and_no_signal(
    open_journal: Journal,
) -> None:
    for _ in range(FIRST_SLOTS + 1):
        found = open_journal.path.stat()
        assert found.st_blocks * 512 >= found.st_size
        open_journal.write_facts(FACTS)


def test_closing_removes_the_file_unless_a_request_is_in_flight(tmp_path: Path) -> None:
    idle, busy = Journal(tmp_path), Journal(tmp_path)
    slot = idle.write_facts(FACTS)
    idle.release_slot(slot)
    busy.write_facts(FACTS)
    idle.close()
    busy.close()
    assert not idle.path.exists()
    assert noted(busy) == [FACTS]


# --- files of others ------------------------------------------------------------------------------
def test_the_file_of_a_living_process_cannot_be_claimed(open_journal: Journal) -> None:
    open_journal.write_facts(FACTS)
    assert list_journals(open_journal.path.parent) == [open_journal.path]
    with lock_and_read(open_journal.path) as data:
        assert data is None
    assert noted(open_journal) == [FACTS]


def test_a_file_that_nobody_locks_is_claimed_once_at_a_time(tmp_path: Path) -> None:
    ended = Journal(tmp_path)
    ended.write_facts(FACTS)
    ended.close()
    with lock_and_read(ended.path) as data, lock_and_read(ended.path) as second:
        assert data is not None
        assert parse_journal(data).entries == [FACTS]
        assert second is None
    with lock_and_read(ended.path) as data:
        assert data is not None


def test_a_file_that_is_gone_is_nobodys(tmp_path: Path) -> None:
    with lock_and_read(tmp_path / "1-ab.journal") as data:
        assert data is None


def test_a_file_that_is_just_being_made_is_not_taken_for_a_dead_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, swept = journal.fcntl.flock, []

    def sweep_then_lock(file: int, how: int) -> None:
        if not swept:  # another process sweeps just before this one locks its new file
            swept.append(True)
            for path in list_journals(tmp_path):
                with lock_and_read(path) as data:
                    if data is not None:
                        path.unlink()
        lock(file, how)

    monkeypatch.setattr(journal.fcntl, "flock", sweep_then_lock)
    made = Journal(tmp_path)
    made.write_facts(FACTS)
    assert swept
    assert noted(made) == [FACTS]
    made.close()


def slot(data: bytes, length: int | None = None) -> bytes:
    return ((len(data) if length is None else length).to_bytes(2, "big") + data).ljust(
        SLOT_BYTES, b"\0"
    )


@pytest.mark.parametrize(
    "torn",
    [
        slot(b"", 0),
        slot(orjson.dumps(FACTS)[:20]),
        slot(b"\xff\xfe" * 20),
        slot(orjson.dumps(FACTS), 9),
        slot(b"", 511),
        slot(b"", 65_535),
        b"\x00",
        b"\x00\x40[",
        slot(b"5"),
        slot(b'{"a": 1}'),
        slot(b"[1, 2]"),
        slot(b"null"),
    ],
    ids=lambda torn: repr(torn[:12]),
)
def test_a_torn_or_strange_slot_is_passed_over(torn: bytes) -> None:
    good = slot(orjson.dumps(FACTS))
    if len(torn) == SLOT_BYTES:
        assert parse_journal(good + torn + good).entries == [FACTS, FACTS]
    assert parse_journal(good + torn).entries == [FACTS]


def test_an_empty_file_notes_nothing() -> None:
    assert parse_journal(b"").entries == []
    assert parse_journal(b"\0" * SLOT_BYTES * 4).entries == []
