"""Settings: every value is checked, every fault is one line, every setting is listed."""

import ast
import os
import re
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from proxysite.configuration.declarations import Environment
from proxysite.configuration.setting_types import InvalidSettings
from proxysite.tests.configuration.settings_run import SETTINGS_FILE, run_settings


def find_problems(method: str, text: str, *arguments: Any, **options: Any) -> list[str]:
    env = Environment({"X": text})
    getattr(env, method)("X", *arguments, **options)
    return env.problems


# --- values ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("method", "arguments", "good", "bad"),
    [
        ("read_count", (5,), ["1", " 7 ", "5_000"], ["0", "-1", "1.5", "many", "1e3", "9" * 30]),
        ("read_seconds", (5,), ["0.5", "1e2"], ["0", "-1", "nan", "inf", "1e300", "soon"]),
        ("read_whole_seconds", (5,), ["1", "86400"], ["0", "0.5", "-3"]),
        ("read_size_bytes", (5,), ["65536"], ["64KB", "-1"]),
        ("read_share", (0.8,), ["1", "0.25"], ["0", "1.01", "nan"]),
        ("read_switch", (False,), ["true", "FALSE", "1", "off", "Yes"], ["maybe", "2", "tru"]),
        ("read_choice", ("", "", ("one", "two")), ["ONE", "two"], ["three"]),
        (
            "read_host_names",
            ([],),
            ["a.example,[::1],.b.example", "*"],
            ["https://a.example", "a:8000", "a/b", "::1"],
        ),
        (
            "read_origins",
            ([],),
            ["https://a.example,http://b:3000"],
            ["a.example", "https://a.example/path", "*"],
        ),
        (
            "read_url",
            ("", "", ("redis", "unix")),
            ["redis://h:1/0", "unix:///s"],
            ["h:1", "redis://", "redis://h:99999", "http://h"],
        ),
        (
            "read_database_url",
            ("",),
            [
                "postgres://u:p@h:5432/n",
                "postgresql:///n",
                "sqlite:////tmp/x.sqlite3",
                "sqlite:///x.sqlite3",
            ],
            [
                "garbage",
                "mysql://h/n",
                "sqlite://",
                "sqlite:///",
                "postgres://h",
                "postgres://h:70000/n",
            ],
        ),
        ("read_plain_text", ("",), ["anything"], ["a\nb", "a\x00b"]),
        ("read_number", (5,), ["0", "0.5"], ["-1", "nan", "x"]),
    ],
)
def test_each_kind_of_setting_takes_its_values_and_no_others(
    method: str, arguments: tuple[Any, ...], good: list[str], bad: list[str]
) -> None:
    for text in good:
        assert find_problems(method, text, *arguments) == [], text
    for text in bad:
        (line,) = find_problems(method, text, *arguments)
        assert line.startswith("X: "), line
        assert "\n" not in line


def test_an_empty_variable_has_its_default() -> None:
    env = Environment({"X": " "})
    assert env.read_count("X", 8) == 8
    assert env.declared_settings["X"].source == "default"


def test_what_may_hold_a_password_is_not_repeated() -> None:
    for method, text in (
        ("read_database_url", "postgres//u:canary@h/n"),
        ("read_secret", "can\x01ary"),
        ("read_count", "a:canary@b"),
    ):
        arguments = (5,) if method == "read_count" else ("",)
        assert "canary" not in find_problems(method, text, *arguments)[0]


def test_a_long_value_is_cut() -> None:
    assert len(find_problems("read_count", "x" * 10_000, 5)[0]) < 200


