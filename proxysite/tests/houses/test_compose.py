"""docker/ without a container engine: the very processes that compose.yaml names at work.

They run on Postgres and Redis, from a copy of what the image would hold.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
import redis
from psycopg import sql

from proxysite.home import generate_secrets
from proxysite.tests import composefile
from proxysite.tests.composefile import ROOT
from proxysite.tests.processes import PATIENCE_SECONDS, Program, patiently, surroundings

SECRETS = ("SECRET_KEY", "FIELD_KEYS", "KEY_PEPPER", "POSTGRES_PASSWORD")
TOLD = {name: f"the-{name}" for name in SECRETS}
OURS = ("web", "worker", "beat")


@contextmanager
def fresh_database() -> Iterator[str]:
    """The URL of an empty database on the Postgres of DATABASE_URL; it is dropped at the end."""
    url = os.environ["DATABASE_URL"]
    name = f"test_proxysite_compose_{os.getpid()}"
    drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    with closing(psycopg.connect(url, autocommit=True)) as server:
        server.execute(drop)
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield urlsplit(url)._replace(path=f"/{name}").geturl()
        finally:
            server.execute(drop)


@contextmanager
def fresh_redis() -> Iterator[str]:
    """The URL of an empty database number on the Redis of REDIS_URL, claimed for this run; it is
    emptied at the end.
    """
    url = urlsplit(os.environ["REDIS_URL"])
    for number in range(15, -1, -1):
        ours = url._replace(path=f"/{number}").geturl()
        with closing(redis.Redis.from_url(ours)) as client:
            if client.dbsize() or not client.set("claimed-by-a-test", os.getpid(), nx=True, ex=900):
                continue
            try:
                yield ours
            finally:
                client.flushdb()
            return
    pytest.fail("every database of this Redis is in use")


class Containers:
    """The processes of compose.yaml; `app` holds what the image would, `data` is the volume that
    they share.
    """

    def __init__(self, folder: Path, database_url: str, redis_url: str) -> None:
        self.app, self.data, self._folder = folder / "app", folder / "data", folder
        for relative in composefile.image_files():
            (self.app / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / relative, self.app / relative)
        self.data.mkdir(mode=0o700)
        self.shipped = self.files()
        self.services = composefile.services(generate_secrets() | {"POSTGRES_PASSWORD": "unused"})
        self._places = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
        self.running: dict[str, Program] = {}
        self.port = ""

    def files(self) -> set[Path]:
        return {path for path in self.app.rglob("*") if path.is_file()}

    def env(self, name: str) -> dict[str, str]:
        """What the Dockerfile sets, then what compose sets; the two addresses are this
        machine's.
        """
        (settings,) = composefile.arguments("ENV")
        image = dict(item.split("=", 1) for item in settings.split())
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # /venv/bin:$PATH
        image |= {"PATH": path, "PROXYSITE_HOME": str(self.data), "HOSTNAME": socket.gethostname()}
        return surroundings() | image | self.services[name]["environment"] | self._places

    def start(self, name: str) -> Program:
        """Its command word by word, on loopback and a free port."""
        here = {"0.0.0.0": "127.0.0.1", "8000": "0"}
        command = [here.get(word, word) for word in self.services[name]["command"]]
        program = Program(command, self._folder / f"{name}.log", self.env(name), self.app)
        self.running[name] = program
        return program

    def run(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """`docker compose exec`: a command inside a running container."""
        words = [word.replace("127.0.0.1:8000", f"127.0.0.1:{self.port}") for word in command]
        options: dict[str, Any] = {
            "capture_output": True,
            "text": True,
            "timeout": PATIENCE_SECONDS,
            "check": False,
        }
        return subprocess.run(
            words, cwd=self.app, env=self.env(name), stdin=subprocess.DEVNULL, **options
        )

    def exec(self, name: str, *command: str) -> str:
        ran = self.run(name, *command)
        assert ran.returncode == 0, (
            f"{command}\n{ran.stdout}{ran.stderr}\n{self.running[name].said[-4000:]}"
        )
        return ran.stdout

    def healthy(self, name: str) -> bool:
        test = self.services[name].get("healthcheck", {}).get("test") or [
            "CMD",
            *composefile.health_check(),
        ]
        command = ["sh", "-c", test[1]] if test[0] == "CMD-SHELL" else test[1:]
        return self.run(name, *command).returncode == 0


@pytest.fixture
def containers(tmp_path: Path) -> Iterator[Containers]:
    if not os.environ.get("DATABASE_URL", "").startswith("postgres") or not os.environ.get(
        "REDIS_URL"
    ):
        pytest.skip("the processes of compose.yaml need Postgres and Redis: make test-services")
    with fresh_database() as database_url, fresh_redis() as redis_url:
        made = Containers(tmp_path, database_url, redis_url)
        try:
            yield made
        finally:
            for program in made.running.values():
                program.kill()


@pytest.fixture
def database(containers: Containers) -> Iterator[psycopg.Connection[Any]]:
    with closing(
        psycopg.connect(containers.env("web")["DATABASE_URL"], autocommit=True)
    ) as connection:
        yield connection


def an_expired_session(database: psycopg.Connection[Any], key: str) -> None:
    values = (key, "", "2020-01-01T00:00:00Z")
    database.execute(
        "INSERT INTO django_session (session_key, session_data, expire_date) VALUES (%s, %s, %s)",
        values,
    )


def session_is_gone(database: psycopg.Connection[Any], key: str) -> bool:
    return (
        database.execute("SELECT 1 FROM django_session WHERE session_key = %s", (key,)).fetchone()
        is None
    )


def beat_every_second(database: psycopg.Connection[Any], name: str, task: str) -> None:
    """A row of beat's schedule, as the admin would write it."""
    every = database.execute(
        "INSERT INTO django_celery_beat_intervalschedule (every, period) VALUES (1, 'seconds') "
        "RETURNING id"
    ).fetchone()
    assert every is not None
    database.execute(
        "INSERT INTO django_celery_beat_periodictask (name, task, interval_id, args, kwargs, "
        "headers, one_off, enabled,"
        " total_run_count, date_changed, description) VALUES (%s, %s, %s, '[]', '{}', '{}', "
        "false, true, 0, now(), '')",
        (name, task, every[0]),
    )
    database.execute(
        "INSERT INTO django_celery_beat_periodictasks (ident, last_update) VALUES (1, now())"
        " ON CONFLICT (ident) DO UPDATE SET last_update = now()"
    )


