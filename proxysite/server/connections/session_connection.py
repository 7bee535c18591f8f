"""The connection of a caller with a realtime session. It is loaded by the first one."""

from copy import copy
from typing import Any

from uvicorn import Config

from providers.fast_settings import settings
from proxysite.server.connections.viewer_connection import ViewerConnection


class SessionConnection(ViewerConnection):
    """A WebSocket whose messages may be as large as a body; one waits at a time."""

    def __init__(self, config: Config, *state: Any) -> None:
        larger = copy(config)
        larger.ws_max_size = settings.BODY_LIMIT_BYTES
        super().__init__(larger, *state)

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # it was refused; uvicorn would call that a fault
