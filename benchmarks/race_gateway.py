"""A gateway with several workers for races, its upstream, and callers that count answers."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from benchmarks.processes import find_free_port, wait_for_server

ANSWER_SECONDS = {"bench": 0.05, "slow": 3.0}  # of the upstream, by model
STREAM_CHUNKS = 10
TOKENS = 100  # of a request, as the upstream reports them
USAGE = {"prompt_tokens": 50, "completion_tokens": 50, "total_tokens": TOKENS}
MESSAGE = {"role": "assistant", "content": "Hello"}
CHOICE = {"index": 0, "message": MESSAGE, "finish_reason": "stop"}
ANSWER = {"id": "x", "object": "chat.completion", "created": 1, "model": "bench"}
ANSWER |= {"choices": [CHOICE], "usage": USAGE}
CHUNK = ANSWER | {"object": "chat.completion.chunk"}
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)


@dataclass(slots=True)
class Race:
    """One gateway with several workers on a database of its own."""

    server: str  # URL of Postgres
    redis: str
    home: Path
    name: str = field(default_factory=lambda: f"proxysite_race_{os.getpid()}")
    port: int = field(default_factory=find_free_port)

    @property
    def database_url(self) -> str:
        return urlsplit(self.server)._replace(path=f"/{self.name}").geturl()

    def run_python(self, *arguments: str, text: str = "") -> str:
        """Run Python on this home, and return what it prints."""
        done = subprocess.run(
            [sys.executable, *arguments],
            input=text,
            capture_output=True,
            text=True,
            env=self.build_environment(),
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(arguments)}: {done.stderr[-2000:]}")
        return done.stdout

    def build_environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PROXYSITE_HOME": str(self.home),
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis,
            "MARKER_FILE": "none",
            "EMBEDDED_WORKER": "false",
        }

    @contextmanager
    def serve(self, workers: int, **variables: str) -> Iterator[int]:
        """Run the gateway during the block, and yield its process id."""
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        command = [sys.executable, "manage.py", "serve", *address, "--workers", str(workers)]
        log = self.home / "serve.log"
        environment = self.build_environment() | variables
        with log.open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            wait_for_server(f"http://127.0.0.1:{self.port}/readyz", process, log)
            yield process.pid
        finally:
            process.terminate()
            process.wait(30)

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement on the database, and return its rows."""
        with psycopg.connect(self.database_url, autocommit=True) as db:
            cursor = db.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def create_rows(self, upstream_port: int) -> None:
        """Create a provider with a token, and its price."""
        url = f"http://127.0.0.1:{upstream_port}/v1"
        options = ["--kind=openai_compatible", f"--base-url={url}", "--model=bench", "--model=slow"]
        self.run_python("manage.py", "add_provider", "bench", *options, "--allow-private")
        self.run_python("manage.py", "import_tokens", "bench", "-", text="sk-made-up-1\n")
        self.run_python(
            "manage.py", "set_price", "bench", "bench", "--prompt=20", "--completion=20"
        )

    def create_key(self, **limits: object) -> str:
        """Create a key with these columns of its limits, and return it."""
        key = self.run_python("manage.py", "issue_key", "racer").split()[-1]
        columns = ", ".join(limits)
        values = ", ".join(map(str, limits.values()))
        self.execute(
            "INSERT INTO api_limitset (key_id, for_each_end_user, budget_window, time_zone, "
            f"allowed_models, allowed_endpoints, ip_ranges, notifies_owner, {columns}) "
            "SELECT id, false, 'calendar', 'UTC', '[]', '[]', '[]', false, "
            f"{values} FROM api_apikey WHERE prefix = '{key[:16]}'"
        )
        return key


@contextmanager
def prepare_race(server: str, redis: str) -> Iterator[Race]:
    """Create a home and a database, and drop them at the end."""
    with tempfile.TemporaryDirectory() as directory:
        race = Race(server, redis, Path(directory))
        with psycopg.connect(server, autocommit=True) as db:
            db.execute(f"CREATE DATABASE {race.name}".encode())
        try:
            with race.serve(1):
                pass
            yield race
        finally:
            with psycopg.connect(server, autocommit=True) as db:
                db.execute(f"DROP DATABASE {race.name} WITH (FORCE)".encode())


@dataclass(slots=True)
class Answers:
    """The answers of a gateway to one key: how often each code came, and when."""

    port: int
    key: str
    codes: Counter[str] = field(default_factory=Counter)
    refused_at: list[float] = field(default_factory=list)  # UNIX times of final refusals

    async def ask(self, model: str = "bench", **fields: object) -> str:
        """Send one request and return the code of its answer."""
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}]} | fields
        try:
            code = read_code(await self._exchange("POST /v1/chat/completions", json.dumps(body)))
        except OSError as error:
            code = type(error).__name__
        self.codes[code] += 1
        if code == "insufficient_quota":
            self.refused_at.append(time.time())
        return code

    async def count_left(self) -> int:
        """Return what is left of the key's first limit."""
        data = await self._exchange("GET /v1/key", "")
        return int(json.loads(data.partition(b"\r\n\r\n")[2])["limits"][0]["left"])

    async def _exchange(self, line: str, body: str) -> bytes:
        """Send one request and return the bytes of the answer."""
        head = (
            f"{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Authorization: Bearer {self.key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write((head + body).encode())
        data = await reader.read()
        writer.close()
        return data


def read_code(data: bytes) -> str:
    """Return `200`, or the code of the error in an answer."""
    if data.startswith(b"HTTP/1.1 200"):
        return "200"
    try:
        return str(json.loads(data.partition(b"\r\n\r\n")[2])["error"]["code"])
    except (ValueError, LookupError):
        return "cut" if not data else data[:40].decode(errors="replace")


class RaceUpstream:
    """An upstream that answers every request after a while, and counts those that run."""

    def __init__(self) -> None:
        self.running = 0
        self.peak = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection."""
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                lines = request.lower().split(b"\r\n")
                length = next(line for line in lines if line.startswith(b"content-length:"))
                body = json.loads(await reader.readexactly(int(length.split(b":")[1])))
                await self._answer_body(body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def _answer_body(self, body: Mapping[str, object], writer: asyncio.StreamWriter) -> None:
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            seconds = ANSWER_SECONDS[str(body["model"])]
            if body.get("stream"):
                await send_stream(writer, seconds)
                return
            await asyncio.sleep(seconds)
        finally:
            self.running -= 1
        data = json.dumps(ANSWER).encode()
        writer.write(JSON_HEAD % len(data) + data)


async def send_stream(writer: asyncio.StreamWriter, seconds: float) -> None:
    """Stream some chunks over so many seconds, the last one with the usage."""
    writer.write(STREAM_HEAD)
    events = []
    for number in range(STREAM_CHUNKS):
        is_last = number == STREAM_CHUNKS - 1
        choice = {"index": 0, "delta": MESSAGE, "finish_reason": "stop" if is_last else None}
        events.append(
            json.dumps(CHUNK | {"choices": [choice], "usage": USAGE if is_last else None})
        )
    for event in (*events, "[DONE]"):
        data = f"data: {event}\n\n".encode()
        writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await asyncio.sleep(seconds / STREAM_CHUNKS)
    writer.write(b"0\r\n\r\n")
