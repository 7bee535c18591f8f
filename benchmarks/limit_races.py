"""Race many processes for one budget, and hold a rate for minutes, on real gateways.

    python -m benchmarks.limit_races --database postgres://… [--redis redis://…]

Eight worker processes of one gateway get 1,600 requests at once, and a key has a budget of 1 USD of
which each request costs 0.002. Prints how much was overspent, and how many requests were refused
while there was money. Then a key with 600 requests per minute gets 20 a second for --minutes, and a
worker is killed in the middle: prints how many were answered, and when what it held was free again.
The exit status is 1 when a bound is missed. Nothing else should run on the machine meanwhile.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from benchmarks.processes import (
    find_free_port,
    find_process_tree,
    wait_for_server,
)

WORKERS = 8
AT_ONCE = 1_600
BUDGET_MICRO_USD = 1_000_000
COST_MICRO_USD = 2_000
RATE = 600
OFFERED_PER_SECOND = 20
RATE_TOLERANCE = 0.01
ANSWER_SECONDS = {"bench": 0.05, "slow": 3.0}  # of the upstream, by model
USAGE = {"prompt_tokens": 50, "completion_tokens": 50, "total_tokens": 100}
MESSAGE = {"role": "assistant", "content": "Hello"}
CHOICE = {"index": 0, "message": MESSAGE, "finish_reason": "stop"}
ANSWER = {"id": "x", "object": "chat.completion", "created": 1, "model": "bench"}
ANSWER |= {"choices": [CHOICE], "usage": USAGE}
MOST_LEASE_SECONDS = 16  # LIMIT_LEASE_SECONDS and a moment


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
    def serve(self, workers: int) -> Iterator[int]:
        """Run the gateway during the block, and yield its process id."""
        address = ["--host", "127.0.0.1", "--port", str(self.port)]
        command = [sys.executable, "manage.py", "serve", *address, "--workers", str(workers)]
        log = self.home / "serve.log"
        environment = self.build_environment()
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

    async def ask(self, model: str = "bench") -> str:
        """Send one request and return the code of its answer."""
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
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


async def answer_upstream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request of a connection, after a while."""
    data = json.dumps(ANSWER).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    try:
        while request := await reader.readuntil(b"\r\n\r\n"):
            lines = request.lower().split(b"\r\n")
            length = next(line for line in lines if line.startswith(b"content-length:"))
            body = json.loads(await reader.readexactly(int(length.split(b":")[1])))
            await asyncio.sleep(ANSWER_SECONDS[body["model"]])
            writer.write(head % len(data) + data)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def race_for_budget(race: Race) -> bool:
    """Send all requests at once, and return whether the bounds are kept."""
    key = race.create_key(total_budget_usd=1)
    with race.serve(WORKERS):
        answers = Answers(race.port, key)
        began = time.monotonic()
        await asyncio.gather(*(answers.ask() for _ in range(AT_ONCE)))
        seconds = time.monotonic() - began
    [(spent, count, last)] = race.execute(
        "SELECT sum(cost_micro_usd)::bigint, count(*), "
        "extract(epoch FROM max(started_at + total_ms * interval '1 ms'))::float "
        "FROM api_usagerecord WHERE status <> 'refused'"
    )
    overspent = int(str(spent)) - BUDGET_MICRO_USD
    early = [moment for moment in answers.refused_at if moment < float(str(last)) - 1]
    left = answers.codes["rate_limit_exceeded"]
    print(f"budget: {dict(answers.codes)} in {seconds:.1f} s; {count} records")
    print(f"budget: overspent {overspent / COST_MICRO_USD:g} requests; refused with money: {left}")
    print(f"budget: refused for good a second before the last answer or earlier: {len(early)}")
    is_spent = overspent >= 0
    return is_spent and overspent <= WORKERS * COST_MICRO_USD and not left


async def hold_rate(race: Race, minutes: float) -> bool:
    """Offer more than a rate for minutes, and return whether so much was answered."""
    key = race.create_key(requests_per_minute=RATE)
    with race.serve(WORKERS):
        answers = Answers(race.port, key)
        tasks = []
        began = time.monotonic()
        count = int(minutes * 60 * OFFERED_PER_SECOND)
        for number in range(count):
            await asyncio.sleep(max(0, began + number / OFFERED_PER_SECOND - time.monotonic()))
            tasks.append(asyncio.create_task(answers.ask()))
        await asyncio.gather(*tasks)
    wanted = RATE * minutes
    share = answers.codes["200"] / wanted - 1
    print(f"rate: {dict(answers.codes)} in {minutes:g} minutes; {share:+.2%} of {wanted:g}")
    return abs(share) <= RATE_TOLERANCE


async def kill_worker(race: Race) -> bool:
    """Kill a worker that holds running requests, and return whether they are free again in time."""
    key = race.create_key(concurrent_requests=40)
    with race.serve(4) as pid:
        answers = Answers(race.port, key)
        running = [asyncio.create_task(answers.ask("slow")) for _ in range(40)]
        await asyncio.sleep(ANSWER_SECONDS["slow"] / 2)
        for worker in find_process_tree(pid)[1:3]:
            os.kill(worker, signal.SIGKILL)
        killed_at = time.monotonic()
        await asyncio.gather(*running)
        while await answers.count_left() < 40:  # noqa: ASYNC110 - another process frees them
            await asyncio.sleep(0.2)
        seconds = time.monotonic() - killed_at
        codes = Counter([await Answers(race.port, key).ask() for _ in range(5)])
    print(f"kill: {dict(answers.codes)}; all free after {seconds:.1f} s; then {dict(codes)}")
    return seconds <= MOST_LEASE_SECONDS and codes["200"] == 5


async def run_races(options: argparse.Namespace) -> bool:
    upstream = await asyncio.start_server(answer_upstream, "127.0.0.1", 0, backlog=4_096)
    upstream_port = upstream.sockets[0].getsockname()[1]
    with prepare_race(options.database, options.redis) as race:
        race.create_rows(upstream_port)
        results = [await race_for_budget(race), await kill_worker(race)]
        if options.minutes:
            results.append(await hold_rate(race, options.minutes))
    return all(results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", default="postgres://postgres@127.0.0.1:5432/postgres")
    parser.add_argument("--redis", default="")
    parser.add_argument("--minutes", type=float, default=10)
    sys.exit(0 if asyncio.run(run_races(parser.parse_args())) else 1)


if __name__ == "__main__":
    main()
