"""The file `.env`: a source of settings, with comments, below the environment."""

import re
from pathlib import Path

import pytest
from django.conf import settings

from proxysite.configuration import env_file
from proxysite.tests.configuration.settings_run import run_settings

EXAMPLE = (settings.BASE_DIR / ".env.example").read_text(encoding="utf-8")


def test_the_env_file_is_a_source_and_the_environment_wins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text("PORT=9001\nHOST=0.0.0.0\n")
    variables = {"HOST": "127.0.0.1"}
    monkeypatch.setattr(env_file.environ.Env, "ENVIRON", variables)
    env = env_file.load_environment(file)
    assert (env.read_count("PORT", 8000), env.declared_settings["PORT"].source) == (9001, ".env")
    assert (env.read_plain_text("HOST", ""), env.declared_settings["HOST"].source) == (
        "127.0.0.1",
        "environment",
    )


def test_the_example_file_works_with_every_line_uncommented(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = re.sub(r"^# ([A-Z][A-Z0-9_]+=)", r"\1", EXAMPLE, flags=re.MULTILINE)
    (tmp_path / ".env").write_text(text)
    variables: dict[str, str] = {}
    monkeypatch.setattr(env_file.environ.Env, "ENVIRON", variables)
    env_file.load_environment(tmp_path / ".env")
    assert set(variables) == set(settings.DECLARED)
    found = run_settings(
        monkeypatch, tmp_path, **variables | {"PROXYSITE_HOME": str(tmp_path / "home")}
    )
    assert found["PORT"] == 8000
    assert found["SETTING_WARNINGS"] == []


def test_a_comment_behind_a_value_is_none_of_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text(
        "A=1   # one\nexport B=a#b # two\nC='a # b'\nD=a#b\nE= # nothing\nF=\"x # y\"\n# G=1 # "
        "no\nH=mine # x\n"
    )
    variables = {"H": "kept # whole"}
    monkeypatch.setattr(env_file.environ.Env, "ENVIRON", variables)
    env_file.load_environment(file)
    expected = {
        "A": "1",
        "B": "a#b",
        "C": "a # b",
        "D": "a#b",
        "E": "",
        "F": "x # y",
        "H": "kept # whole",
    }
    assert variables == expected
