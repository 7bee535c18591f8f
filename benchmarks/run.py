"""Run all phases against all targets in turns, print one table, and check the ledger.

Started by `make bench`. The exit status is 1 when a request failed, or when the ledger's rows are
not exactly the requests that were answered.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.phases import PHASES, Figures, LoadGenerator
from benchmarks.processes import (
    BenchError,
    find_free_port,
    find_process_tree,
    read_rss_mb,
    run_process,
    wait_for_server,
)
from benchmarks.report import compute_medians, render_table
from benchmarks.targets import Direct, Nginx, Proxysite, Subject, Workplace, find_nginx

HERE = Path(__file__).resolve().parent
OTHERS_LIMIT = 0.1  # share of the target's core; above it the figures are not to be trusted
MANY_ROWS = 100_000
OWN_PHASES = ("messages",)  # the upstream does not speak it, so only the gateway can be asked
# beginnings of figures that the direct path lacks, because it has no process
PROCESS_FIGURES = (
    "cpu_us",
    "slow_rss",
)


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench ARGS=…", description=__doc__)
    add = parser.add_argument
    add("--only", default=",".join(PHASES), help="phases, of: %(default)s")
    add(
        "--targets",
        default="direct,nginx,proxysite",
        help="what is measured, of: %(default)s,priced,limited,watched",
    )
    add(
        "--seconds",
        type=float,
        default=3,
        help="length of the json, lat and burst phases (%(default)s)",
    )
    add("--rounds", type=int, default=3, help="how often the targets take turns (%(default)s)")
    add("--tokens", type=int, default=10, help="upstream tokens in the pool (%(default)s)")
    add("--keys", type=int, default=1, help="API keys in the database; one is used (%(default)s)")
    add(
        "--database",
        default="",
        metavar="URL",
        help="a Postgres server for the ledger instead of SQLite",
    )
    add(
        "--scale",
        action="store_true",
        help=f"only: cost per request with 10 and {MANY_ROWS:,} tokens and keys",
    )
    add(
        "--log",
        action="store_true",
        help="only: recall, turns and search over a million stored items",
    )
    add("--attacks", action="store_true", help="only: hostile requests beside ordinary ones")
    add(
        "--half-dead", action="store_true", help="only: a pool of mostly dead tokens, and an outage"
    )
    add(
        "--board-viewer",
        action="store_true",
        help="only: the CPU that one viewer of the live board costs",
    )
    add("--json", type=Path, metavar="FILE", help="write all figures of all rounds there")
    chosen = parser.parse_args(arguments)
    chosen.only = ["json"] if chosen.scale else chosen.only.split(",")
    if unknown := set(chosen.only) - set(PHASES):
        parser.error(f"no such phase: {', '.join(sorted(unknown))}")
    return chosen


def choose_subjects(arguments: argparse.Namespace, place: Workplace) -> list[Subject]:
    """Return the targets of the run, in the order of the table's rows."""
    if arguments.scale:
        counts = ((10, 10), (MANY_ROWS, 10), (10, MANY_ROWS))
        return [
            Proxysite(place, f"{tokens:,} tokens, {keys:,} keys", tokens, keys, arguments.database)
            for tokens, keys in counts
        ]
    store = "Postgres" if arguments.database else "SQLite"
    known: dict[str, Subject] = {
        "direct": Direct(place),
        "nginx": Nginx(place),
        "proxysite": Proxysite(
            place, f"proxysite, {store}", arguments.tokens, arguments.keys, arguments.database
        ),
        "priced": Proxysite(
            place,
            f"proxysite, {store}, with a price",
            arguments.tokens,
            arguments.keys,
            arguments.database,
            has_price=True,
        ),
        "limited": Proxysite(
            place,
            f"proxysite, {store}, with a price and all limits",
            arguments.tokens,
            arguments.keys,
            arguments.database,
            has_price=True,
            has_limits=True,
        ),
        "watched": Proxysite(
            place,
            f"proxysite, {store}, live board watched",
            arguments.tokens,
            arguments.keys,
            arguments.database,
            is_watched=True,
        ),
    }
    wanted = arguments.targets.split(",")
    if "nginx" in wanted and not find_nginx():
        print_progress("nginx is not installed (Debian: nginx-light); its row is left out")
        del known["nginx"]
    return [subject for name, subject in known.items() if name in wanted]


