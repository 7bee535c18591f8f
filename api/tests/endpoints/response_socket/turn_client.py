"""A client of OpenAI's WebSocket mode: the real `websockets` client, one event at a time."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from proxysite.testing.gateway import RunningGateway

Event = dict[str, Any]
FINAL_TYPES = ("response.completed", "response.incomplete", "response.failed", "error")


class TurnClient:
    """One connection; a turn is sent, then its events are read."""

    def __init__(self, wire: ClientConnection) -> None:
        self.wire = wire

    async def send(self, text: object = "Hello!", **fields: object) -> None:
        """Send one `response.create` event that asks model `m`; nothing is stored."""
        event = {"type": "response.create", "model": "m", "store": False, "input": text}
        await self.wire.send(json.dumps(event | fields))

    async def read_event(self) -> Event:
        """Return the next event."""
        event: Event = json.loads(await self.wire.recv())
        return event

    async def read_turn(self) -> list[Event]:
        """Return the events up to the end of a turn."""
        events = [await self.read_event()]
        while events[-1]["type"] not in FINAL_TYPES:
            events.append(await self.read_event())
        return events

    async def ask(self, text: object = "Hello!", **fields: object) -> Event:
        """Send a turn, and return its last event."""
        await self.send(text, **fields)
        return (await self.read_turn())[-1]


@asynccontextmanager
async def open_socket(
    gateway: RunningGateway, key: str, **options: Any
) -> AsyncIterator[TurnClient]:
    """Open a WebSocket on /v1/responses with this key."""
    address = f"{gateway.url}/v1/responses".replace("http", "ws", 1)
    headers = {"Authorization": f"Bearer {key}"} | options.pop("headers", {})
    async with connect(address, additional_headers=headers, proxy=None, **options) as wire:
        yield TurnClient(wire)
