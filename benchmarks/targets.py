"""The targets: the direct path, nginx as a plain proxy, and proxysite with its API keys and ledger.

Each target has a `name` and `run_process()`, a context manager that yields a `ServerUnderTest`
ready for load.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import psycopg

from benchmarks.phases import ServerUnderTest
from benchmarks.processes import BenchError, find_free_port, run_process, wait_for_server

SETTLE_SECONDS = 6  # the gateway starts worker and beat only once it serves
HIGH_LIMITS = [
    "--rpm=100000000",
    "--tpm=100000000000",
    "--concurrency=100000",
    "--budget=1000000/day",
]
NGINX_CONF = """
daemon off; worker_processes 1; pid {home}/nginx.pid; error_log stderr; worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off; keepalive_requests 1000000000; client_body_buffer_size 64k;
    client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi; uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
    upstream bench {{
        server 127.0.0.1:{upstream_port}; keepalive 2048; keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
        location / {{ proxy_pass http://bench; }}
    }}
}}
"""


class Subject(Protocol):
    """A row of the table."""

    name: str

    def run_target(self) -> AbstractContextManager[ServerUnderTest]: ...


@dataclass(frozen=True, slots=True)
class Workplace:
    """The things that all targets share.

    `core` is the core on which targets run, `generator` the compiled load generator.
    """

    directory: Path
    core: int
    upstream_port: int
    generator: Path


@dataclass(slots=True)
class Direct:
    """No gateway: the generator talks to the upstream, which shows the limit of the instrument."""

    place: Workplace
    name: str = "direct"

    @contextmanager
    def run_target(self) -> Iterator[ServerUnderTest]:
        yield ServerUnderTest(self.place.upstream_port)


@dataclass(slots=True)
class Nginx:
    """Debian's nginx with one worker.

    It forwards requests, and neither checks nor counts anything.
    """

    place: Workplace
    name: str = "nginx (plain proxy)"

    @contextmanager
    def run_target(self) -> Iterator[ServerUnderTest]:
        home = self.place.directory / "nginx"
        port = find_free_port()
        home.mkdir(exist_ok=True)
        conf = home / "nginx.conf"
        log = home / "log"
        conf.write_text(
            NGINX_CONF.format(home=home, port=port, upstream_port=self.place.upstream_port)
        )
        began = time.monotonic()
        command = [find_nginx() or "nginx", "-p", str(home), "-c", str(conf)]
        with run_process(command, self.place.core, log) as process:
            wait_for_server(f"http://127.0.0.1:{port}/v1/models", process, log)
            yield ServerUnderTest(port, process.pid, cold_seconds=time.monotonic() - began)


def find_nginx() -> str | None:
    """Return the path of nginx; Debian puts it in a directory that is not in every PATH."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")


