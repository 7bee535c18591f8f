"""The processes of a benchmark: start them on a core, read them from /proc, stop them.

`start_process(command, core, log)` returns a Popen that leads its own process group; `stop_process`
also ends the processes that it started. The readings take process ids and return seconds or
megabytes. Linux only.
"""

import os
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
STOP_SECONDS = 15


class BenchError(Exception):
    """A problem that the person at the terminal can solve; its text is the one line they see."""


def start_process(
    command: Sequence[str], core: int, log: Path, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `command` on `core`; its output is appended to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )


def stop_process(process: subprocess.Popen[bytes]) -> None:
    """End a process and its group: SIGTERM first, SIGKILL after `STOP_SECONDS`."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)


@contextmanager
def run_process(
    command: Sequence[str], core: int, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process with `start_process` during the block, and `stop_process` it at the end."""
    process = start_process(command, core, log, env)
    try:
        yield process
    finally:
        stop_process(process)


def wait_for_server(
    url: str, process: subprocess.Popen[bytes], log: Path, limit_seconds: float = 60
) -> None:
    """Wait until `url` answers 200.

    Raises BenchError with the end of `log` when the process ends or `limit_seconds` pass.
    """
    deadline = time.monotonic() + limit_seconds
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=1) as answer:
            if answer.status == 200:
                return
        time.sleep(0.01)
    tail = log.read_text(errors="replace")[-2000:]
    raise BenchError(f"{url} did not answer; the end of its log:\n{tail}")


def find_free_port() -> int:
    """Return a TCP port of the loopback address on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _read_stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def find_process_tree(pid: int) -> list[int]:
    """Return `pid` and all its descendants; an empty list for 0."""
    if not pid:
        return []
    children = defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _read_stat(int(entry))):
            children[int(fields[1])].append(int(entry))
    found = [pid]
    for parent in found:
        found.extend(children[parent])
    return found


def read_cpu_seconds(pids: Iterable[int]) -> float:
    """Return the user and system time so far, with ended threads and reaped children."""
    return sum(int(tick) for pid in pids for tick in _read_stat(pid)[11:15]) / TICKS_PER_SECOND


def read_busy_seconds(core: int) -> float:
    """Return how long `core` has been busy since boot, for all processes.

    Time stolen by the hypervisor is left out. Raises BenchError when there is no such core.
    """
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _idle, _wait, irq, softirq = (
                int(field) for field in line.split()[1:8]
            )
            return (user + nice + system + irq + softirq) / TICKS_PER_SECOND
    raise BenchError(f"/proc/stat does not list core {core}")


def read_rss_mb(pids: Iterable[int]) -> float:
    """Return the resident memory in megabytes; shared pages count once per process."""
    pages = 0
    for pid in pids:
        with suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * PAGE_BYTES / 1e6


@contextmanager
def watch_peak_rss_mb(pid: int) -> Iterator[list[float]]:
    """Watch the memory of `pid` and its descendants during the block.

    Yields a list with one item: the highest reading so far, in megabytes.
    """
    peak = [0.0]
    done = threading.Event()

    def watch_memory() -> None:
        while not done.wait(0.5):
            peak[0] = max(peak[0], read_rss_mb(find_process_tree(pid)))

    thread = threading.Thread(target=watch_memory, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
