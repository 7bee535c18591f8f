"""docker/ without a container engine: what the files promise, and the very processes that
compose.yaml names at work on Postgres and Redis, from a copy of what the image would hold.
"""

import json
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


def arguments(instruction: str) -> list[str]:
    return [given for word, given in composefile.dockerfile() if word == instruction]


def health_check() -> list[str]:
    """The command of the Dockerfile's HEALTHCHECK."""
    (given,) = arguments("HEALTHCHECK")
    return json.loads(given.partition("CMD ")[2])


# --- what the files promise -----------------------------------------------------------------------
def test_compose_has_the_five_services():
    assert composefile.services(TOLD).keys() == {*OURS, "postgres", "redis"}


@pytest.mark.parametrize("name", SECRETS)
def test_compose_refuses_to_start_without_a_secret(name):
    for missing in ({name: ""}, None):
        env = (
            TOLD | missing
            if missing
            else {other: TOLD[other] for other in SECRETS if other != name}
        )
        with pytest.raises(composefile.Unset, match=name):
            composefile.services(env)


def test_no_secret_is_written_down():
    services = composefile.compose()["services"]
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if re.search("SECRET|PASSWORD|KEY|PEPPER|TOKEN", variable):
                assert re.match(r"\$\{\w+:\?", value), f"{name}: {variable}"
    password = re.compile(r"://[^/@]*:(?!\$\{POSTGRES_PASSWORD:\?)[^/@]+@")
    assert not password.search((ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8"))
    for word in ("ENV", "ARG"):
        assert not re.search("SECRET|PASSWORD|_KEY|PEPPER|TOKEN", " ".join(arguments(word)))


def test_only_web_is_published_and_only_on_this_machine():
    services = composefile.services(TOLD)
    published = {
        name: service["ports"] for name, service in services.items() if service.get("ports")
    }
    assert published == {"web": ["127.0.0.1:8000:8000"]}
    assert not any("network_mode" in service for service in services.values())
    for name in ("postgres", "redis"):
        assert services[name]["networks"] == ["inside"]
    assert composefile.compose()["networks"]["inside"] == {"internal": "true"}


def test_every_container_is_as_weak_as_can_be():
    for name, service in composefile.services(TOLD).items():
        assert service["read_only"] == "true", name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name
        if name not in OURS:
            assert service["user"] == name
    user = arguments("USER")[-1]  # of the last stage: what runs
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    instructions = [word for word, _ in composefile.dockerfile()]
    assert instructions.index("USER") < instructions.index("CMD")
    assert "RUN" not in instructions[instructions.index("USER") :]


def test_every_service_says_whether_it_is_healthy():
    services = composefile.services(TOLD)
    assert health_check()[0] == "python"
    for name in ("worker", "postgres", "redis"):
        assert services[name]["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name
    assert services["web"]["depends_on"] == {
        name: {"condition": "service_healthy"} for name in ("postgres", "redis")
    }
    for name in ("worker", "beat"):
        assert services[name]["depends_on"] == {"web": {"condition": "service_healthy"}}


def test_what_must_last_is_in_named_volumes():
    services = composefile.services(TOLD)
    mounted = {
        volume.split(":")[0] for service in services.values() for volume in service["volumes"]
    }
    assert mounted == composefile.compose()["volumes"].keys()
    assert {f"home:{path}" for path in arguments("VOLUME")} == set(services["web"]["volumes"])


def test_compose_sets_nothing_that_the_settings_do_not_know():
    source = (ROOT / "proxysite" / "settings.py").read_text(encoding="utf-8")
    known = set(re.findall(r'(?:env(?:\.\w+)?|secret)\(\s*"(\w+)"', source))
    for name in OURS:
        assert composefile.services(TOLD)[name]["environment"].keys() <= known


def test_what_a_person_may_set_is_told():
    text = (ROOT / "docker" / "compose.yaml").read_text(encoding="utf-8")
    variables = {name for _, name, *_ in composefile.VARIABLE.findall(text) if name}
    told = (ROOT / "docker" / "README.md").read_text(encoding="utf-8")
    assert {name for name in variables if name not in told} == set()


def test_the_image_is_built_from_the_locks():
    images = [given.split()[0] for given in arguments("FROM")]
    assert all(re.fullmatch(r"[\w/.-]+:\d[\w.-]*", image) for image in images), images
    (install,) = [given for given in arguments("RUN") if "pip install" in given]
    assert "--require-hashes" in install
    copied = [
        name for given in arguments("COPY") if "--from" not in given for name in given.split()[:-1]
    ]
    assert [name for name in copied if name != "."] == ["requirements/production.txt"]
    assert not composefile.ignored("requirements/production.txt")


@pytest.mark.parametrize(
    "path",
    [
        *(
            ".env",
            ".env.production",
            "docker/.env",
            "proxysite/.env",
            "api/views/.env.local",
            ".envrc",
        ),
        *(
            "var/secrets.env",
            "var/proxysite.sqlite3",
            "var/journal/1",
            "var/spool/1",
            "secrets.env",
        ),
        *("db.sqlite3", "proxysite.sqlite3-wal", "api/db.sqlite3", "tokens/old.sqlite3-journal"),
        *("tokens.txt", "tokens.csv", "my-tokens/list.txt", "proxysite.dump", "id_rsa", "notes.md"),
        *(
            ".git/config",
            ".venv/bin/python",
            ".ci/run",
            ".interop/npm/x.js",
            "node_modules/a.js",
            "conftest.py",
        ),
        *(
            "api/tests/test_keys.py",
            "proxysite/tests/npm/package.json",
            "api/__pycache__/keys.cpython-312.pyc",
        ),
        *("requirements/development.txt", "benchmarks/run.py", "docker/compose.yaml"),
    ],
)
def test_what_stays_out_of_the_image(path):
    assert composefile.ignored(path)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "manage.py",
            "LICENSE",
            "requirements/production.txt",
            "proxysite/settings.py",
            "tokens/models.py",
        ),
        *(
            "api/views/chat.py",
            "providers/migrations/0001_initial.py",
            "conversations/strategies/direct.py",
        ),
        *("tokens/management/commands/import_tokens.py", "templates/admin/base_site.html"),
    ],
)
def test_what_goes_into_the_image(path):
    assert not composefile.ignored(path)


# --- the processes at work ------------------------------------------------------------------------
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
        (settings,) = arguments("ENV")
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
        test = self.services[name].get("healthcheck", {}).get("test") or ["CMD", *health_check()]
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
