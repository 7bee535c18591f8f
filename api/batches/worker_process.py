"""Start the process that runs batches, from a worker's task.

A batch takes hours, and a worker that runs inside `serve` has one thread for all tasks, so the task
only starts a process: `manage.py run_batches`. It has a gateway of its own and runs until no batch
waits. It ends with its worker: it reads from a pipe that the worker holds, and a worker that dies
closes it. The next run of the task, here or on another machine, starts the next process.
"""

import subprocess
import sys
import threading

from django.conf import settings

from api.batches import batch_states
from api.batches.batch_runner import runs_beside_callers

COMMAND = "run_batches"
WORKER_OPTION = "--with-worker"  # end when standard input does
_lock = threading.Lock()
_process: "subprocess.Popen[bytes] | None" = None


def start_batch_process() -> bool:
    """Start the process if batches wait and this worker has none; return whether it did."""
    global _process
    if runs_beside_callers():
        return False
    with _lock:
        if _process is not None and _process.poll() is None:
            return False
        if not batch_states.has_claimable_batches():
            return False
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), COMMAND, WORKER_OPTION]
        # in a session of its own, because it ends by the pipe and not by a terminal's signals
        _process = subprocess.Popen(  # noqa: S603 - our own command line
            command, stdin=subprocess.PIPE, start_new_session=True
        )
        return True
