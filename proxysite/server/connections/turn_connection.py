"""The connection of a client of OpenAI's WebSocket mode (`api/views/responses/socket/`).

It is loaded by the first client.
"""

import logging
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.server import ServerProtocol

from api.views.responses.socket.response_socket import SEND_TEXTS
from providers.exceptions import GatewayError
from providers.fast_settings import settings
from proxysite.server.body_budget import COUNTED_BYTES, BodyShare

CLOSE_TRY_AGAIN = 1013
HANDSHAKE_REFUSED = "websocket.http.response.body"


class TurnConnection(WebSocketsSansIOProtocol):
    """The WebSocket protocol of uvicorn, with a limit of its own for messages.

    It writes many texts at once (SEND_TEXTS), gives a message to the application as the bytes that
    came, and lets running turns end when the server shuts down. A client that stopped reading is
    dropped. `share` counts the bytes of a large message that has come in part.
    """

    share: BodyShare | None = None

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.conn = ServerProtocol(
            max_size=settings.RESPONSE_SOCKET_MESSAGE_BYTES,
            logger=logging.getLogger("uvicorn.error"),
        )

    async def run_asgi(self) -> None:
        self.scope["extensions"][SEND_TEXTS] = {}
        await super().run_asgi()

    def data_received(self, data: bytes) -> None:
        """Read bytes, and count those of a message that has come in part."""
        super().data_received(data)
        arrived_bytes = len(self.conn.reader.buffer) + sum(map(len, self.frames))
        if arrived_bytes > COUNTED_BYTES:
            self.count_arrived(arrived_bytes)
        elif self.share is not None:
            self.release_share()

    def count_arrived(self, arrived_bytes: int) -> None:
        """Count the bytes of a message that has come in part; without room for them, give up."""
        if self.share is None:
            owner = self.scope["extensions"][SEND_TEXTS].get("owner", "WebSockets")
            self.share = self.app.lean_handler.budget.open_share(owner)
        try:
            self.share.reserve_memory(arrived_bytes - self.share.memory_bytes)
        except GatewayError as error:
            self.release_share()
            self.conn.fail(CLOSE_TRY_AGAIN, error.message)
            self.handle_parser_exception()

    def release_share(self) -> None:
        """Give the bytes of the message in part back to the budget."""
        if self.share is not None:
            self.share.release_bytes()
            self.share = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.release_share()
        super().connection_lost(exc)

    def send_receive_event_to_app(self) -> None:
        """Give a whole message to the application as bytes, and pause reading until it is read."""
        data = self.frames[0] if len(self.frames) == 1 else b"".join(self.frames)
        self.frames = []
        if self.close_sent:  # reads go on for the answer to the close
            return
        self.queue.put_nowait({"type": "websocket.receive", "bytes": data})
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    async def send(self, message: Any) -> None:
        """Send a message of the application. Raises ClientDisconnected."""
        if message["type"] != SEND_TEXTS:
            await super().send(message)
            if message["type"] == HANDSHAKE_REFUSED:
                self.handshake_complete = True  # else uvicorn takes it for an unanswered one
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