@contextmanager
def prepare_workplace() -> Iterator[Workplace]:
    """Make a directory, compile the tools and run the fake upstream during the block.

    The upstream shares its core with the load generator and this process. Raises BenchError when
    there is only one core, or gcc is missing.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise BenchError("two cores are needed: one for the gateway, one for the load")
    os.sched_setaffinity(0, {cores[1]})
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 16_384)), hard))
    with tempfile.TemporaryDirectory(prefix="proxysite-bench-") as name:
        directory = Path(name)
        generator, upstream = (compile_tool(tool, directory) for tool in ("gen", "upstream"))
        port = find_free_port()
        log = directory / "upstream.log"
        with run_process([str(upstream), str(port)], cores[1], log) as process:
            wait_for_server(f"http://127.0.0.1:{port}/stats", process, log)
            yield Workplace(directory, cores[0], port, generator)


def compile_tool(tool: str, directory: Path) -> Path:
    """Compile `tool`.c into `directory` and return the program. Raises BenchError."""
    try:
        subprocess.run(["gcc", "-O2", "-o", directory / tool, HERE / f"{tool}.c"], check=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise BenchError(f"gcc is needed, and could not compile {tool}.c: {error}") from error
    return directory / tool


@dataclass(slots=True)
class BenchmarkOutcome:
    """The results so far."""

    rounds: list[dict[str, Figures]] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)

    def add_results(self, subject: Subject, figures: Figures, load: LoadGenerator) -> None:
        """Add one target's results of one round; warn when other processes used its core."""
        self.rounds[-1][subject.name] = figures
        self.answered[subject.name] += load.answered
        self.complaints += [f"{subject.name}: {failure}" for failure in load.failures]
        if load.other_on_core > OTHERS_LIMIT:
            print_progress(
                f"warning: others took {load.other_on_core:.0%} of its core; run again on a "
                "quiet machine"
            )

    def audit_ledger(self, gateway: Proxysite) -> None:
        """Compare the ledger with the load: one row per answer, none missing and none twice."""
        written = gateway.count_usage_rows()
        expected = self.answered[gateway.name]
        print(f"\nLedger of {gateway.name}: {written:,} rows for {expected:,} requests answered.")
        if written != expected:
            self.complaints.append(f"{gateway.name}: the ledger differs from what was answered")


def measure_subject(
    subject: Subject, place: Workplace, arguments: argparse.Namespace
) -> tuple[Figures, LoadGenerator]:
    """Start one target, run all chosen phases against it, and stop it."""
    with subject.run_target() as target:
        load = LoadGenerator(place.generator, target, place.core, arguments.seconds)
        figures = Figures()
        load.send_first_request()
        if target.pid:
            time.sleep(target.settle_seconds)
            figures |= {
                "cold_seconds": target.cold_seconds,
                "idle_rss_mb": read_rss_mb(find_process_tree(target.pid)),
            }
        for phase in arguments.only:
            if phase not in OWN_PHASES or isinstance(subject, Proxysite):
                figures |= PHASES[phase](load)
    hidden = () if target.pid else PROCESS_FIGURES
    return {name: figure for name, figure in figures.items() if not name.startswith(hidden)}, load


def run_benchmark(arguments: argparse.Namespace) -> bool:
    """Run, print and check; return whether everything was answered and accounted for."""
    outcome = BenchmarkOutcome()
    with ExitStack() as stack:
        place = stack.enter_context(prepare_workplace())
        compared = choose_subjects(arguments, place)
        gateways = [subject for subject in compared if isinstance(subject, Proxysite)]
        for gateway in gateways:
            stack.enter_context(gateway.prepare_gateway())
        for number in range(arguments.rounds):
            outcome.rounds.append({})
            for subject in compared:
                print_progress(f"round {number + 1} of {arguments.rounds}: {subject.name}")
                outcome.add_results(subject, *measure_subject(subject, place, arguments))
        print(render_table(compute_medians(outcome.rounds)))
        for gateway in gateways:
            outcome.audit_ledger(gateway)
    if arguments.json:
        figures = {"rounds": outcome.rounds, "medians": compute_medians(outcome.rounds)}
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    for complaint in outcome.complaints:
        print_progress(f"FAILED {complaint}")
    return not outcome.complaints


def print_progress(line: str) -> None:
    """Print progress and warnings to standard error, apart from the table."""
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    os.chdir(HERE.parent)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that started processes are stopped
    chosen = parse_options()
    others = {
        "log": chosen.log,
        "attacks": chosen.attacks,
        "half_dead": chosen.half_dead,
        "board_viewer": chosen.board_viewer,
    }
    if module := next((name for name, is_chosen in others.items() if is_chosen), ""):
        server = ["--database", chosen.database] if chosen.database else []
        os.execv(sys.executable, [sys.executable, "-m", f"benchmarks.{module}", *server])
    try:
        return 0 if run_benchmark(chosen) else 1
    except BenchError as error:
        print_progress(f"bench: {error}")
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
