"""Several server processes that share one listening socket.

They are started and watched, replaced when one ends, and ended together.
"""

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from types import FrameType

from django.conf import settings

logger = logging.getLogger(__name__)

SHORT_LIFE_SECONDS = 5.0  # a worker that ends sooner is started again only after a pause
PAUSE_SECONDS = 1.0
LEAVE_SECONDS = 5.0  # beyond GRACE_SECONDS; then the workers are killed


class Supervisor:
    """The parent process; it serves no request itself."""

    def __init__(self, listener: socket.socket, workers: int) -> None:
        # A worker gets the id of its parent: it could not find out that the parent died while the
        # worker was starting.
        options = ["--listening-on", str(listener.fileno()), "--parent", str(os.getpid())]
        self._command = [sys.executable, sys.argv[0], "serve", *options]
        self._listener_fd = listener.fileno()
        self._worker_count = workers
        self._workers: dict[int, tuple[subprocess.Popen[bytes], float]] = {}
        self._signal_count = 0

    def run_workers(self) -> None:
        """Keep the workers running until a signal ends them; a second signal kills them."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._count_signal)
        while not self._signal_count:
            for _ in range(self._worker_count - len(self._workers)):
                self._start_worker()
            self._remove_ended_workers()
            time.sleep(0.1)
        self._end_workers()

    def _start_worker(self) -> None:
        # A session of its own: a signal that the terminal sends to the group reaches the worker
        # only through `_end_workers`.
        process = subprocess.Popen(  # noqa: S603 - our own command line
            self._command, pass_fds=[self._listener_fd], start_new_session=True
        )
        self._workers[process.pid] = process, time.monotonic()

    def _remove_ended_workers(self) -> None:
        """Remove workers that have ended; after a short life it pauses before the next start."""
        for pid, (process, started_at) in list(self._workers.items()):
            if process.poll() is None:
                continue
            del self._workers[pid]
            logger.error(
                "worker %d ended with status %s; another is started", pid, process.returncode
            )
            if time.monotonic() - started_at < SHORT_LIFE_SECONDS:
                time.sleep(PAUSE_SECONDS)

    def _count_signal(self, number: int, frame: FrameType | None) -> None:
        self._signal_count += 1

    def _end_workers(self) -> None:
        """Let the workers finish their answers within the grace time, then kill them."""
        for process, _ in self._workers.values():
            process.terminate()
        deadline = time.monotonic() + settings.GRACE_SECONDS + LEAVE_SECONDS
        while any(process.poll() is None for process, _ in self._workers.values()):
            if self._signal_count > 1 or time.monotonic() > deadline:
                for process, _ in self._workers.values():
                    process.kill()
            time.sleep(0.05)
