"""The handshake of a WebSocket on /v1/responses: its key is checked before it is accepted.

A refusal is an HTTP answer with an error object.
"""

from functools import partial
from typing import Any, Protocol

from api.authentication import Caller
from api.relay.gateway import Gateway
from api.relay.handshake_refusal import refuse_handshake
from api.relay.lean_request import new_request_id
from api.views.responses.socket.response_socket import (
    SEND_TEXTS,
    MemoryShare,
    Receive,
    ResponseSocket,
    Send,
)
from api.views.responses.socket.socket_turn import SocketRequest, build_socket_request
from providers.exceptions import GatewayError, ShuttingDown, UpgradeRequired
from providers.fast_settings import settings

NOT_SERVED = "There is no WebSocket at this address: send plain HTTP requests."


class MemoryBudget(Protocol):
    """The memory that bodies of requests take in this process."""

    def open_share(self, owner: int | str, /) -> MemoryShare: ...


async def serve_response_socket(
    scope: dict[str, Any],
    receive: Receive,
    send: Send,
    gateway: Gateway | None,
    budget: MemoryBudget,
) -> None:
    """Serve one WebSocket: check its key, accept it, and answer its events until it ends.

    `gateway` is None while the process begins or ends.
    """
    await receive()  # the wish to connect
    extensions = scope.get("extensions") or {}
    request_id = new_request_id()
    try:
        if gateway is None or gateway.is_draining:
            raise ShuttingDown("The server is not ready.", retry_after_seconds=1)
        request = build_socket_request(scope, gateway)
        request_id = request.request_id
        caller = await authenticate_handshake(request)
        owner = caller.key_id or "callers without an API key"
        if SEND_TEXTS in extensions:
            extensions[SEND_TEXTS]["owner"] = owner
        open_share = partial(budget.open_share, owner)
        socket = ResponseSocket(request, send, open_share, sends_many=SEND_TEXTS in extensions)
        with gateway.response_sockets.hold_place(caller.key_id, socket.begin_drain):
            await send({"type": "websocket.accept", "headers": list_accept_headers(request_id)})
            await socket.serve(receive)
    except GatewayError as error:
        await refuse_handshake(error, request_id, scope, send)


async def authenticate_handshake(request: SocketRequest) -> Caller:
    """Return the caller whose key the handshake carries.

    Raises UpgradeRequired where WebSockets are switched off, and what `authenticate` raises.
    """
    if not settings.RESPONSE_SOCKETS:
        raise UpgradeRequired(NOT_SERVED)
    try:
        return await request.authenticate()
    finally:
        request.release_resources()


def list_accept_headers(request_id: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of an accepted handshake."""
    return [(b"x-request-id", request_id.encode("ascii")), (b"openai-version", b"2020-10-01")]
