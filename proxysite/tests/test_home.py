import base64
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from proxysite.home import Home, generate_secrets

NAMES = {"SECRET_KEY", "FIELD_KEYS", "KEY_PEPPER"}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "deep" / "home")


def test_secrets_are_made_once_and_kept(home: Home) -> None:
    first = home.load_or_make_secrets()
    assert set(first) == NAMES
    assert Home(home.root).load_or_make_secrets() == first
    assert home.load_or_make_secrets() == first


def test_the_secrets_are_their_owners_alone(home: Home) -> None:
    home.load_or_make_secrets()
    assert mode(home.root / "secrets.env") == 0o600
    assert mode(home.root) == 0o700
    assert [path.name for path in home.root.iterdir()] == ["secrets.env"]


def test_a_wide_umask_opens_nothing(home: Home) -> None:
    before = os.umask(0)
    try:
        home.load_or_make_secrets()
        deep = home.make_path("journal", "x")
    finally:
        os.umask(before)
    assert mode(home.root / "secrets.env") == 0o600
    assert mode(home.root) == mode(deep.parent) == 0o700


def test_a_home_that_begins_with_a_deeper_path_is_its_owners_alone_too(home: Home) -> None:
    home.make_path("static", "deep", "file")
    assert mode(home.root) == 0o700
    assert mode(home.root / "static") == 0o700


def test_fresh_secrets_are_long_random_and_usable_as_they_are() -> None:
    made = [generate_secrets() for _ in range(20)]
    for name in NAMES:
        assert len({secrets[name] for secrets in made}) == 20
    for secrets in made:
        assert len(secrets["SECRET_KEY"]) >= 50
        assert len(secrets["KEY_PEPPER"]) >= 32
        key_id, _, text = secrets["FIELD_KEYS"].partition(":")
        assert key_id
        assert len(base64.urlsafe_b64decode(text)) == 32
        assert not any("\n" in value or "," in value for value in secrets.values())


def test_a_value_may_contain_an_equals_sign(home: Home) -> None:
    home.make_path("secrets.env").write_text(
        "FIELD_KEYS=k1:abc==\n\nKEY_PEPPER=p=q\n", encoding="utf-8"
    )
    assert home.load_or_make_secrets() == {"FIELD_KEYS": "k1:abc==", "KEY_PEPPER": "p=q"}


def test_what_a_process_left_that_died_while_making_them_is_in_nobodys_way(home: Home) -> None:
    draft = home.make_path(f".secrets.env.{os.getpid()}")
    draft.write_text("SECRET_KEY=half")
    assert set(home.load_or_make_secrets()) == NAMES


MAKES = """
import sys
from pathlib import Path
from proxysite.home import Home

sys.stdin.readline()
print(sorted(Home(Path(sys.argv[1])).load_or_make_secrets().items()))
"""


def test_processes_that_start_at_once_agree(home: Home) -> None:
    command = [sys.executable, "-c", MAKES, str(home.root)]
    started = [
        subprocess.Popen(
            command, cwd=settings.BASE_DIR, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = {process.communicate(timeout=30)[0] for process in started}
    assert told == {f"{sorted(home.load_or_make_secrets().items())}\n"}
    assert [path.name for path in home.root.iterdir()] == ["secrets.env"]


def test_a_path_has_its_directory_and_is_not_made_itself(home: Home) -> None:
    path = home.make_path("a", "b", "file")
    assert path == home.root / "a" / "b" / "file"
    assert path.parent.is_dir()
    assert not path.exists()
    assert home.make_path("a", "b", "file") == path
