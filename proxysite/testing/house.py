"""A real gateway: `manage.py serve` as a process in its own home, and commands beside it.

With DATABASE_URL each house has its own Postgres database. Redis is left out: a house has the
embedded parts. A house runs in an environment made for it, so that settings of the person who runs
the tests do not leak in.
"""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx
from django.conf import settings

from proxysite.testing import PATIENCE_SECONDS
from proxysite.testing.forked_process import (
    ForkedProcess,
    passed_environment,
    run_forked_command,
)

STARTING_SECONDS = 30.0  # how long a test waits for a process; it measures nothing
UPSTREAM_TOKEN = "sk-upstream-canary"  # noqa: S105 - of the provider `fake`
ADDRESS_PATTERN = re.compile(r"serves (http://127\.0\.0\.1:(\d+))")


Answer = TypeVar("Answer")


def poll_until(
    condition: Callable[[], Answer | None], description: str, seconds: float = PATIENCE_SECONDS
) -> Answer:
    """Ask until the answer is true, and return it.

    Fails after `seconds`, and names `description`.
    """
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {description}"
        time.sleep(0.02)
    return answer


class House:
    """One home and its gateway.

    `start` runs the gateway, `end_process` ends it with SIGTERM. `output` is everything that it has
    printed.
    """

    def __init__(self, home: Path, database_url: str = "", **environment: str) -> None:
        self.home = home
        self.database_url = database_url
        self.environment = passed_environment() | {
            "PROXYSITE_HOME": str(home),
            "DJANGO_SETTINGS_MODULE": "proxysite.settings",
            "DATABASE_URL": database_url,
            "REDIS_URL": "",
            "EMBEDDED_WORKER": "false",
            "MARKER_FILE": "none",
            **environment,
        }
        self._log = home.with_name(f"{home.name}.log")
        self.process: subprocess.Popen[bytes] | ForkedProcess | None = None
        self.starts_cold = False
        self.url = ""
        self.port = 0

    def copy_database(self, file: Path) -> None:
        """Let this empty house begin with a copy of an SQLite database."""
        self.home.mkdir(mode=0o700)
        shutil.copyfile(file, self.home / "proxysite.sqlite3")
        (self.home / "proxysite.sqlite3").chmod(0o600)

    # --- the gateway ------------------------------------------------------------------------------
    def start(self, *arguments: str, port: int = 0) -> str:
        """Start to serve, and return the output of this start when `/readyz` answers."""
        before = len(self.output)
        self.launch_process("--port", str(port), *arguments)

        def find_printed_address() -> re.Match[str] | None:
            assert self.process is not None
            assert self.process.poll() is None, self.output[before:]
            return ADDRESS_PATTERN.search(self.output, before)

        address = poll_until(find_printed_address, "it serves", STARTING_SECONDS)
        self.url = address[1]
        self.port = int(address[2])
        output = self.output[before:]
        answer = httpx.get(f"{self.url}/readyz", trust_env=False, timeout=STARTING_SECONDS)
        assert answer.status_code == 200
        return output

    def launch_process(self, *arguments: str) -> "subprocess.Popen[bytes] | ForkedProcess":
        """Start `serve`, without waiting for anything.

        It starts from the fork server, or with `starts_cold` as an operator starts it.
        """
        words = ["serve", *arguments]
        with self._log.open("ab") as log, open(os.devnull, "rb") as nothing:
            if self.starts_cold:
                self.process = subprocess.Popen(  # noqa: S603
                    [sys.executable, "manage.py", *words],
                    cwd=settings.BASE_DIR,
                    env=self.environment,
                    stdin=nothing,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            else:
                streams = [file.fileno() for file in (nothing, log, log)]
                self.process = ForkedProcess(words, self.environment, streams)
        return self.process

    @property
    def output(self) -> str:
        return self._log.read_text(encoding="utf-8") if self._log.exists() else ""

    def send_signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait_for_end(self) -> int:
        """Wait until the process has ended, and return its exit status."""
        assert self.process is not None
        return self.process.wait(STARTING_SECONDS)

    def end_process(self) -> int:
        """End the process as an operator does, and return its exit status."""
        self.send_signal(signal.SIGTERM)
        return self.wait_for_end()

    def kill_process(self) -> None:
        """Kill the process and its group, if they still run."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    # --- commands and queries ---------------------------------------------------------------------
    def run_manage_command(self, *arguments: str, stdin: str = "", status: int = 0) -> str:
        """Run a management command, and return its standard output.

        Fails unless the exit status is `status`.
        """
        done = run_forked_command(arguments, self.environment, stdin)
        assert done.returncode == status, done
        return done.stdout

    def run_sql(self, sql: str) -> list[tuple[Any, ...]]:
        """Return rows of the house's database, read beside Django.

        A statement that changes rows is committed.
        """
        if not self.database_url:
            with closing(sqlite3.connect(self.home / "proxysite.sqlite3", timeout=20)) as db, db:
                return db.execute(sql).fetchall()
        import psycopg

        with psycopg.connect(self.database_url) as connection:
            cursor = connection.execute(sql)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []


@contextmanager
def create_own_database(template: str = "") -> Iterator[str]:
    """Create a Postgres database beside that of DATABASE_URL, yield its URL, and drop it.

    Yields "" on SQLite. `template` is the URL of a database to copy.
    """
    if settings.EMBEDDED_DATABASE:
        yield ""
        return
    import psycopg

    name = f"proxysite_house_{uuid4().hex[:12]}"
    like = template.rpartition("/")[2] or "template1"
    with psycopg.connect(settings.DATABASE_URL, autocommit=True) as connection:
        create = f'CREATE DATABASE "{name}" TEMPLATE "{like}"'
        connection.execute(create)  # type: ignore[call-overload]
        try:
            yield f"{settings.DATABASE_URL.rpartition('/')[0]}/{name}"
        finally:
            drop = f'DROP DATABASE "{name}" WITH (FORCE)'
            connection.execute(drop)  # type: ignore[call-overload]


@contextmanager
def make_house(home: Path, template: House | None = None, **environment: str) -> Iterator[House]:
    """Yield a house that is not started yet, and remove everything of it afterwards.

    It is empty, or a copy of `template`, a house that has ended.
    """
    with create_own_database(template.database_url if template else "") as url:
        if template is not None:
            shutil.copytree(template.home, home)
        house = House(home, url, **environment)
        try:
            yield house
        finally:
            house.kill_process()


def run_first_time(house: House, upstream_url: str) -> str:
    """Run an empty house for the first time, and return its first API key.

    Adds the provider `fake` with the model `m` and a token. The house has ended afterwards.
    """
    key = re.search(r"API key +(\S+)", house.start())
    assert key, house.output
    assert house.end_process() == 0
    where = ("--kind", "openai_compatible", "--base-url", upstream_url, "--allow-private")
    house.run_manage_command("add_provider", "fake", *where, "--model", "m")
    house.run_manage_command("import_tokens", "fake", "-", stdin=f"{UPSTREAM_TOKEN}\n")
    return key[1]
