"""Find the home, its secrets and the database of this process. No Django in here.

The settings file uses this module. The order is: the environment, `.env`, the gateway that runs
here, the default. Only commands beside a running gateway use its home and database; `serve` itself
does not.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import environ

from proxysite.configuration.declarations import Environment
from proxysite.configuration.setting_types import InvalidSettings
from proxysite.configuration.setting_values import DATABASE_FORMS
from proxysite.first_run import markers
from proxysite.home import Home, generate_secrets

RUNNING_GATEWAY = "the gateway that runs"  # the source of values that it suggests
NO_MARKER_FILE = "none"
SQLITE_PREFIX = "sqlite:///"
SECRET_NAMES = ("SECRET_KEY", "FIELD_KEYS", "KEY_PEPPER")


class Secrets(dict[str, str]):
    """The secrets by name; `are_stored` is False when some are random and end with this process."""

    are_stored = True


def is_serving(argv: Sequence[str]) -> bool:
    """Return whether this process is `manage.py serve` or one of its workers."""
    return list(argv[1:2]) == ["serve"] and not {"--help", "-h"} & set(argv)


def declare_marker_file(env: Environment, checkout: Path) -> Path | None:
    """Declare MARKER_FILE, and return its path; None when there is to be no such file."""
    text = env.read_plain_text(
        "MARKER_FILE",
        ".proxysite-gateways",
        "File in which `serve` notes its home, for commands beside it; none: no such file.",
    )
    return None if text.lower() == NO_MARKER_FILE else checkout / text


def suggest_home(env: Environment, file: Path | None) -> None:
    """Use the home of the one gateway that was started from this checkout and still runs."""
    running = markers.find_running_gateways(file)
    if len(running) == 1:
        env.suggest_value("PROXYSITE_HOME", running[0].home, RUNNING_GATEWAY)


def suggest_database(env: Environment, home: Home) -> None:
    """Use the database of the gateway that runs on this home, if its address needs no password."""
    record = markers.read_record(home.root)
    if record is not None and record.url and not record.needs_password:
        env.suggest_value("DATABASE_URL", record.url, RUNNING_GATEWAY)


def complete_secrets(
    env: Environment, home: Home, given_secrets: dict[str, str], makes_home: bool
) -> Secrets:
    """Return the given secrets, completed by those in the home, else by random ones.

    With `makes_home` the home and its secrets are written where they are missing. Raises
    InvalidSettings when the home cannot be read or made.
    """
    fresh = generate_secrets()
    stored: dict[str, str] = {}
    try:
        if makes_home:
            home.make_path("x")
        if not all(given_secrets.values()):
            stored = home.load_or_make_secrets() if makes_home else home.read_secrets()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        env.add_problem(f"PROXYSITE_HOME: {home.root} cannot be used: {reason}.")
        env.raise_problems()
    complete = Secrets(
        {name: given_secrets[name] or stored.get(name) or fresh[name] for name in fresh}
    )
    complete.are_stored = all(given_secrets[name] or stored.get(name) for name in fresh)
    return complete


def require_home() -> None:
    """Raise InvalidSettings unless there is a home with secrets: only `serve` makes one."""
    from django.conf import settings

    if not settings.HAS_SECRETS:
        raise InvalidSettings(
            f"There is no home in {settings.HOME.root} yet: run `make serve` first, or check "
            "PROXYSITE_HOME."
        )


def make_home_folders(home: Home) -> None:
    """Make the folders that must exist when a process starts, in a home that exists.

    A read-only home is left as it is.
    """
    if home.root.is_dir() and os.access(home.root, os.W_OK):
        home.make_folders()


def sqlite_url(path: Path) -> str:
    """Return the URL of an SQLite file, whatever characters its path has."""
    return SQLITE_PREFIX + quote(os.fsencode(path))


def parse_database_url(env: Environment, url: str) -> dict[str, Any]:
    """Return Django's settings of a database; a URL that cannot be read is noted as a problem."""
    if url.startswith(SQLITE_PREFIX):
        name = unquote(url.removeprefix(SQLITE_PREFIX).partition("?")[0])
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.abspath(name)}
    try:
        return dict(environ.Env.db_url_config(url))
    except (ValueError, KeyError):
        env.add_problem(f"DATABASE_URL: its value is not {DATABASE_FORMS}.")
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
