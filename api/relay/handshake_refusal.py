"""Refuse the handshake of a WebSocket with an HTTP answer that has an error object."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from api import exceptions
from api.streaming.stream_answer import encode_headers
from providers.exceptions import GatewayError

HTTP_ANSWER = "websocket.http.response"  # an extension of ASGI


async def refuse_handshake(
    error: GatewayError,
    request_id: str,
    scope: Mapping[str, Any],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer a handshake with an error; a server without such answers sends a 403."""
    if HTTP_ANSWER not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close"})
        return
    answer = exceptions.render_error(error, request_id)
    start = {"status": answer.status_code, "headers": encode_headers(answer)}
    await send({"type": f"{HTTP_ANSWER}.start", **start})
    await send({"type": f"{HTTP_ANSWER}.body", "body": answer.content})
