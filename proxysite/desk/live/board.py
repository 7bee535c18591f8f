"""The live board of one process: it runs while somebody watches, here or in another process.

Every FRAME_SECONDS it samples the requests of this process. With viewers in this process it also
merges the samples of other processes, reads the news of the database, and makes one frame for
all of its viewers. A viewer that is too slow for a frame misses it, and gets a snapshot instead of
the next one; nothing is queued for it.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from django.conf import settings

from api.relay.gateway import Gateway
from providers.protocol.json_types import JsonObject
from proxysite.desk.live.frames import NEWS, SNAPSHOT, encode_frame

logger = logging.getLogger(__name__)
LIVE_PATH = "/ws/live/"  # the one WebSocket of the gateway
BOARD_SCOPE_KEY = "proxysite.live_board"  # key of the ASGI scope for the board of this process
FRAME_SECONDS = 0.7  # at most two frames a second, and each event within a second
RESTART_SECONDS = 1.0
WATCH_SECONDS = 6.0  # a viewer that was announced counts for so long
FIRST_FRAME_SECONDS = 3.0


class BoardFull(Exception):
    """LIVE_VIEWERS people watch this process already."""


class Viewer:
    """One viewer: a place for one frame, and whether the viewer has missed one."""

    def __init__(self, with_pool: bool) -> None:
        self.with_pool = with_pool
        self.wants_snapshot = True
        self._frame: str | None = None
        self._arrival = asyncio.Event()

    @property
    def is_behind(self) -> bool:
        """Return whether a frame still waits to be sent."""
        return self._frame is not None

    def offer_frame(self, frame: str) -> None:
        """Put the next frame in the viewer's place."""
        self._frame = frame
        self.wants_snapshot = False
        self._arrival.set()

    async def wait_for_frame(self) -> str:
        """Return the next frame."""
        await self._arrival.wait()
        self._arrival.clear()
        frame = self._frame
        self._frame = None
        return frame or ""


class Frames:
    """The frames of one moment; each text is made when the first viewer needs it."""

    def __init__(self, frames: dict[str, JsonObject]) -> None:
        self._frames = frames
        self._texts: dict[tuple[str, bool], str] = {}

    def encode(self, kind: str, with_pool: bool) -> str:
        """Return the frame of this kind, SNAPSHOT or NEWS; `with_pool` for who may see tokens."""
        text = self._texts.get((kind, with_pool))
        if text is None:
            text = encode_frame(self._frames[kind], with_pool=with_pool)
            self._texts[kind, with_pool] = text
        return text


class LiveBoard:
    """The board of this process; `find_gateway` returns its gateway once it is opened."""

    def __init__(self, find_gateway: Callable[[], Gateway | None]) -> None:
        self._find_gateway = find_gateway
        self._viewers: set[Viewer] = set()
        self._watched_until = 0.0  # by viewers in other processes
        self._polled_until = 0.0  # by browsers without a WebSocket, in this process
        self._task: asyncio.Task[None] | None = None
        self._frames = Frames({})
        self._has_snapshot = asyncio.Event()

    @property
    def viewer_count(self) -> int:
        """Return how many viewers have a WebSocket in this process."""
        return len(self._viewers)

    @property
    def is_running(self) -> bool:
        """Return whether the board samples requests now."""
        return self._task is not None and not self._task.done()

    # --- viewers ----------------------------------------------------------------------------------
    def add_viewer(self, with_pool: bool) -> Viewer:
        """Add a viewer; `with_pool` if it may see tokens. Raises BoardFull."""
        if self.viewer_count >= settings.LIVE_VIEWERS:
            raise BoardFull
        viewer = Viewer(with_pool)
        self._viewers.add(viewer)
        self._start()
        return viewer

    def remove_viewer(self, viewer: Viewer) -> None:
        """Remove a viewer; the board ends a moment after the last one."""
        self._viewers.discard(viewer)

    def mark_watched(self) -> None:
        """Note that somebody watches in another process: this one publishes its samples."""
        self._watched_until = time.monotonic() + WATCH_SECONDS
        self._start()

    async def read_snapshot(self, with_pool: bool) -> str:
        """Return the board as it is, for a browser that polls. Raises TimeoutError."""
        self._polled_until = time.monotonic() + WATCH_SECONDS
        self._start()
        async with asyncio.timeout(FIRST_FRAME_SECONDS):
            await self._has_snapshot.wait()
        return self._frames.encode(SNAPSHOT, with_pool)

    async def close(self) -> None:
        """End the board with its process."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # --- the loop ---------------------------------------------------------------------------------
    def _start(self) -> None:
        """Start the loop unless it runs."""
        if not self.is_running:
            self._task = asyncio.create_task(self._run_while_watched())
            self._task.add_done_callback(self._handle_end)

    def _handle_end(self, task: "asyncio.Task[None]") -> None:
        """Log why the loop failed, and start it again for viewers that came at its end."""
        if task.cancelled():
            return
        if error := task.exception():
            logger.error("the live board failed and begins anew", exc_info=error)
            asyncio.get_running_loop().call_later(RESTART_SECONDS, self._start_if_watched)
        else:
            self._start_if_watched()

    def _start_if_watched(self) -> None:
        if self._is_watched and self._find_gateway() is not None:
            self._start()

    @property
    def _has_local_viewers(self) -> bool:
        return bool(self._viewers) or time.monotonic() < self._polled_until

    @property
    def _is_watched(self) -> bool:
        return self._has_local_viewers or time.monotonic() < self._watched_until

    async def _run_while_watched(self) -> None:
        from proxysite.desk.live.watch import Watch  # with the channel layer: for viewers only

        gateway = self._find_gateway()
        if gateway is None:  # it is about to end
            return
        watch = Watch(gateway)
        try:
            while self._is_watched:
                started_at = time.monotonic()
                await watch.take_sample()
                if self._has_local_viewers:
                    self._offer_frames(await watch.build_frames())
                else:
                    await watch.end_showing()
                await asyncio.sleep(max(0.0, started_at + FRAME_SECONDS - time.monotonic()))
        finally:
            self._has_snapshot.clear()
            self._frames = Frames({})
            await watch.close()

    def _offer_frames(self, frames: dict[str, JsonObject]) -> None:
        """Offer the frames of this moment to the viewers; who is behind gets a snapshot later."""
        self._frames = Frames(frames)
        self._has_snapshot.set()
        for viewer in self._viewers:
            if viewer.is_behind:
                viewer.wants_snapshot = True
            else:
                kind = SNAPSHOT if viewer.wants_snapshot else NEWS
                viewer.offer_frame(self._frames.encode(kind, viewer.with_pool))
