"""Send hostile requests, and measure how much slower ordinary requests become meanwhile.

    make bench ARGS=--attacks
    python -m benchmarks.attacks [--database postgres://postgres@127.0.0.1:5432/postgres]
                                 [--only H4]

Fifty callers ask the offline model `echo` all the time: first alone, then while ten hostile
requests of one kind run at once, three times over. Prints a table. The exit status is 1 when a
bound is missed. Nothing else should run on the machine meanwhile.
"""

import argparse
import os
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.attack_bodies import ATTACKS, CHAT_COMPLETIONS_PATH, STRANGER_REQUESTS, Attack
from benchmarks.flood import run_flood_upstream
from benchmarks.ordinary import OrdinaryCallers, find_percentile
from benchmarks.phases import ServerUnderTest
from benchmarks.processes import find_process_tree, read_rss_mb, watch_peak_rss_mb
from benchmarks.targets import Proxysite, Workplace

AT_ONCE = 10
ROUNDS = 3
CALM_SECONDS = 5.0
CONNECTIONS = 100
STRANGER_BYTES = 16_700_000
# the bounds
MOST_P99_RATIO = 3.0
MOST_READY_MS = 250.0
MOST_GROWTH_MB = 150.0
MOST_STRANGER_MB = 30.0  # for requests without a valid API key
LEAST_P99_MS = 10.0  # below it a ratio measures the machine, not the gateway
ANSWER_SECONDS = 120


@dataclass(slots=True)
class AttackFigures:
    """The figures of one kind of hostile request."""

    name: str
    statuses: Counter[str] = field(default_factory=Counter)
    p99_ms: float = 0.0
    ready_ms: float = 0.0
    peak_mb: float = 0.0
    after_mb: list[float] = field(default_factory=list)

    def find_missed_bounds(self, calm_p99_ms: float) -> list[str]:
        """Return the bounds that this row misses; `calm_p99_ms` is the p99 without the attack."""
        limit_ms = MOST_P99_RATIO * max(calm_p99_ms, LEAST_P99_MS)
        bounds = {
            f"p99 over {limit_ms:.0f} ms": self.p99_ms > limit_ms,
            f"/readyz over {MOST_READY_MS:.0f} ms": self.ready_ms > MOST_READY_MS,
            f"RSS + {MOST_GROWTH_MB:.0f} MB": self.after_mb[-1] > MOST_GROWTH_MB,
            "RSS grows on": self.after_mb[-1] - self.after_mb[0] > MOST_GROWTH_MB / 3,
        }
        return [bound for bound, is_missed in bounds.items() if is_missed]


def build_post_head(path: str, header: str, length: int) -> bytes:
    """Return the head of a POST request."""
    lines = (f"POST {path} HTTP/1.1", "Host: localhost", header, "Content-Type: application/json")
    return "\r\n".join([*lines, f"Content-Length: {length}", "Connection: close", "\r\n"]).encode()


def send_and_count(port: int, pieces: Sequence[bytes], statuses: Counter[str]) -> None:
    """Send one request, read its answer to the end, and count its status in `statuses`.

    A stream that ends without [DONE] is counted as cut.
    """
    status = "no answer"
    with (
        suppress(OSError),
        socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as connection,
    ):
        with suppress(ConnectionError):  # the answer may come before everything is sent
            for piece in pieces:
                connection.sendall(piece)
        tail = first = connection.recv(65_536)
        status = first[9:12].decode() or status
        while piece := connection.recv(2**20):
            tail = tail[-64:] + piece
        if b"event-stream" in first and b"[DONE]" not in tail[-64:]:
            status += " cut"
    statuses[status] += 1


