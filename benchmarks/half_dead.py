"""Measure a token pool of which three quarters are dead, and a total outage of the upstream.

Started by `make bench ARGS=--half-dead` or `python -m benchmarks.half_dead`.

The pool has two hundred tokens. 150 of them answer 401, 402, 429 or 500 to everything, five others
fail half of their requests. A hundred requests run at once, every second one streamed. Prints how
many were answered, how much the dead tokens cost, and how an outage ends. The exit status is 1 when
a bound is missed. Nothing else should run on the machine meanwhile.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.ordinary import find_percentile
from benchmarks.scripted_upstream import ScriptedUpstream
from benchmarks.targets import Proxysite, Workplace

TOKENS = 200
DEAD_SHARE = 0.75
UNSTEADY_TOKENS = 5
AT_ONCE = 100
# the bounds
LEAST_ANSWERED = 0.999
MOST_CALLS_PER_DEAD_TOKEN = 3
ADDED_P95_MS = 100.0
MOST_CALLS_PER_REQUEST = 1.2  # upstream calls per request
FIRST_ANSWER_SECONDS = 2.0
ALL_ANSWERED_SECONDS = 10.0
LONGEST_PAUSE_SECONDS = 60.0  # of the circuit breaker
CALLER_PAUSE_SECONDS = 0.1  # a caller waits so long after a refusal


@dataclass(slots=True)
class PoolCallers:
    """Callers of one gateway.

    Each of `answers` is (the moment it ended, whether it was a good 200, milliseconds).
    """

    port: int
    key: str
    answers: list[tuple[float, bool, float]] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)

    async def ask_once(self, number: int) -> bool:
        """Send one request, and return whether it was answered whole.

        A request with an odd number asks for a stream.
        """
        fields = b',"stream":true' if number % 2 else b""
        body = b'{"model":"bench","messages":[{"role":"user","content":"hi"}]%b}' % fields
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
            f"{self.key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: "
            "close\r\n\r\n"
        )
        began = time.perf_counter()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            writer.write(head.encode() + body)
            answer = await reader.read()
            writer.close()
        except OSError:
            answer = b""
        is_good = (
            answer.startswith(b"HTTP/1.1 200") and b"Hello" in answer and b'"error"' not in answer
        )
        self.statuses[answer[9:12].decode() or "none"] += 1
        ended = time.perf_counter()
        self.answers.append((ended, is_good, (ended - began) * 1_000))
        return is_good

    async def ask_many(self, requests: int) -> None:
        """Send that many requests, a hundred at once."""
        numbers = iter(range(requests))

        async def ask_in_turn() -> None:
            for number in numbers:
                await self.ask_once(number)

        await asyncio.gather(*(ask_in_turn() for _ in range(AT_ONCE)))

    async def ask_until(self, stop_event: asyncio.Event) -> None:
        """Let a hundred callers ask until `stop_event` is set, again soon after a refusal."""

        async def ask_repeatedly(number: int) -> None:
            while not stop_event.is_set():
                if not await self.ask_once(number):
                    await asyncio.sleep(CALLER_PAUSE_SECONDS)

        await asyncio.gather(*(ask_repeatedly(number) for number in range(AT_ONCE)))

    def p95_ms(self, first: int = 0) -> float:
        return find_percentile([milliseconds for _, _, milliseconds in self.answers[first:]], 0.95)


class BoundsReport:
    """The lines that are printed; `is_good` is False once a bound was missed."""

    def __init__(self) -> None:
        self.is_good = True

    def print_bound(self, text: str, holds: bool) -> None:
        self.is_good = self.is_good and holds
        verdict = "ok" if holds else "MISSED"
        print(f"{verdict:<6} {text}", flush=True)


async def measure_pool(
    subject: Proxysite, upstream: ScriptedUpstream, requests: int, report: BoundsReport
) -> None:
    """Measure the pool without dead tokens and with them, each on a gateway process of its own."""
    with subject.run_target() as target:
        calm = PoolCallers(target.port, subject.key)
        await calm.ask_many(requests // 3)
    upstream.kill_tokens(TOKENS, DEAD_SHARE, UNSTEADY_TOKENS)
    upstream.requests_by_token.clear()
    with subject.run_target() as target:
        load = PoolCallers(target.port, subject.key)
        await load.ask_many(requests)
    answered = sum(is_good for _, is_good, _ in load.answers)
    share = answered / requests
    report.print_bound(
        f"{answered:,} of {requests:,} answered ({share:.2%}) {dict(load.statuses)}",
        share >= LEAST_ANSWERED,
    )
    added = load.p95_ms(requests // 5) - calm.p95_ms(requests // 15)
    text = (
        f"p95 {load.p95_ms(requests // 5):.0f} ms once learnt, {added:+.0f} ms beside the pool "
        "without dead tokens"
    )
    report.print_bound(text, added < ADDED_P95_MS)
    for status in sorted(set(upstream.dead_statuses.values())):
        most = max(
            upstream.requests_by_token[number]
            for number, dead in upstream.dead_statuses.items()
            if dead == status
        )
        report.print_bound(
            f"dead tokens that answer {status}: asked {most} times at most",
            status == 500 or most <= MOST_CALLS_PER_DEAD_TOKEN,
        )


async def measure_outage(
    subject: Proxysite, upstream: ScriptedUpstream, seconds: float, report: BoundsReport
) -> None:
    """Measure a total outage: all tokens work, then none is answered, then all work again."""
    upstream.dead_statuses = {}
    upstream.unsteady_tokens = set()
    with subject.run_target() as target:
        load = PoolCallers(target.port, subject.key)
        over = asyncio.Event()
        await load.ask_many(1_000)
        upstream.is_down = True
        upstream.requests_by_token.clear()
        load.answers.clear()
        callers = asyncio.create_task(load.ask_until(over))
        await asyncio.sleep(seconds)
        calls = upstream.requests_by_token.total()
        requests = len(load.answers)
        report.print_bound(
            f"{calls} calls for {requests:,} requests in the outage",
            calls <= MOST_CALLS_PER_REQUEST * requests,
        )
        upstream.is_down = False
        healed = time.perf_counter()
        await asyncio.sleep(LONGEST_PAUSE_SECONDS + ALL_ANSWERED_SECONDS)
        over.set()
        await callers
    after = [(at - healed, is_good) for at, is_good, _ in load.answers if at > healed]
    first = next((at for at, is_good in after if is_good), float("inf"))
    last_refused = max((at for at, is_good in after if not is_good), default=0.0)
    report.print_bound(
        f"first answer {first:.1f} s after the upstream healed",
        first <= LONGEST_PAUSE_SECONDS + FIRST_ANSWER_SECONDS,
    )
    report.print_bound(
        f"all traffic {last_refused - first:.1f} s after the first answer",
        last_refused - first <= ALL_ANSWERED_SECONDS,
    )


async def run_half_dead(arguments: argparse.Namespace) -> bool:
    upstream = ScriptedUpstream()
    report = BoundsReport()
    await upstream.start()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    with tempfile.TemporaryDirectory(prefix="proxysite-half-dead-") as name:
        place = Workplace(Path(name), cores[0], upstream.port, Path())
        store = "Postgres" if arguments.database else "SQLite"
        subject = Proxysite(place, f"proxysite, {store}", TOKENS, 1, arguments.database)
        with subject.prepare_gateway():
            await measure_pool(subject, upstream, arguments.requests, report)
        again = Proxysite(place, f"proxysite, {store}", TOKENS + 1, 1, arguments.database)
        with again.prepare_gateway():
            await measure_outage(again, upstream, arguments.outage, report)
    return report.is_good


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", default="", metavar="URL")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--outage", type=float, default=60.0, metavar="SECONDS")
    return 0 if asyncio.run(run_half_dead(parser.parse_args(arguments))) else 1


if __name__ == "__main__":
    sys.exit(main())
