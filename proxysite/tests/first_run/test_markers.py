"""What a running gateway leaves for commands, and how databases are told apart."""

from pathlib import Path

import pytest

from proxysite.first_run import markers
from proxysite.first_run.markers import GatewayRecord


def record(home: Path, **changes: object) -> GatewayRecord:
    values = {
        "pid": 7,
        "database": "/x",
        "url": "",
        "needs_password": False,
        "host": "127.0.0.1",
        "port": 8000,
    }
    return GatewayRecord(home=str(home), **(values | changes))


@pytest.fixture
def homes(tmp_path):
    """Two homes that are there."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return tmp_path / "one", tmp_path / "two"


def test_a_record_counts_only_while_its_lock_is_held(homes, tmp_path):
    home, file = homes[0], tmp_path / "list"
    lock = markers.claim_home(home)
    assert lock is not None
    markers.write_record(lock, record(home))
    markers.add_home(file, home)
    assert markers.read_record(home) == record(home)
    assert markers.find_running_gateways(file) == [record(home)]
    lock.close()
    assert markers.read_record(home) is None
    assert markers.find_running_gateways(file) == []


def test_a_second_gateway_does_not_get_the_lock_and_spoils_nothing(homes, monkeypatch):
    monkeypatch.setattr(markers, "LOCK_PAUSE_SECONDS", 0)
    lock = markers.claim_home(homes[0])
    assert lock is not None
    markers.write_record(lock, record(homes[0]))
    assert markers.claim_home(homes[0]) is None
    assert markers.read_record(homes[0]) == record(homes[0])
    lock.close()


def test_a_later_record_replaces_a_longer_one(homes):
    for port in (65_000, 1):
        lock = markers.claim_home(homes[0])
        assert lock is not None
        markers.write_record(lock, record(homes[0], port=port))
        assert markers.read_record(homes[0]) == record(homes[0], port=port)
        lock.close()


def test_a_gateway_that_is_starting_says_nothing_of_the_last_one(homes):
    lock = markers.claim_home(homes[0])
    assert lock is not None
    markers.write_record(lock, record(homes[0]))
    lock.close()
    lock = markers.claim_home(homes[0])
    assert lock is not None
    assert markers.is_locked(homes[0])
    assert markers.read_record(homes[0]) is None
    lock.close()


def test_several_gateways_of_a_checkout_are_listed_and_dead_ones_leave(homes, tmp_path):
    file = tmp_path / "list"
    locks = []
    for home in homes:
        lock = markers.claim_home(home)
        assert lock is not None
        markers.write_record(lock, record(home))
        markers.add_home(file, home)
        locks.append(lock)
    assert [found.home for found in markers.find_running_gateways(file)] == [
        str(home) for home in homes
    ]
    locks[0].close()
    markers.add_home(file, homes[1])
    assert markers.read_homes(file) == [str(homes[1])]
    locks[1].close()


@pytest.mark.parametrize("text", ["", "{", "5", '{"a": 1}', "[1, null]", "\x00"])
def test_a_list_that_cannot_be_read_is_an_empty_one(tmp_path, text):
    file = tmp_path / "list"
    file.write_text(text)
    assert markers.find_running_gateways(file) == []


def test_a_checkout_that_cannot_be_written_to_goes_without(homes, tmp_path):
    markers.add_home(tmp_path / "not there" / "list", homes[0])
    markers.add_home(None, homes[0])


def test_looking_for_a_gateway_makes_nothing(tmp_path):
    assert markers.read_record(tmp_path / "nowhere") is None
    assert not markers.is_locked(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgres://u:canary@h:1/n", "postgres://u@h:1/n"),
        ("postgres://h/n?sslmode=require&password=canary", "postgres://h/n?sslmode=require"),
        ("postgres://u:can@ary@h/n", "postgres://u@h/n"),
        ("sqlite:////a%20b/c", "sqlite:////a%20b/c"),
    ],
)
def test_a_password_is_never_written_down(url, shown):
    assert markers.strip_password(url) == shown


def postgres(**changes):
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "n",
        "HOST": "h",
        "PORT": "",
        "USER": "u",
    } | changes


def test_one_database_has_one_address_whoever_signs_in():
    one = markers.describe_database(postgres())
    assert one == "postgres://u@h:5432/n"
    assert markers.is_same_database(
        one, markers.describe_database(postgres(USER="other", PORT=5432))
    )
    assert not markers.is_same_database(one, markers.describe_database(postgres(NAME="m")))
    assert not markers.is_same_database(one, markers.describe_database(postgres(PORT=5433)))
    local = [markers.describe_database(postgres(HOST=host)) for host in ("localhost", "127.0.0.1")]
    assert local[0] == local[1]


def test_an_sqlite_file_is_known_by_its_real_path(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    names = [str(tmp_path / "x.sqlite3"), str(tmp_path / "link" / "x.sqlite3")]
    one, other = (markers.describe_database({"ENGINE": "…sqlite3", "NAME": name}) for name in names)
    assert markers.is_same_database(one, other)
