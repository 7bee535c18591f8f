"""Race many processes for one budget, and hold limits for minutes, on real gateways.

    python -m benchmarks.limit_races --database postgres://… [--redis redis://…]

Eight worker processes of one gateway get 1,600 requests at once, and a key has a budget of 1 USD of
which each request costs 0.002. Prints how much was overspent, and how many requests were refused
while there was money. Then keys with 600 requests, or 60,000 tokens in streams, per minute get
twice as much for --minutes. Other races kill a worker, count the requests that run at the same
time, and move the gateway's clock (with libfaketime, where it is installed). The exit status is 1
when a bound is missed. Nothing else should run on the machine meanwhile.
"""

import argparse
import asyncio
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from benchmarks.processes import find_process_tree
from benchmarks.race_gateway import (
    ANSWER_SECONDS,
    TOKENS,
    Answers,
    Race,
    RaceUpstream,
    prepare_race,
)

RACES = ("budget", "kill", "concurrency", "clock", "rate", "tokens")
WORKERS = 8
AT_ONCE = 1_600
BUDGET_MICRO_USD = 1_000_000
COST_MICRO_USD = 2_000
RATE = 600
OFFERED_PER_SECOND = 20
RATE_TOLERANCE = 0.01
CONCURRENCY = 16
CONCURRENCY_SECONDS = 10
MOST_LEASE_SECONDS = 16  # LIMIT_LEASE_SECONDS and a moment


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


async def offer_requests(answers: Answers, minutes: float, *, streams: bool = False) -> None:
    """Send OFFERED_PER_SECOND for minutes, and wait for all answers."""
    tasks = []
    began = time.monotonic()
    for number in range(int(minutes * 60 * OFFERED_PER_SECOND)):
        await asyncio.sleep(max(0, began + number / OFFERED_PER_SECOND - time.monotonic()))
        tasks.append(asyncio.create_task(answers.ask(stream=streams)))
    await asyncio.gather(*tasks)


async def hold_rate(race: Race, minutes: float) -> bool:
    """Offer more than a rate for minutes, and return whether so much was answered."""
    key = race.create_key(requests_per_minute=RATE)
    with race.serve(WORKERS):
        answers = Answers(race.port, key)
        await offer_requests(answers, minutes)
    wanted = RATE * minutes
    share = answers.codes["200"] / wanted - 1
    print(f"rate: {dict(answers.codes)} in {minutes:g} minutes; {share:+.2%} of {wanted:g}")
    return abs(share) <= RATE_TOLERANCE


async def hold_tokens(race: Race, minutes: float) -> bool:
    """Offer twice the tokens of a limit in streams, and return whether so many were used."""
    key = race.create_key(tokens_per_minute=RATE * TOKENS)
    with race.serve(WORKERS):
        answers = Answers(race.port, key)
        await offer_requests(answers, minutes, streams=True)
    wanted = RATE * TOKENS * minutes
    used = answers.codes["200"] * TOKENS
    print(
        f"tokens: {dict(answers.codes)} in {minutes:g} minutes; {used / wanted - 1:+.2%} of "
        f"{wanted:g}"
    )
    return abs(used / wanted - 1) <= RATE_TOLERANCE


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


async def hold_concurrency(race: Race, upstream: RaceUpstream) -> bool:
    """Keep more callers busy than may run, and return whether exactly as many ran as may."""
    key = race.create_key(concurrent_requests=CONCURRENCY)
    with race.serve(WORKERS):
        answers = Answers(race.port, key)
        upstream.peak = 0
        end = time.monotonic() + CONCURRENCY_SECONDS

        async def ask_until_end() -> None:
            while time.monotonic() < end:
                await answers.ask()

        await asyncio.gather(*(ask_until_end() for _ in range(4 * CONCURRENCY)))
    print(f"concurrency: {dict(answers.codes)}; at most {upstream.peak} of {CONCURRENCY} ran")
    return upstream.peak == CONCURRENCY


async def step_clock(race: Race) -> bool:
    """Hold a rate for a minute while the gateway's clock goes forward and back by a minute."""
    library = find_faketime()
    if not library:
        print("clock: not measured, libfaketime is not installed")
        return True
    clock = race.home / "clock"
    clock.write_text("+0")
    key = race.create_key(requests_per_minute=RATE)
    variables = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(clock)}
    variables |= {"FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with race.serve(1, **variables):  # libfaketime breaks the sleep of the process above workers
        answers = Answers(race.port, key)
        steps = asyncio.create_task(move_clock(clock))
        await offer_requests(answers, 1)
        await steps
    share = answers.codes["200"] / RATE - 1
    print(f"clock: {dict(answers.codes)} in a minute with steps of 60 s; {share:+.2%} of {RATE}")
    return abs(share) <= RATE_TOLERANCE


async def move_clock(clock: Path) -> None:
    for step in ("+60", "-60"):
        await asyncio.sleep(20)
        clock.write_text(step)  # noqa: ASYNC240 - three bytes


def find_faketime() -> str:
    """Return the path of libfaketime, or an empty text where it is not installed."""
    paths = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return str(paths[0]) if paths else ""


async def run_races(options: argparse.Namespace) -> bool:
    upstream = RaceUpstream()
    server = await asyncio.start_server(upstream.answer, "127.0.0.1", 0, backlog=4_096)
    upstream_port = server.sockets[0].getsockname()[1]
    with prepare_race(options.database, options.redis) as race:
        race.create_rows(upstream_port)
        results = []
        if "budget" in options.only:
            results.append(await race_for_budget(race))
        if "kill" in options.only:
            results.append(await kill_worker(race))
        if "concurrency" in options.only:
            results.append(await hold_concurrency(race, upstream))
        if "clock" in options.only:
            results.append(await step_clock(race))
        if "rate" in options.only:
            results.append(await hold_rate(race, options.minutes))
        if "tokens" in options.only:
            results.append(await hold_tokens(race, options.minutes))
    return all(results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", default="postgres://postgres@127.0.0.1:5432/postgres")
    parser.add_argument("--redis", default="")
    parser.add_argument("--minutes", type=float, default=10, help="of the rates")
    parser.add_argument("--only", default=",".join(RACES), help=f"some of {','.join(RACES)}")
    sys.exit(0 if asyncio.run(run_races(parser.parse_args())) else 1)


if __name__ == "__main__":
    main()