@pytest.mark.timeout(240)
def test_the_processes_of_compose_work_together_and_end_as_asked(containers, database):
    # web: healthy, migrated, with an administrator and a key that it shows once
    web = containers.start("web")
    address = web.address()
    containers.port = address.rpartition(":")[2]
    web.until(lambda: containers.healthy("web"), "web healthy")
    assert web.said.count("This is shown once") == 1
    key = re.search(r"API key +(\S+)", web.said)
    assert key is not None

    # … answers, and what it answered is in the ledger
    with httpx.Client(base_url=address, trust_env=False, timeout=PATIENCE_SECONDS) as http:

        def chat(key: str) -> httpx.Response:
            body = {"model": "echo", "messages": [{"role": "user", "content": "Is anybody there?"}]}
            return http.post(
                "/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}
            )

        answer = chat(key[1])
        assert answer.status_code == 200, answer.text
        assert answer.json()["choices"][0]["message"]["content"]
        request_id = answer.headers["x-request-id"].removeprefix("req_")
        row = database.execute(
            "SELECT status FROM api_usagerecord WHERE id = %s", (request_id,)
        ).fetchone()
        assert row == ("complete",)
        assert http.get("/readyz").status_code == 200
        issued = containers.exec("web", "python", "manage.py", "issue_key", "alice").splitlines()[
            -1
        ]
        assert chat(issued).status_code == 200

    # worker: healthy, and does what it is sent
    worker = containers.start("worker")
    beat = containers.start("beat")
    worker.until(lambda: containers.healthy("worker"), "worker healthy")
    an_expired_session(database, "sent")
    containers.exec("worker", "celery", "-A", "proxysite", "call", "proxysite.tasks.clear_sessions")
    worker.until(lambda: session_is_gone(database, "sent"), "a task that was sent")

    # beat: has the project's schedule, and sends what is due
    def scheduled() -> bool:
        names = database.execute("SELECT name FROM django_celery_beat_periodictask").fetchall()
        return {("check disabled tokens",), ("forget old sessions",)} <= set(names)

    beat.until(scheduled, "the schedule in the database")
    an_expired_session(database, "due")
    beat_every_second(database, "often", "proxysite.tasks.clear_sessions")
    beat.until(lambda: session_is_gone(database, "due"), "a task that was due")

    # the root file system may be read-only
    assert containers.files() == containers.shipped

    # SIGTERM ends each as asked, and nothing is left
    pids = worker_pids(web)
    for name in ("beat", "worker", "web"):
        assert containers.running[name].stop() == 0, containers.running[name].said[-4000:]
        assert "Traceback" not in containers.running[name].said, containers.running[name].said[
            -4000:
        ]
    assert len(pids) == 2
    patiently(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "web's own workers gone"
    )
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", int(containers.port))) != 0
    assert containers.files() == containers.shipped


def worker_pids(web: Program) -> list[int]:
    """The server processes of `serve --workers 2`."""
    children = Path(f"/proc/{web.pid}/task/{web.pid}/children")
    return [int(pid) for pid in children.read_text().split()]
