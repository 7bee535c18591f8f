"""The server uvicorn, with a sweep of its connections.

Once a second the sweep looks at all connections, so that no request pays for a timer. Running
answers finish at shutdown.
"""

import asyncio
import os
import socket
import time
from types import FrameType
from typing import Any

from uvicorn import Config, Server

from providers.fast_settings import settings
from proxysite.server.connections.caller_connection import CallerConnection

VIEWER_MESSAGE_BYTES = 1_024  # a viewer of the live board has nothing to say
SAME_SIGNAL_SECONDS = 0.5  # a signal to the process and to its group counts once


class GracefulServer(Server):
    """The server of uvicorn with the sweep; a second signal of either kind ends it at once."""

    supervisor_pid: int | None = None  # the process id of the supervisor; a worker ends with it
    _signalled_at = 0.0

    async def on_tick(self, counter: int) -> bool:
        if self.supervisor_pid is not None and os.getppid() != self.supervisor_pid:
            self.should_exit = True
        if counter % 10 == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, CallerConnection):
                    connection.close_if_stuck(now)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.should_exit and now - self._signalled_at < SAME_SIGNAL_SECONDS:
            return
        self._signalled_at = now
        if self.should_exit:
            self.force_exit = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.config.loaded_app.drain_gateway()
        await super().shutdown(sockets)
        self._captured_signals.clear()  # the server ended as requested: exit status 0


def make_uvicorn_config(**options: Any) -> Config:
    """Return the configuration of uvicorn for `application`."""
    return Config(
        "proxysite.asgi:application",
        http=CallerConnection,
        ws="none",  # `connections/upgrades.py` opens the one WebSocket there is
        ws_max_size=VIEWER_MESSAGE_BYTES,
        ws_per_message_deflate=False,
        loop="uvloop",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.KEEPALIVE_SECONDS,
        timeout_graceful_shutdown=settings.GRACE_SECONDS,
        backlog=4096,
        **options,
    )
