"""The connection of a client of OpenAI's WebSocket mode (`api/views/responses/socket/`).

It is loaded by the first client.
"""

import logging
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.server import ServerProtocol

from api.views.responses.socket.response_socket import SEND_TEXTS
from providers.fast_settings import settings


class TurnConnection(WebSocketsSansIOProtocol):
    """The WebSocket protocol of uvicorn, with a limit of its own for messages.

    It writes many texts at once (SEND_TEXTS), takes a message as the bytes that came, and lets
    running turns end when the server shuts down. A client that stopped reading is dropped.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn = ServerProtocol(
            max_size=settings.RESPONSE_SOCKET_MESSAGE_BYTES,
            logger=logging.getLogger("uvicorn.error"),
        )

    async def run_asgi(self) -> None:
        self.scope["extensions"][SEND_TEXTS] = {}  # type: ignore[typeddict-unknown-key]
        await super().run_asgi()

    async def send(self, message: Any) -> None:
        if message["type"] != SEND_TEXTS:
            await super().send(message)
            return
        await self.writable.wait()
        if self.disconnected or self.close_sent:
            raise ClientDisconnected
        for text in message["texts"]:
            self.conn.send_text(text)
        self.transport.write(b"".join(self.conn.data_to_send()))

    def shutdown(self) -> None:
        """Leave the end to the application, which has been told that the server shuts down."""
        self.stop_keepalive()
        if not self.handshake_complete or self.close_sent:
            super().shutdown()

    def keepalive_timeout(self) -> None:
        self.transport.abort()
