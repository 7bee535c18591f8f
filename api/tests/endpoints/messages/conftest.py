"""Callers of the Messages API."""

from typing import Any

from api.tests.messages.message_events import build_streamed_message, read_events
from providers.protocol.json_types import JsonObject
from proxysite.testing.gateway import HELLO, RunningGateway
from proxysite.testing.gateway_answers import GatewayAnswer

VERSION = {"anthropic-version": "2023-06-01"}


async def request_message(
    gateway: RunningGateway,
    key: str | None,
    headers: dict[str, str] | None = None,
    path: str = "/v1/messages",
    **body: Any,
) -> GatewayAnswer:
    """Ask for a message of the model `m`; `body` adds, replaces or (None) removes fields."""
    whole = {"model": "m", "messages": HELLO, "max_tokens": 100} | body
    fields = {name: value for name, value in whole.items() if value is not None}
    own = {"x-api-key": key} if key else {}
    return await gateway.send_request(
        "POST", path, None, json=fields, headers=own | VERSION | (headers or {})
    )


async def receive_message(
    gateway: RunningGateway, key: str, *, streams: bool, **body: Any
) -> JsonObject:
    """Ask for a message, and return it, streamed or whole."""
    answer = await request_message(gateway, key, stream=streams, **body)
    assert answer.status == 200, answer.body
    assert answer.headers["request-id"].startswith("req_")
    if streams:
        return build_streamed_message(read_events(answer.body))
    message: JsonObject = answer.json
    return message
