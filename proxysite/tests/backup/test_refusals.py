"""What `backup` and `restore` refuse: one line, exit status 1, and nothing is written."""

import gzip
import io
import json
import os
import re
import tarfile

import pytest

from proxysite.testing.forked_process import run_forked_command
from proxysite.testing.house import House, create_own_database

pytestmark = pytest.mark.timeout(240)
PASSING_LINE = re.compile(r"^Database: | …$")  # also the progress on a slow machine
PASSPHRASE = "the passphrase of a test"


@pytest.fixture(scope="module")
def backed_up_house(_furnished):
    return _furnished[0]


@pytest.fixture(scope="module")
def backups(backed_up_house, tmp_path_factory):
    """A folder with an encrypted and a plain backup of the same house, and passphrases."""
    house = backed_up_house
    folder = tmp_path_factory.mktemp("backups")
    (folder / "right").write_text(f"{PASSPHRASE}\n")
    (folder / "wrong").write_text("another passphrase\n")
    (folder / "short").write_text("short\n")
    right = str(folder / "right")
    house.run_manage_command("backup", str(folder / "sealed"), "--passphrase-file", right)
    house.run_manage_command("backup", str(folder / "plain"), "--no-encryption")
    return folder


@pytest.fixture
def new_house(tmp_path):
    with create_own_database() as url:
        yield House(tmp_path / "home", url)


def refuse(house, *arguments):
    """The one line with which a command is refused."""
    done = run_forked_command([str(argument) for argument in arguments], house.environment, "")
    assert done.returncode == 1, done
    lines = [line for line in done.stderr.splitlines() if not PASSING_LINE.search(line)]
    assert len(lines) == 1, lines
    assert not done.stdout
    return lines[0]


def is_untouched(house):
    """Return whether there is no gateway, and no rest of a restore."""
    names = set(os.listdir(house.home)) if house.home.exists() else set()
    return not names - {"serve.lock", "static", "uploads"}


def test_files_that_are_not_whole_are_refused(backups, new_house):
    sealed = (backups / "sealed").read_bytes()
    plain = (backups / "plain").read_bytes()
    middle = len(sealed) // 2
    with_passphrase = ("--passphrase-file", backups / "right")
    damaged = {
        "cut": (sealed[:-10], "cut off", with_passphrase),
        "changed": (sealed[:middle] + b"\0\0\0\0" + sealed[middle + 4 :], "chang", with_passphrase),
        "cut-plain": (plain[:-10], "cut off", ()),
        "changed-plain": (plain[:-8] + b"\0\0\0\0" + plain[-4:], "changed", ()),
        "garbage": (b"garbage", "is no backup", ()),
        "empty": (b"", "is no backup", ()),
    }
    for name, (content, said, options) in damaged.items():
        (backups / name).write_bytes(content)
        assert said in refuse(new_house, "restore", backups / name, *options, "--check"), name
        assert not new_house.home.exists()
    assert "cut off" in refuse(new_house, "restore", backups / "cut", *with_passphrase)
    assert is_untouched(new_house)


def test_passphrases_are_wrong_missing_or_unneeded(backups, new_house):
    def try_passphrase(backup, *options):
        return refuse(new_house, "restore", backups / backup, *options)

    assert "is wrong" in try_passphrase("sealed", "--passphrase-file", backups / "wrong")
    assert "is encrypted" in try_passphrase("sealed")
    assert "not encrypted" in try_passphrase("plain", "--passphrase-file", backups / "right")
    assert "at least 12" in try_passphrase("sealed", "--passphrase-file", backups / "short")
    assert "cannot be read" in try_passphrase("sealed", "--passphrase-file", backups / "none")
    assert is_untouched(new_house)


def test_a_plain_backup_has_no_secrets_and_needs_those_of_its_gateway(
    backups, new_house, backed_up_house
):
    stored = (backed_up_house.home / "secrets.env").read_text()
    with tarfile.open(backups / "plain") as archive:
        names = archive.getnames()
    assert not [name for name in names if "secret" in name and not name.startswith("rows/")]
    assert stored.split("FIELD_KEYS=")[1][:30] not in str(names)
    assert "FIELD_KEYS and KEY_PEPPER" in refuse(new_house, "restore", backups / "plain")
    assert is_untouched(new_house)
    secrets = dict(line.split("=", 1) for line in stored.splitlines())
    new_house.environment |= secrets | {"KEY_PEPPER": "p" * 40}
    assert "another KEY_PEPPER" in refuse(new_house, "restore", backups / "plain")
    assert is_untouched(new_house)
    options = ("--passphrase-file", backups / "right")
    assert "KEY_PEPPER that is set here" in refuse(
        new_house, "restore", backups / "sealed", *options
    )
    assert is_untouched(new_house)


def rewrite_backup(source, target, change):
    """Write a plain backup whose begin is changed."""
    packed = io.BytesIO()
    with tarfile.open(source) as old, tarfile.open(fileobj=packed, mode="w|") as new:
        for member in old:
            content = old.extractfile(member).read()
            if member.name == "begin.json":
                begin = json.loads(content)
                change(begin)
                content = json.dumps(begin).encode()
                member.size = len(content)
            new.addfile(member, io.BytesIO(content))
    target.write_bytes(gzip.compress(packed.getvalue()))


def test_backups_of_newer_releases_and_other_databases_are_refused(backups, new_house):
    def change_and_refuse(change):
        rewrite_backup(backups / "plain", backups / "rewritten", change)
        return refuse(new_house, "restore", backups / "rewritten")

    newer = change_and_refuse(lambda begin: begin["migrations"].append(["api", "9999_future"]))
    assert "newer release" in newer
    assert "api.9999_future" in newer
    sign_in = change_and_refuse(lambda begin: begin["migrations"].append(["mfa", "0001_initial"]))
    assert "TWO_FACTOR" in sign_in
    form = change_and_refuse(lambda begin: begin.update(format_version=2))
    assert "has the format 2" in form
    other = {"sqlite": "postgresql", "postgresql": "sqlite"}
    vendor = change_and_refuse(lambda begin: begin.update(vendor=other[begin["vendor"]]))
    assert "DATABASE_URL" in vendor
    assert is_untouched(new_house)


def test_a_backup_never_replaces_a_file_and_needs_one_way_of_writing(backups, backed_up_house):
    house = backed_up_house
    sealed = (backups / "sealed").read_bytes()
    plain = ("--no-encryption",)
    assert "exists already" in refuse(house, "backup", backups / "sealed", *plain)
    assert (backups / "sealed").read_bytes() == sealed
    assert "There is no folder" in refuse(house, "backup", backups / "no" / "where", *plain)
    assert "Give either" in refuse(house, "backup", backups / "new")
    both = (*plain, "--passphrase-file", backups / "right")
    assert "Give either" in refuse(house, "backup", backups / "new", *both)
    assert not [name for name in os.listdir(backups) if name.startswith(".")]
