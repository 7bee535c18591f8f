"""The phases of the benchmark: the requests of each, and the figures that it returns.

`PHASES[name](load)` returns {figure: number}. A `LoadGenerator` runs the generator against one
target and counts the requests that were answered. The names of the figures say their units.
"""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.processes import (
    BenchError,
    find_process_tree,
    read_busy_seconds,
    read_cpu_seconds,
    watch_peak_rss_mb,
)
from providers.protocol.json_types import JsonObject

CONNECTIONS = 64
SLOW_STREAMS = 1000
CLOCK_SECONDS = 0.5  # the kernel counts CPU time in ticks of 10 ms: shorter runs say nothing
Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class ServerUnderTest:
    """A server under test; `pid` is 0 when the generator talks to the upstream directly."""

    port: int
    pid: int = 0
    key: str = "sk-bench"
    cold_seconds: float = 0  # from the start of its process to the first answer
    settle_seconds: float = 0.5  # from the first answer until it is at rest


@dataclass(frozen=True, slots=True)
class GeneratorRun:
    """One run of the generator.

    `report` is the generator's own, `read_cpu_seconds` the CPU time of the target's processes
    meanwhile.
    """

    report: JsonObject
    cpu_seconds: float

    def cpu_us_per(self, unit: str) -> float:
        """Return the target's CPU microseconds per unit; `unit` is `ok` (answers) or `chunks`."""
        return self.cpu_seconds * 1e6 / max(1, int(self.report[unit]))


@dataclass(slots=True)
class LoadGenerator:
    """The load generator, aimed at one target."""

    generator: Path
    target: ServerUnderTest
    core: int  # the core that the target runs on
    seconds: float
    answered: int = 0
    failures: list[str] = field(default_factory=list)
    # the largest share of the target's core that other processes took during a run
    other_on_core: float = 0

    def run_generator(self, body: str, *options: str) -> GeneratorRun:
        """Run the generator once, and add up the answers and failures in this object."""
        command = [
            str(self.generator),
            "-p",
            str(self.target.port),
            "-H",
            f"Authorization: Bearer {self.target.key}",
        ]
        began = time.monotonic()
        cpu_before = self._cpu_seconds()
        busy_before = read_busy_seconds(self.core)
        output = subprocess.run(
            [*command, "-b", body, *options], capture_output=True, check=True, timeout=300
        ).stdout
        cpu = self._cpu_seconds() - cpu_before
        busy = read_busy_seconds(self.core) - busy_before
        report = json.loads(output)
        self.answered += report["ok"] + report["non200"] + report["short"]
        if failed := report["err"] + report["unfinished"]:
            self.failures.append(
                f"{failed} of {failed + report['ok']} requests failed: {report['errtxt']}"
            )
        elapsed = time.monotonic() - began
        if self.target.pid and elapsed > CLOCK_SECONDS:
            self.other_on_core = max(self.other_on_core, (busy - cpu) / elapsed)
        return GeneratorRun(report, cpu)

    def send_first_request(self) -> None:
        """Send a first request or a few.

        Raises BenchError when the target does not answer as it should.
        """
        self.run_generator(build_question(), "-c", "1", "-d", "0.01")
        if self.failures:
            raise BenchError(self.failures[0])

    def _cpu_seconds(self) -> float:
        return read_cpu_seconds(find_process_tree(self.target.pid))


def build_question(chunks: int = 0, interval_us: int = 0, max_tokens: int = 0) -> str:
    """Return a request body of everyday size.

    With `chunks` it asks for a stream of that many chunks, `interval_us` microseconds apart. With
    `max_tokens` it is a body of the Messages API.
    """
    words = f"bench c={chunks} i={interval_us}  and tell me about gateways"
    system = {"role": "system", "content": "You are a helpful assistant."}
    body: JsonObject = {"model": "bench", "messages": [{"role": "user", "content": words}]}
    if max_tokens:
        body |= {"system": system["content"], "max_tokens": max_tokens}
    else:
        body["messages"].insert(0, system)
    if chunks:
        body["stream"] = True
    return json.dumps(body)


