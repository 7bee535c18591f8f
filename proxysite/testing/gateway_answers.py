"""Answers of a gateway as its callers get them: whole, piece by piece, or as bare bytes."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx

from providers.protocol.json_types import JsonObject
from proxysite.testing import PATIENCE_SECONDS


@dataclass(frozen=True, slots=True)
class GatewayAnswer:
    """A whole HTTP answer."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> JsonObject:
        """Return the error object. Fails unless the answer is an error of OpenAI's form."""
        assert self.headers["content-type"].startswith("application/json"), self
        body = self.json
        assert body.keys() == {"error"}, body
        assert body["error"].keys() == {"message", "type", "param", "code"}, body
        assert self.headers["x-request-id"].startswith("req_"), self.headers
        error: JsonObject = body["error"]
        return error

    @property
    def events(self) -> list[JsonObject]:
        """Return the objects of a stream in order, without `[DONE]` and comments."""
        return [json.loads(data) for data in self.data if data != "[DONE]"]

    @property
    def data(self) -> list[str]:
        """Return the data of all events.

        Fails unless the stream has only single `data:` lines and comments.
        """
        parts = self.body.decode().split("\n\n")
        assert parts.pop() == "", self.body
        assert all(part.startswith(("data: ", ":")) and "\n" not in part for part in parts), (
            self.body
        )
        return [part[6:] for part in parts if part.startswith("data: ")]

    @property
    def is_complete(self) -> bool:
        """Return whether the stream says that it is complete: once, and at its end."""
        assert self.data.count("[DONE]") <= 1, self.body
        return bool(self.data) and self.data[-1] == "[DONE]"

    @property
    def text(self) -> str:
        """Return the text of the first choice, streamed or whole."""
        if not self.headers["content-type"].startswith("text/event-stream"):
            return str(self.json["choices"][0]["message"]["content"])
        choices = (choice for event in self.events for choice in event.get("choices", ()))
        return "".join(
            choice["delta"].get("content") or "" for choice in choices if choice["index"] == 0
        )

    @property
    def finish_reasons(self) -> list[str]:
        """Return every finish reason of a stream."""
        choices = (choice for event in self.events for choice in event.get("choices", ()))
        return [choice["finish_reason"] for choice in choices if choice["finish_reason"]]

    @property
    def stream_error(self) -> JsonObject:
        """Return the error that ended a stream. Fails when the stream says that it is complete."""
        assert self.status == 200
        assert not self.is_complete, self.body
        assert self.finish_reasons == [], self.body
        error: JsonObject = self.events[-1]["error"]
        assert error.keys() == {"message", "type", "param", "code"}, error
        return error


class StreamedAnswer:
    """A streamed answer that the test reads piece by piece."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._pieces = response.aiter_raw()
        self.status = response.status_code
        self.headers = response.headers
        self.body = b""

    async def read_until(self, text: str) -> None:
        """Read until `text` has come."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while text.encode() not in self.body:
                self.body += await anext(self._pieces)

    async def read_rest(self) -> GatewayAnswer:
        """Read to the end, and return the whole answer."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for piece in self._pieces:
                self.body += piece
        return GatewayAnswer(self.status, self.headers, self.body)

    async def leave_early(self) -> None:
        """Close the connection in the middle of the answer."""
        await self._response.aclose()


class BareConnection:
    """A caller's bare connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def receive_answer(self) -> GatewayAnswer:
        """Return the next whole answer.

        Raises IncompleteReadError when the connection ends before.
        """
        async with asyncio.timeout(PATIENCE_SECONDS):
            first, *lines = (await self.reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
            pairs = [
                (name, value.strip()) for name, _, value in (line.partition(b":") for line in lines)
            ]
            headers = httpx.Headers(pairs)
            if "chunked" in headers.get("transfer-encoding", ""):
                body = b"".join([part async for part in self._read_chunks()])
            else:
                body = await self.reader.readexactly(int(headers["content-length"]))
        return GatewayAnswer(int(first.split()[1]), headers, body)

    async def _read_chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            yield (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readuntil(b"\r\n")

    async def read_to_end(self) -> bytes:
        """Return the bytes that still come until the gateway closes the connection."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def close_connection(self) -> None:
        self.writer.close()