def test_what_another_programs_variable_set_is_named_by_it() -> None:
    env = Environment({"REQUEST_TIMEOUT": "soon", "FIRST_BYTE_SECONDS": "soon"})
    env.record_aliases({"FIRST_BYTE_SECONDS": "REQUEST_TIMEOUT"})
    env.read_seconds("FIRST_BYTE_SECONDS", 5)
    assert env.problems[0].startswith(
        "FIRST_BYTE_SECONDS (REQUEST_TIMEOUT of the environment): 'soon'"
    )


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("ALOWED_HOSTS", "ALLOWED_HOSTS"),
        ("PROXYSITE_HOM", "PROXYSITE_HOME"),
        ("BODY_LIMIT_BYTE", "BODY_LIMIT_BYTES"),
        ("REDIS_URI", "REDIS_URL"),
        ("database_url", "DATABASE_URL"),
    ],
)
def test_a_misspelt_variable_is_pointed_out(given: str, meant: str) -> None:
    env = Environment({given: "x"})
    env.add_spelling_warnings(settings.DECLARED)
    assert env.warnings == [f"{given} is no setting, and is not read: did you mean {meant}?"]


def test_variables_of_other_programs_are_left_alone() -> None:
    others = (
        "HOME HOSTNAME PATH LANG SHELL LOGNAME MAIL TERM PS1 KUBERNETES_PORT REDIS_PORT "
        "POSTGRES_PASSWORD"
    )
    env = Environment(dict.fromkeys(others.split(), "x"))
    env.add_spelling_warnings(settings.DECLARED)
    assert env.warnings == []


# --- the settings file ----------------------------------------------------------------------------
def test_every_setting_refuses_garbage_in_a_line_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    garbage = {name: "\x01" for name in settings.DECLARED if name != "MARKER_FILE"}
    with pytest.raises(InvalidSettings) as caught:
        run_settings(monkeypatch, tmp_path, **garbage)
    named = {line.split(":")[0].split(" ")[0] for line in str(caught.value).splitlines()}
    assert named == set(garbage)


def test_no_number_may_be_negative_or_endless(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    numbers = {name for name, declared in settings.DECLARED.items() if "number" in declared.allowed}
    assert len(numbers) > 50
    for text in ("-1", "nan", "inf", "1e400"):
        with pytest.raises(InvalidSettings) as caught:
            run_settings(monkeypatch, tmp_path, **dict.fromkeys(numbers, text))
        assert {line.split(":")[0] for line in str(caught.value).splitlines()} == numbers


def test_no_setting_is_read_but_by_a_method_that_checks_it() -> None:
    methods = {name for name in vars(Environment) if not name.startswith("_")}
    plumbing = {
        "record_aliases",
        "add_spelling_warnings",
        "raise_problems",
        "begin_group",
        "declared_settings",
        "groups",
        "warnings",
        "variables",
    }
    used = {
        node.attr
        for node in ast.walk(ast.parse(SETTINGS_FILE.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "env"
    }
    assert used - plumbing <= methods
    assert "environ" not in used
    assert "getenv" not in SETTINGS_FILE.read_text(encoding="utf-8")
    assert "os.environ" not in SETTINGS_FILE.read_text(encoding="utf-8")


def test_every_setting_is_explained_and_belongs_to_a_group() -> None:
    for setting in settings.DECLARED.values():
        assert setting.help_text.endswith("."), setting.name
        assert not setting.help_text.startswith("What"), setting.name
        assert setting.group in settings.SETTING_GROUPS, setting.name


def test_every_variable_that_the_program_reads_is_a_setting() -> None:
    """Nothing but the settings file reads the environment, though it may be set for libraries."""
    found = {}
    for folder in ("proxysite", "api", "conversations", "tokens", "providers"):
        for file in (settings.BASE_DIR / folder).rglob("*.py"):
            if {"tests", "testing"} & set(file.parts) or file.name == "settings_test.py":
                continue
            for line in file.read_text(encoding="utf-8").splitlines():
                if re.search(r"os\.environ|getenv", line) and "setdefault(" not in line:
                    found[f"{file.name}: {line.strip()}"] = line
    # the first reads all; a profile may name variables itself, and a LiteLLM file does; the last
    # hands them to the processes that it starts; passphrases are no settings
    allowed = {"env_file.py", "import_profile.py", "json_documents.py", "local.py"}
    allowed |= {"export_tokens.py", "import_tokens.py"}
    assert {name.split(":")[0] for name in found} <= allowed, found
    assert os.environ["DJANGO_SETTINGS_MODULE"]
