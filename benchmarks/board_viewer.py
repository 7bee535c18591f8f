"""Measure how much CPU one viewer of the live board costs the gateway, per request.

    make bench ARGS=--board-viewer

One gateway answers requests all the time. A viewer comes and goes: of each pair of slices one is
watched and the other is not, so that a machine that becomes slower or faster changes both. Prints
the mean of the pairs' ratios with its standard error. Nothing else should run meanwhile.
"""

import os
import statistics
import sys
import time

from benchmarks.phases import LoadGenerator, build_question
from benchmarks.processes import BenchError, read_rss_mb
from benchmarks.run import prepare_workplace, print_progress
from benchmarks.targets import Proxysite

PAIRS = 40
SLICE_SECONDS = 2.0
CONNECTIONS = "64"
MOST_EXTRA = 0.02  # of a request's CPU; the bound of one viewer


def measure_slice(load: LoadGenerator) -> float:
    """Return the gateway's CPU per request in microseconds, over one slice."""
    run = load.run_generator(build_question(), "-c", CONNECTIONS, "-d", str(SLICE_SECONDS))
    return run.cpu_us_per("ok")


def measure_pairs() -> list[tuple[float, float]]:
    """Return the CPU per request without and with a viewer, of each pair. Raises BenchError."""
    pairs = []
    with prepare_workplace() as place:
        gateway = Proxysite(place, is_watched=False)
        with gateway.prepare_gateway(), gateway.run_target() as target:
            load = LoadGenerator(place.generator, target, place.core, SLICE_SECONDS)
            load.send_first_request()
            time.sleep(target.settle_seconds)
            measure_slice(load)
            for number in range(PAIRS):
                # each second pair is watched first, so that a drift does not count as a cost
                slices = {}
                for is_watched in (bool(number % 2), not number % 2):
                    slices[is_watched] = measure_watched_slice(gateway, load, is_watched)
                pairs.append((slices[False], slices[True]))
                print_progress(
                    f"pair {number + 1} of {PAIRS}: {slices[False]:.0f} and {slices[True]:.0f} µs"
                )
            print_progress(f"RSS {read_rss_mb([target.pid]):.0f} MB")
            if load.failures:
                raise BenchError(load.failures[0])
    return pairs


def measure_watched_slice(gateway: Proxysite, load: LoadGenerator, is_watched: bool) -> float:
    """Return the CPU per request of one slice, with a viewer or without one."""
    if not is_watched:
        time.sleep(1)  # until the board of the last viewer has ended
        return measure_slice(load)
    with gateway.watch_board(load.target.port):
        time.sleep(1)
        return measure_slice(load)


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxysite.settings")
    try:
        pairs = measure_pairs()
    except BenchError as error:
        print_progress(f"bench: {error}")
        return 1
    ratios = [watched / alone - 1 for alone, watched in pairs]
    mean = statistics.mean(ratios)
    deviation = statistics.stdev(ratios) / len(ratios) ** 0.5
    print(
        f"CPU per request: {statistics.median(alone for alone, _ in pairs):.0f} µs; one viewer of "
        f"the live board adds {mean:+.1%} (standard error {deviation:.1%}, {len(pairs)} pairs)"
    )
    return 0 if mean - 2 * deviation <= MOST_EXTRA else 1


if __name__ == "__main__":
    sys.exit(main())