@dataclass(slots=True)
class Proxysite:
    """The gateway of this checkout: one worker, its own home, made-up tokens and keys."""

    place: Workplace
    name: str = "proxysite"
    tokens: int = 10
    keys: int = 1
    # URL of a Postgres server on which a database may be created; empty: SQLite
    database_server: str = ""
    has_price: bool = False  # of the model
    has_limits: bool = False  # of the key: requests, tokens, running requests and money
    is_watched: bool = False  # by one viewer of the live board
    key: str = field(default="", init=False)

    @property
    def home(self) -> Path:
        return self.place.directory / f"home-{self.tokens}-{self.keys}{self.suffix}"

    @property
    def suffix(self) -> str:
        """Return what tells the target from others with as many tokens and keys."""
        words = {"price": self.has_price, "limits": self.has_limits, "watched": self.is_watched}
        return "".join(f"_{word}" for word, is_meant in words.items() if is_meant)

    @property
    def database_name(self) -> str:
        """Return the name of this target's own Postgres database."""
        return f"proxysite_bench_{os.getpid()}_{self.tokens}_{self.keys}{self.suffix}"

    @property
    def database_url(self) -> str:
        if not self.database_server:
            return ""
        return urlsplit(self.database_server)._replace(path=f"/{self.database_name}").geturl()

    @contextmanager
    def prepare_gateway(self) -> Iterator[None]:
        """Create a database, a provider, its tokens and API keys; drop the database at the end."""
        self.home.mkdir()
        self._execute_on_server(f"create database {self.database_name}")
        try:
            with self._serve_gateway():
                self._create_rows()
            yield
        finally:
            self._execute_on_server(f"drop database if exists {self.database_name} with (force)")

    @contextmanager
    def run_target(self) -> Iterator[ServerUnderTest]:
        with ExitStack() as stack:
            target = stack.enter_context(self._serve_gateway())
            if self.is_watched:
                stack.enter_context(self.watch_board(target.port))
            yield target

    @contextmanager
    def watch_board(self, port: int) -> Iterator[None]:
        """Watch the live board during the block, on another core than the gateway's."""
        log = self.home / "viewer.log"
        log.unlink(missing_ok=True)
        command = [sys.executable, "-m", "benchmarks.watch_board", f"http://127.0.0.1:{port}"]
        core = max(os.sched_getaffinity(0))
        with run_process(command, core, log, self._build_environment()) as process:
            while b"watching" not in log.read_bytes():
                if process.poll() is not None:
                    raise BenchError(f"nobody watches: {log.read_text()[-2000:]}")
                time.sleep(0.05)
            yield

    def count_usage_rows(self) -> int:
        """Return how many usage records the ledger has written."""
        statement = "select count(*) from api_usagerecord"
        if self.database_server:
            with psycopg.connect(self.database_url) as connection:
                row = connection.execute(statement).fetchone()
        else:
            with sqlite3.connect(f"file:{self.home}/proxysite.sqlite3?mode=ro", uri=True) as sqlite:
                row = sqlite.execute(statement).fetchone()
        return int(row[0]) if row else 0

    @contextmanager
    def _serve_gateway(self) -> Iterator[ServerUnderTest]:
        port = find_free_port()
        log = self.home / "serve.log"
        began = time.monotonic()
        command = [sys.executable, "manage.py", "serve", "--host", "127.0.0.1", "--port", str(port)]
        with run_process(command, self.place.core, log, self._build_environment()) as process:
            wait_for_server(f"http://127.0.0.1:{port}/healthz", process, log)
            yield ServerUnderTest(
                port, process.pid, self.key, time.monotonic() - began, SETTLE_SECONDS
            )

    def _create_rows(self) -> None:
        upstream = f"http://127.0.0.1:{self.place.upstream_port}/v1"
        options = ["--kind=openai_compatible", f"--base-url={upstream}", "--model=bench"]
        self._run_python(["manage.py", "add_provider", "bench", *options, "--allow-private"])
        tokens = "".join(f"sk-made-up-{number:032x}\n" for number in range(self.tokens))
        self._run_python(["manage.py", "import_tokens", "bench", "-"], tokens)
        if self.keys > 1:
            self._run_python(["-m", "benchmarks.seed_keys", str(self.keys - 1)])
        if self.has_price:
            price = ["--prompt=0.1", "--completion=0.1"]
            self._run_python(["manage.py", "set_price", "bench", "bench", *price])
        limits = HIGH_LIMITS if self.has_limits else []
        self.key = self._run_python(["manage.py", "issue_key", "bench", *limits]).split()[-1]

    def _run_python(self, arguments: Sequence[str], text: str = "") -> str:
        """Run Python with `arguments` on this home, and return its output. Raises BenchError."""
        done = subprocess.run(
            [sys.executable, *arguments],
            input=text,
            capture_output=True,
            text=True,
            env=self._build_environment(),
            check=False,
        )
        if done.returncode:
            raise BenchError(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
        return done.stdout

    def _build_environment(self) -> dict[str, str]:
        environment = {
            name: os.environ[name]
            for name in ("PATH", "HOME", "LANG", "TMPDIR")
            if name in os.environ
        }
        return environment | {
            "PROXYSITE_HOME": str(self.home),
            "DATABASE_URL": self.database_url,
            "REDIS_URL": "",
            "MARKER_FILE": "none",
        }

    def _execute_on_server(self, statement: str) -> None:
        if self.database_server:
            with psycopg.connect(self.database_server, autocommit=True) as connection:
                connection.execute(statement.encode())
