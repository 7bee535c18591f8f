"""Rules that hold for every command, and what `make` shows while it installs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.core.management.base import CommandError
from django.db import IntegrityError, OperationalError, ProgrammingError

from providers.management.base import GatewayCommand, StrictParser
from proxysite import command_line

OURS = ("proxysite", "api", "conversations", "tokens", "providers")
COMMANDS = sorted(name for name, app in get_commands().items() if app in OURS)
COMMANDS_PAGE = (settings.BASE_DIR / "docs" / "commands.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_ours_follows_the_rules(name: str) -> None:
    command = load_command_class(get_commands()[name], name)
    assert isinstance(command, GatewayCommand)
    parser = command.create_parser("manage.py", name)
    assert isinstance(parser, StrictParser)
    assert parser.allow_abbrev is False
    assert f"\n### `{name}`\n" in COMMANDS_PAGE
    with pytest.raises(CommandError, match=r"^[^\n]+ See: manage.py \w+ --help$"):
        parser.parse_args(["--verbos", "2", "--no-such-option"])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OperationalError("no such table: x"), "make serve"),
        (ProgrammingError('relation "x" does not exist\nLINE 1: …'), "make serve"),
        (OperationalError("connection refused\nIs the server running?"), "See DATABASE_URL"),
        (IntegrityError("NOT NULL constraint failed"), "--traceback"),
    ],
)
def test_a_databases_fault_is_one_line(error: Exception, text: str) -> None:
    said = command_line.describe_database_error(error)
    assert text in said
    assert "\n" not in said


def test_a_python_without_our_packages_is_one_line() -> None:
    command = [sys.executable, "-S", str(settings.BASE_DIR / "manage.py"), "issue_key", "alice"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert ".venv/bin/python" in line


# --- make serve -----------------------------------------------------------------------------------
PIP = """#!/bin/sh
echo "Looking in indexes: https://index.example/simple"
echo "WARNING: Location 'https://wheels.example' is ignored: it is either a non-existing path" >&2
for name in one two three; do echo "Collecting $name==1.0 (from -r x.txt (line 1))"; done
echo "WARNING: Running pip as the 'root' user can result in broken permissions" >&2
{end}
"""
GOOD = (
    'echo "Installing collected packages: one, two, three"; echo "Successfully installed one-1.0"'
)
BAD = 'echo "ERROR: Could not find a version that satisfies four==1.0" >&2; exit 1'
LOCK = "".join(f"{name}==1.0 \\\n    --hash=sha256:00\n" for name in ("one", "two[extra]", "three"))


def install(folder: Path, end: str) -> "subprocess.CompletedProcess[str]":
    """Run the installer with a pip that says this."""
    (folder / "python").write_text(PIP.format(end=end))
    (folder / "python").chmod(0o755)
    (folder / "x.txt").write_text(LOCK)
    command = ["sh", str(settings.BASE_DIR / "requirements" / "install.sh"), str(folder / "x.txt")]
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(folder / "python")}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def test_an_installation_shows_how_far_it_is_and_no_warnings(tmp_path: Path) -> None:
    done = install(tmp_path, GOOD)
    assert done.returncode == 0, done
    assert "1 of 3: one" in done.stdout
    assert "unpacking 3 packages" in done.stdout
    assert "WARNING" not in done.stdout + done.stderr
    assert done.stderr == ""


def test_an_installation_that_fails_shows_its_error_in_full(tmp_path: Path) -> None:
    done = install(tmp_path, BAD)
    assert done.returncode == 1
    assert "ERROR: Could not find a version that satisfies four==1.0" in done.stderr
    assert "WARNING" not in done.stderr


def test_make_says_why_it_installs(tmp_path: Path) -> None:
    for name in ("Makefile", "requirements/base.txt", "requirements/install.sh"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text((settings.BASE_DIR / name).read_text(encoding="utf-8"))
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    outer = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES")  # what `make test` hands on
    env = {name: value for name, value in os.environ.items() if name not in outer}
    said = []
    for _ in range(2):
        done = subprocess.run(
            ["make", "serve"],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
        said.append(done.stdout)
        newer = (tmp_path / ".venv" / ".base").stat().st_mtime + 10
        os.utime(tmp_path / "requirements" / "base.txt", (newer, newer))
    assert re.match(r"Installing requirements/base.txt into .venv, once", said[0])
    assert re.match(r"Installing into .venv, because requirements/base.txt has changed", said[1])
