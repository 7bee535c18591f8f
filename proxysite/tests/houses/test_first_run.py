"""The first hour: commands before the first `serve`, beside it, and with settings that are
wrong.
"""

import json
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from proxysite.testing.forked_process import passed_environment, run_forked_command


def run(
    *arguments: str, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command as a person does who has set nothing but these variables."""
    environment = passed_environment() | variables
    return run_forked_command(arguments, environment, folder=cwd or settings.BASE_DIR)


def mistake(*arguments: str, cwd: Path | None = None, **variables: str) -> str:
    """The one line of a command that refuses; nothing else was written."""
    done = run(*arguments, cwd=cwd, **variables)
    assert done.returncode == 1, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# --- before the first serve -----------------------------------------------------------------------
@pytest.mark.parametrize(
    "words",
    [
        ("issue_key", "alice"),
        ("list_models",),
        ("changepassword", "admin"),
        ("migrate",),
        ("shell",),
    ],
)
def test_a_command_before_the_first_serve_is_one_line_and_makes_nothing(tmp_path, words):
    said = mistake(*words, cwd=tmp_path, PROXYSITE_HOME="./new", MARKER_FILE="none")
    where = "There is no database in ./new yet"
    assert said == (
        f"CommandError: {where}: run `make serve` first, or check PROXYSITE_HOME and DATABASE_URL."
    )
    assert names(tmp_path) == []


def test_a_home_without_its_database_is_the_same_line(own_house):
    if own_house.database_url:
        pytest.skip("the database is not in the home")
    (own_house.home / "proxysite.sqlite3").unlink()
    for file in own_house.home.glob("proxysite.sqlite3-*"):
        file.unlink()
    assert "There is no database in" in mistake("issue_key", "alice", **own_house.environment)
    assert not (own_house.home / "proxysite.sqlite3").exists()


def test_a_home_that_lost_its_secrets_is_not_given_new_ones(own_house):
    (own_house.home / "secrets.env").unlink()
    assert "run `make serve` first" in mistake("issue_key", "alice", **own_house.environment)
    assert not (own_house.home / "secrets.env").exists()


def test_help_needs_no_database(tmp_path):
    for words in (
        ("help",),
        ("issue_key", "--help"),
        ("makemigrations", "--check", "--dry-run"),
        ("check",),
    ):
        done = run(*words, PROXYSITE_HOME=str(tmp_path / "new"), MARKER_FILE="none")
        assert done.returncode == 0, done
    assert names(tmp_path) == []


# --- options --------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (("add_provider", "x", "--kind", "echo", "--mod", "guest"), "--mod guest"),
        (("issue_key", "alice", "--nam", "x"), "--nam x"),
        (("issue_key",), "user"),
        (("import_tokens", "x", "-", "--format", "xml"), "xml"),
        (("migrate", "--fak"), "--fak"),
    ],
)
def test_no_command_reads_an_abbreviated_option(own_house, words, wrong):
    done = run(*words, **own_house.environment)
    assert done.returncode != 0
    assert wrong in done.stderr
    if words[0] != "migrate":
        (line,) = done.stderr.splitlines()
        assert line.startswith("CommandError: ")


# --- settings -------------------------------------------------------------------------------------
def test_a_wrong_setting_is_one_line_for_every_program(tmp_path):
    for words in (("serve",), ("issue_key", "alice")):
        said = mistake(
            *words, PROXYSITE_HOME=str(tmp_path / "new"), MARKER_FILE="none", BEHIND_TLS="maybe"
        )
        assert said == "BEHIND_TLS: 'maybe' is not true or false."
    environment = passed_environment()
    celery = [sys.executable, "-m", "celery", "-A", "proxysite", "worker"]
    for variables, line in (
        ({"PORT": "abc"}, "PORT: 'abc'"),
        ({"PROXYSITE_HOME": str(tmp_path / "new")}, "no home"),
    ):
        done = subprocess.run(
            celery, cwd=settings.BASE_DIR, env=environment | {"MARKER_FILE": "none"} | variables,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert line in done.stderr
        assert "Traceback" not in done.stderr
    assert names(tmp_path) == []


def test_show_settings_names_sources_and_hides_secrets(own_house):
    secret = "canary-of-a-secret-that-is-long-enough-for-anybody"
    variables = {
        **own_house.environment,
        "KEY_PEPPER": secret,
        "PORT": "9",
        "ALOWED_HOSTS": "x",
        "MAX_ATTEMPTS": "",
    }
    if not own_house.database_url:
        variables["REDIS_URL"] = "redis://user:canary@127.0.0.1/5"
    text, whole = (
        run("show_settings", **variables),
        run("show_settings", "--format", "json", **variables),
    )
    assert (text.returncode, whole.returncode) == (0, 0), (text, whole)
    assert "canary" not in text.stdout + text.stderr + whole.stdout
    assert "did you mean ALLOWED_HOSTS" in text.stderr
    assert re.search(r"^PORT +9 +environment$", text.stdout, re.MULTILINE)
    assert re.search(r"^MAX_ATTEMPTS +3 +default$", text.stdout, re.MULTILINE)
    shown = {entry["name"]: entry for entry in json.loads(whole.stdout)}
    assert set(shown) == set(settings.DECLARED)
    assert shown["KEY_PEPPER"] == {"name": "KEY_PEPPER", "value": "***", "source": "environment"}
    assert shown["SECRET_KEY"]["source"] == "secrets.env"


def test_show_settings_works_before_the_first_serve(tmp_path):
    done = run("show_settings", PROXYSITE_HOME=str(tmp_path / "new"), MARKER_FILE="none")
    assert done.returncode == 0, done
    assert names(tmp_path) == []


# --- beside a running gateway ---------------------------------------------------------------------
@pytest.fixture
def beside(own_house, tmp_path):
    """The variables of a person in another terminal, while a gateway runs with a home and a
    database of its own.
    """
    own_house.environment["MARKER_FILE"] = str(tmp_path / "marker")
    own_house.start()
    return {"MARKER_FILE": str(tmp_path / "marker")}


def test_a_command_in_another_terminal_finds_the_gateway(own_house, beside):
    done = run("issue_key", "zed", **beside)
    assert done.returncode == 0, done
    assert done.stderr.startswith("Database: ")
    assert "of the gateway that runs" in done.stderr
    assert own_house.run_sql("SELECT username FROM auth_user WHERE username = 'zed'") == [("zed",)]
    assert own_house.end_process() == 0
    assert str(own_house.home) not in run("issue_key", "zed", **beside).stderr


def test_another_database_than_the_gateways_is_refused(own_house, beside, tmp_path):
    other = "sqlite:///" + str(tmp_path / "other.sqlite3")
    for variables in ({}, {"PROXYSITE_HOME": str(own_house.home)}):
        said = mistake("issue_key", "zed", DATABASE_URL=other, **beside, **variables)
        assert "The gateway that runs here" in said
        assert "other.sqlite3" in said
    assert not (tmp_path / "other.sqlite3").exists()
    assert own_house.run_sql("SELECT username FROM auth_user WHERE username = 'zed'") == []


def test_a_home_that_is_named_is_the_one_that_is_meant(own_house, beside, tmp_path):
    named = tmp_path / "named"
    shutil.copytree(own_house.home, named)
    if own_house.database_url:
        said = mistake("issue_key", "zed", PROXYSITE_HOME=str(named), **beside)
        assert "There is no database in" in said
        return
    done = run("issue_key", "zed", PROXYSITE_HOME=str(named), **beside)
    assert done.returncode == 0, done
    assert (
        f"Database: {named}/proxysite.sqlite3 (PROXYSITE_HOME of the environment)\n" in done.stderr
    )
    assert own_house.run_sql("SELECT username FROM auth_user WHERE username = 'zed'") == []


def test_a_database_whose_password_is_not_known_is_refused(own_house, beside):
    if not own_house.database_url:
        pytest.skip("SQLite has no password")
    assert own_house.end_process() == 0
    own_house.environment["DATABASE_URL"] = own_house.database_url.replace(
        "postgres@", "postgres:canary@"
    )
    own_house.start()
    said = mistake("issue_key", "zed", **beside)
    assert "uses postgres://postgres@127.0.0.1" in said
    assert "canary" not in said + Path(beside["MARKER_FILE"]).read_text()
    assert "canary" not in (own_house.home / "serve.lock").read_text()


# --- modes ----------------------------------------------------------------------------------------
def test_a_loose_home_is_tightened_and_new_files_are_its_owners_alone(own_house):
    database = own_house.home / "proxysite.sqlite3"
    loose = [
        own_house.home,
        own_house.home / "secrets.env",
        *([database] if database.exists() else []),
    ]
    for path in loose:
        path.chmod(0o755)
    own_house.start()
    assert own_house.output.count("others could read") == len(loose)
    assert "its mode was 0755 and is 0700 now" in own_house.output
    for path in own_house.home.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    assert own_house.end_process() == 0
    before = len(own_house.output)
    own_house.start()
    assert "others could read" not in own_house.output[before:]