def attack_once(port: int, key: str, attack: Attack, first: int, statuses: Counter[str]) -> None:
    """Send ten requests at once, and wait for all answers."""
    bodies = [attack.build_body(number) for number in range(first, first + AT_ONCE)]
    header = f"Authorization: Bearer {key}"
    heads = [build_post_head(attack.path, header, len(body)) for body in bodies]
    jobs = [
        threading.Thread(target=send_and_count, args=(port, pair, statuses))
        for pair in zip(heads, bodies, strict=True)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()


def measure_attack(subject: Proxysite, name: str) -> tuple[float, AttackFigures]:
    """Return the p99 in milliseconds without the attack, and the figures during it.

    The gateway is started for this attack alone.
    """
    row = AttackFigures(name)
    attack = ATTACKS[name]()
    with subject.run_target() as target:
        with OrdinaryCallers(target.port, subject.key) as calm:
            time.sleep(CALM_SECONDS)
        measure_rounds(target, subject.key, attack, row)
    return find_percentile(calm.ordinary_ms, 0.99), row


def measure_rounds(target: ServerUnderTest, key: str, attack: Attack, row: AttackFigures) -> None:
    """Attack ROUNDS times, and write the figures into `row`."""
    before_mb = read_rss_mb(find_process_tree(target.pid))
    with watch_peak_rss_mb(target.pid) as peak:
        for number in range(ROUNDS):
            with OrdinaryCallers(target.port, key) as callers:
                attack_once(target.port, key, attack, number * AT_ONCE, row.statuses)
                time.sleep(1)
            row.p99_ms = max(row.p99_ms, find_percentile(callers.ordinary_ms, 0.99))
            row.ready_ms = max(row.ready_ms, *callers.ready_ms)
            row.after_mb.append(read_rss_mb(find_process_tree(target.pid)) - before_mb)
    row.peak_mb = max(peak[0] - before_mb, *row.after_mb)


@contextmanager
def hold_unfinished_bodies(port: int, head: bytes) -> Iterator[Counter[str]]:
    """Hold a hundred connections open that have sent nearly all of a large body.

    Yields a count of the statuses that they were answered with so far.
    """
    answers: Counter[str] = Counter()
    connections = [socket.create_connection(("127.0.0.1", port), 5) for _ in range(CONNECTIONS)]
    body = b"x" * (STRANGER_BYTES - 10)
    try:
        jobs = [
            threading.Thread(target=send_while_taken, args=(connection, head, body))
            for connection in connections
        ]
        for job in jobs:
            job.start()
        for job in jobs:
            job.join()
        for connection in connections:
            answers[read_status(connection)] += 1
        yield answers
    finally:
        for connection in connections:
            connection.close()


def send_while_taken(connection: socket.socket, *pieces: bytes) -> None:
    """Send as many of the pieces as the other side takes within five seconds."""
    connection.settimeout(5)
    with suppress(OSError):
        for piece in pieces:
            connection.sendall(piece)


def read_status(connection: socket.socket) -> str:
    connection.settimeout(0.2)
    try:
        return connection.recv(12)[9:12].decode() or "closed"
    except OSError:
        return "waits"


def measure_unfinished_bodies(
    subject: Proxysite, path: str, header: str
) -> tuple[float, Counter[str]]:
    """Measure a hundred unfinished large bodies.

    Returns the memory in megabytes that they take, and a count of how they were answered.
    """
    with subject.run_target() as target:
        head = build_post_head(path, header, STRANGER_BYTES)
        before_mb = read_rss_mb(find_process_tree(target.pid))
        with (
            watch_peak_rss_mb(target.pid) as peak,
            hold_unfinished_bodies(target.port, head) as answers,
        ):
            time.sleep(1)
        return peak[0] - before_mb, answers


def measure_all_attacks(arguments: argparse.Namespace, subject: Proxysite) -> list[str]:
    """Print the tables, and return a line for each bound that is missed."""
    missed = []
    print("| 100 connections, 16.7 MB each | RSS, MB | answers |\n|---|---|---|", flush=True)
    senders = STRANGER_REQUESTS | {
        "a valid key (not bound by this)": (
            CHAT_COMPLETIONS_PATH,
            f"Authorization: Bearer {subject.key}",
        )
    }
    for name, (path, header) in senders.items():
        growth_mb, answers = measure_unfinished_bodies(subject, path, header)
        print(f"| {name} | {growth_mb:+.0f} | {dict(answers)} |", flush=True)
        if name in STRANGER_REQUESTS and growth_mb > MOST_STRANGER_MB:
            missed.append(f"{name}: RSS {growth_mb:+.0f} MB")
    print(
        "\n| ten at once, three times | calm p99 | p99, ms | /readyz | peak RSS | RSS after "
        "each, MB | answers |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in ATTACKS:
        if not name.startswith(arguments.only):
            continue
        calm_p99_ms, row = measure_attack(subject, name)
        after = " ".join(f"{megabytes:+.0f}" for megabytes in row.after_mb)
        figures = (
            f"{calm_p99_ms:.1f} | {row.p99_ms:.0f} | {row.ready_ms:.0f} | {row.peak_mb:+.0f} | "
            f"{after}"
        )
        print(f"| {name} | {figures} | {dict(row.statuses)} |", flush=True)
        missed += [f"{name}: {bound}" for bound in row.find_missed_bounds(calm_p99_ms)]
    return missed


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--database", default="", metavar="URL", help="a Postgres server; without it SQLite"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="attacks whose name begins so")
    chosen = parser.parse_args()
    os.chdir(Path(__file__).resolve().parent.parent)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    with (
        tempfile.TemporaryDirectory(prefix="proxysite-attacks-") as name,
        run_flood_upstream() as port,
    ):
        place = Workplace(Path(name), cores[0], port, Path())
        subject = Proxysite(place, tokens=10, keys=1, database_server=chosen.database)
        with subject.prepare_gateway():
            missed = measure_all_attacks(chosen, subject)
    for line in missed:
        print(f"MISSED {line}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
