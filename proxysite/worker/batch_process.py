"""The process that runs batches beside a worker: a gateway without a server.

One of them runs for each home. It has a low priority at the processor, and ends when no batch has
waited for IDLE_SECONDS, when its worker ends, or at a signal.
"""

import asyncio
import fcntl
import os
import signal
import sys
import threading

from django.conf import settings

from api.relay.gateway import Gateway, repeat_forever
from proxysite.server.change_watcher import ChangeWatcher
from proxysite.server.garbage_collector import freeze_garbage_collector

IDLE_SECONDS = 20.0
NICENESS = 10  # so much lower than that of the processes with callers
LOCK_NAME = "batches.lock"


def run_batch_process(*, ends_with_stdin: bool) -> bool:
    """Run batches until none waits; return False when another process of this home does it."""
    # the lock is held as long as the process lives
    lock = open(settings.HOME.make_path(LOCK_NAME), "w")  # noqa: SIM115
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return False
    os.nice(NICENESS)
    asyncio.run(run_gateway(ends_with_stdin=ends_with_stdin))
    return True


async def run_gateway(*, ends_with_stdin: bool) -> None:
    """Open a gateway, run the batches that wait, and close it.

    Raises DatabaseError when the database is away at the start.
    """
    gateway = Gateway.from_settings()
    watcher = ChangeWatcher(gateway)
    await watcher.read_all()
    await gateway.start_housekeeping()
    freeze_garbage_collector()
    watch_task = asyncio.create_task(repeat_forever(watcher.watch_changes))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, gateway.begin_shutdown)
    if ends_with_stdin:
        threading.Thread(target=watch_stdin, args=(loop, gateway), daemon=True).start()
    try:
        await gateway.batches.run_until_idle(gateway, IDLE_SECONDS)
    finally:
        watch_task.cancel()
        await asyncio.gather(watch_task, return_exceptions=True)
        await gateway.finish_shutdown()


def watch_stdin(loop: asyncio.AbstractEventLoop, gateway: Gateway) -> None:
    """Wait for the end of standard input, and begin to shut the gateway down; for a thread."""
    while os.read(sys.stdin.fileno(), 1_024):
        pass
    loop.call_soon_threadsafe(gateway.begin_shutdown)