def measure_closed_loop(load: LoadGenerator) -> Figures:
    """Measure 64 connections that each ask again as soon as they are answered with 1 KB."""
    load.run_generator(build_question(), "-c", str(CONNECTIONS), "-d", "1")
    run = load.run_generator(build_question(), "-c", str(CONNECTIONS), "-d", str(load.seconds))
    return {
        "requests_per_second": run.report["rps"],
        "cpu_us_per_request": run.cpu_us_per("ok"),
        "loaded_p50_ms": run.report["lat_p50_us"] / 1e3,
        "loaded_p99_ms": run.report["lat_p99_us"] / 1e3,
    }


def measure_open_loop(load: LoadGenerator) -> Figures:
    """Measure 100 requests per second on schedule, however long the answers take."""
    report = load.run_generator(
        build_question(), "-c", "16", "-r", "100", "-d", str(load.seconds)
    ).report
    return {"p50_ms": report["lat_p50_us"] / 1e3, "p99_ms": report["lat_p99_us"] / 1e3}


def measure_burst(load: LoadGenerator) -> Figures:
    """Measure 64 streams of 200 chunks, each chunk its own write, as fast as they are taken."""
    stream = build_question(chunks=200)
    options = ("-s", "-c", str(CONNECTIONS), "-n", "200")
    load.run_generator(stream, *options, "-d", "1")
    run = load.run_generator(stream, *options, "-d", str(load.seconds))
    return {
        "chunks_per_second": run.report["chunks_s"],
        "cpu_us_per_chunk": run.cpu_us_per("chunks"),
    }


def measure_messages_burst(load: LoadGenerator) -> Figures:
    """Measure the same streams as events of Anthropic's Messages API, over the same upstream."""
    stream = build_question(chunks=200, max_tokens=4_096)
    options = ("-u", "/v1/messages", "-s", "-c", str(CONNECTIONS), "-n", "200")
    load.run_generator(stream, *options, "-d", "1")
    run = load.run_generator(stream, *options, "-d", str(load.seconds))
    return {"cpu_us_per_message_chunk": run.cpu_us_per("chunks")}


def measure_paced_streams(load: LoadGenerator) -> Figures:
    """Measure 100 streams with a chunk every 20 ms, so that each chunk arrives alone."""
    run = load.run_generator(
        build_question(chunks=100, interval_us=20_000),
        "-s",
        "-c",
        "100",
        "-n",
        "100",
        "-1",
        "-R",
        "2",
    )
    return {
        "cpu_us_per_lone_chunk": run.cpu_us_per("chunks"),
        "chunk_delay_p50_ms": run.report["delay_p50_us"] / 1e3,
        "first_chunk_p50_ms": run.report["ttft_p50_us"] / 1e3 - 20,
    }


def measure_slow_streams(load: LoadGenerator) -> Figures:
    """Measure 1,000 streams at once, 50 chunks each, one every 100 ms; they begin within 4 s."""
    options = ("-s", "-c", str(SLOW_STREAMS), "-n", "50", "-1", "-R", "4", "-t", "60")
    with watch_peak_rss_mb(load.target.pid) as peak:
        report = load.run_generator(build_question(chunks=50, interval_us=100_000), *options).report
    return {
        "slow_errors": report["err"] + report["unfinished"],
        "slow_delay_p99_ms": report["delay_p99_us"] / 1e3,
        "slow_first_chunk_p99_ms": report["ttft_p99_us"] / 1e3 - 100,
        "slow_rss_mb": peak[0],
    }


PHASES: dict[str, Callable[[LoadGenerator], Figures]] = {
    "json": measure_closed_loop,
    "lat": measure_open_loop,
    "burst": measure_burst,
    "messages": measure_messages_burst,
    "paced": measure_paced_streams,
    "slow": measure_slow_streams,
}
