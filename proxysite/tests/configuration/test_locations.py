"""The home and the database of a gateway: when they are made, and where."""

from pathlib import Path

import pytest

from proxysite.configuration import locations
from proxysite.configuration.declarations import Environment
from proxysite.configuration.setting_types import InvalidSettings
from proxysite.tests.configuration.settings_run import run_settings


def test_reading_the_settings_makes_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = run_settings(monkeypatch, tmp_path, "issue_key", "alice")
    assert found["HAS_SECRETS"] is False
    assert len(found["SECRET_KEY"]) > 40
    assert list(tmp_path.iterdir()) == []


def test_serve_makes_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = run_settings(monkeypatch, tmp_path, "serve")
    assert found["HAS_SECRETS"] is True
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == [
        "secrets.env",
        "static",
        "uploads",
    ]
    again = run_settings(monkeypatch, tmp_path, "issue_key", "alice")
    assert again["HAS_SECRETS"] is True
    assert again["KEY_PEPPER"] == found["KEY_PEPPER"]


def test_serve_makes_nothing_while_a_setting_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(InvalidSettings):
        run_settings(monkeypatch, tmp_path, "serve", BEHIND_TLS="maybe")
    assert list(tmp_path.iterdir()) == []


def test_help_of_serve_makes_no_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run_settings(monkeypatch, tmp_path, "serve", "--help")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["a file", "below a file"])
def test_a_home_that_cannot_be_made_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    (tmp_path / "file").touch()
    home = tmp_path / "file" if where == "a file" else tmp_path / "file" / "home"
    with pytest.raises(InvalidSettings, match=r"^PROXYSITE_HOME: \S+ cannot be used: [^\n]+$"):
        run_settings(monkeypatch, tmp_path, "serve", PROXYSITE_HOME=str(home))


@pytest.mark.parametrize(
    "name", ["a+b", "a b", "100%", "%41", "a#b", "a?b", "größe", "家", "a&b=c"]
)
def test_a_home_may_have_any_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    home = tmp_path / name
    found = run_settings(monkeypatch, tmp_path, PROXYSITE_HOME=str(home))
    assert found["DATABASES"]["default"]["NAME"] == str(home / "proxysite.sqlite3")
    env = Environment({})
    assert locations.parse_database_url(env, found["DATABASE_URL"])["NAME"] == str(
        home / "proxysite.sqlite3"
    )


def test_a_relative_home_of_the_env_file_begins_beside_that_file(tmp_path: Path) -> None:
    env = Environment({"PROXYSITE_HOME": "mine"}, {"PROXYSITE_HOME": ".env"})
    assert env.read_folder("PROXYSITE_HOME", "var", beside=tmp_path) == tmp_path / "mine"
    env = Environment({"PROXYSITE_HOME": "mine"})
    assert env.read_folder("PROXYSITE_HOME", "var", beside=tmp_path) == Path.cwd() / "mine"
