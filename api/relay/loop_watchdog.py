"""The watchdog: it notices when code blocks the event loop.

A task of the loop notes again and again that it is alive, and a thread reads that note. When the
note is too old, the thread logs the stack of the loop's thread. Requests do no work for it.
"""

import asyncio
import logging
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field

from django.conf import settings

logger = logging.getLogger(__name__)
BEATS_PER_LIMIT = 4  # number of beats in the time after which the loop counts as blocked
LOGGED_FRAMES = 25  # innermost stack frames that are logged


@dataclass(slots=True)
class Stalls:
    """How often this process's loop was blocked, and for how many seconds in total and at most."""

    count: int = 0
    seconds: float = 0.0
    longest_seconds: float = 0.0

    def add_stall(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds
        self.longest_seconds = max(self.longest_seconds, seconds)


stalls = Stalls()


@dataclass(slots=True)
class Watchdog:
    """The watchdog of one loop, which counts as blocked after more than `limit_seconds`."""

    limit_seconds: float
    beat_at: float = 0.0
    cpu_seconds: float = 0.0  # processor time of the process at the last look
    looked_at: float = 0.0
    stop_event: threading.Event = field(default_factory=threading.Event)

    @property
    def pause_seconds(self) -> float:
        """Return the seconds between two beats, and between two looks."""
        return self.limit_seconds / BEATS_PER_LIMIT

    async def beat_until_cancelled(self) -> None:
        """Start the watching thread and note that the loop is alive, until cancelled."""
        self.beat_at = self.looked_at = time.monotonic()
        thread = threading.Thread(
            target=self.watch_beats, args=(threading.get_ident(),), name="watchdog", daemon=True
        )
        thread.start()
        try:
            while True:
                self.beat_at = time.monotonic()
                await asyncio.sleep(self.pause_seconds)
        finally:
            self.stop_event.set()

    def watch_beats(self, thread_id: int) -> None:
        """Look at the last beat again and again; this runs in a thread of its own."""
        stopped_at = 0.0  # the last beat before a logged block
        while not self.stop_event.wait(self.pause_seconds):
            now = time.monotonic()
            beat_at = self.beat_at
            if stopped_at and beat_at != stopped_at:
                self.record_stall_end(beat_at - stopped_at - self.pause_seconds)
                stopped_at = 0.0
            was_running = self.check_process_ran(now)
            if (
                not stopped_at
                and now - beat_at - self.pause_seconds > self.limit_seconds
                and was_running
            ):
                stopped_at = beat_at
                self.log_stall_start(thread_id, now - beat_at - self.pause_seconds)

    def check_process_ran(self, now: float) -> bool:
        """Return whether the process ran since the last look.

        A suspended process is late too, but has used no processor time.
        """
        cpu_seconds = time.process_time()
        late = now - self.looked_at > 3 * self.pause_seconds
        worked = cpu_seconds - self.cpu_seconds > (now - self.looked_at) / 10
        self.looked_at = now
        self.cpu_seconds = cpu_seconds
        return worked or not late

    def log_stall_start(self, thread_id: int, seconds: float) -> None:
        frame = sys._current_frames().get(thread_id)
        stack = (
            "".join(traceback.format_stack(frame)[-LOGGED_FRAMES:])
            if frame
            else "(the thread is gone)\n"
        )
        logger.warning(
            "the event loop has been stopped for %.2f seconds; it is at:\n%s",
            seconds,
            stack.rstrip(),
        )

    def record_stall_end(self, seconds: float) -> None:
        stalls.add_stall(seconds)
        logger.warning("the event loop goes on after %.2f seconds", seconds)


async def watch_until_cancelled() -> None:
    """Watch the running loop until cancelled; LOOP_STALL_SECONDS of 0 switches the watchdog off."""
    if settings.LOOP_STALL_SECONDS > 0:
        await Watchdog(settings.LOOP_STALL_SECONDS).beat_until_cancelled()
    else:
        await asyncio.Event().wait()
