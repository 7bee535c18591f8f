"""The processes of a benchmark: started on a given core, read from /proc, stopped with what they
started.

Shape: `start(command, core, log)` -> Popen, leader of its own group; the readings take process ids
and give seconds and megabytes. Linux only.
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
    """Something a person can put right; its text is the one line they see."""


def start(
    command: Sequence[str], core: int, log: Path, env: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `command` on `core`; what it prints is appended to `log`."""
    with log.open("ab") as output:
        return subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the process and its group: SIGTERM, and SIGKILL for what is left after `STOP_SECONDS`."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)


@contextmanager
def running(
    command: Sequence[str], core: int, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`start`, and `stop` at the end of the block."""
    process = start(command, core, log, env)
    try:
        yield process
    finally:
        stop(process)


def wait_for(
    url: str, process: subprocess.Popen[bytes], log: Path, limit_seconds: float = 60
) -> None:
    """Return as soon as `url` answers 200. BenchError, with the end of `log`, when it will not."""
    deadline = time.monotonic() + limit_seconds
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=1) as answer:
            if answer.status == 200:
                return
        time.sleep(0.01)
    tail = log.read_text(errors="replace")[-2000:]
    raise BenchError(f"{url} did not answer; the end of its log:\n{tail}")


def free_port() -> int:
    """A TCP port of the loopback address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on; empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError:
        return []


def tree(pid: int) -> list[int]:
    """`pid` and all its descendants; nothing for 0."""
    if not pid:
        return []
    children = defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            children[int(fields[1])].append(int(entry))
    found = [pid]
    for parent in found:
        found.extend(children[parent])
    return found


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time so far, ended threads and reaped children included."""
    return sum(int(tick) for pid in pids for tick in _stat(pid)[11:15]) / TICKS_PER_SECOND


def busy_seconds(core: int) -> float:
    """How long `core` has been busy since boot, for whomever; time stolen by the hypervisor is left
    out.
    """
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _idle, _wait, irq, softirq = (
                int(field) for field in line.split()[1:8]
            )
            return (user + nice + system + irq + softirq) / TICKS_PER_SECOND
    raise BenchError(f"/proc/stat does not list core {core}")


def rss_mb(pids: Iterable[int]) -> float:
    """Resident memory, shared pages counted once per process."""
    pages = 0
    for pid in pids:
        with suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * PAGE_BYTES / 1e6


@contextmanager
def peak_rss_mb(pid: int) -> Iterator[list[float]]:
    """Watch the tree of `pid` during the block; the one item of the list is the highest reading so
    far.
    """
    peak = [0.0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.5):
            peak[0] = max(peak[0], rss_mb(tree(pid)))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
