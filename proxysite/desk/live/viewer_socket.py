"""The WebSocket of one viewer of the live board.

The handshake is refused (403) without a session that may watch, or from a page of another site.
While it is open, the session is looked up again every LIVE_RECHECK_SECONDS.
"""

import asyncio
import logging
import time

from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from providers.exceptions import GatewayError
from proxysite.desk.live.board import BOARD_SCOPE_KEY, BoardFull, LiveBoard, Viewer
from proxysite.desk.live.viewer_access import Access, find_access, is_same_origin
from proxysite.server.lean_handler import Send
from proxysite.server.request_bodies import Receive, Scope

logger = logging.getLogger(__name__)
# codes with which the gateway closes: the page polls after FULL and gives up after FORBIDDEN
CLOSED_FORBIDDEN = 4403
CLOSED_FULL = 4429
CLOSED_TALKATIVE = 1008  # a viewer has nothing to say


def log_failure(task: "asyncio.Task[None]") -> None:
    """Log why the sending of frames failed; the page then hears nothing and connects again."""
    if not task.cancelled() and (error := task.exception()):
        logger.error("a viewer of the live board gets no more frames", exc_info=error)


class LiveSocket(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One viewer. Frames come from the board of this process, so it has no channel of its own."""

    channel_layer_alias = None
    viewer: Viewer | None = None
    _sending: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._leave_board()

    @property
    def _board(self) -> LiveBoard:
        board: LiveBoard = self.scope[BOARD_SCOPE_KEY]
        return board

    async def connect(self) -> None:
        """Accept a viewer who may watch; a viewer too many is told so and closed."""
        access = await self._find_access() if is_same_origin(self.scope) else None
        if access is None:
            await self.close()
            return
        await self.accept()
        try:
            self.viewer = self._board.add_viewer(access.with_pool)
        except BoardFull:
            await self.close(CLOSED_FULL)
            return
        self._sending = asyncio.create_task(self._send_frames(self.viewer, access))
        self._sending.add_done_callback(log_failure)

    async def _find_access(self) -> Access | None:
        """Return the viewer's access; None without any, or while the database is away."""
        try:
            return await find_access(self.scope)
        except GatewayError:
            return None

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Close the connection of a viewer who sends anything."""
        self._leave_board()
        await self.close(CLOSED_TALKATIVE)

    async def disconnect(self, code: int) -> None:
        """Leave the board."""
        self._leave_board()

    def _leave_board(self) -> None:
        if self.viewer is not None:
            self._board.remove_viewer(self.viewer)
            self.viewer = None
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    async def _send_frames(self, viewer: Viewer, access: Access) -> None:
        """Send frames until the viewer leaves or may not watch any more."""
        checked_at = time.monotonic()
        while True:
            frame = await viewer.wait_for_frame()
            if time.monotonic() - checked_at >= settings.LIVE_RECHECK_SECONDS:
                if not await self._may_still_watch(access):
                    await self.close(CLOSED_FORBIDDEN)
                    return
                checked_at = time.monotonic()
            try:
                await self.send(text_data=frame)
            except OSError:  # the viewer has left; `disconnect` follows
                return

    async def _may_still_watch(self, access: Access) -> bool:
        """Return whether the session still may see the same; a database that is away says yes."""
        try:
            return await find_access(self.scope) == access
        except GatewayError:
            return True
