"""The connection of a viewer of the live board: a WebSocket that only sends.

It is loaded by the first viewer.
"""

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


class ViewerConnection(WebSocketsSansIOProtocol):
    """The WebSocket protocol of uvicorn; a viewer that stopped reading is dropped.

    uvicorn would wait for ever until the rest of its buffer is sent.
    """

    def keepalive_timeout(self) -> None:
        self.transport.abort()
