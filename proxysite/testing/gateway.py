"""The real application under the real server, in the event loop of the test, and callers for it.

The server listens on a loopback port.
"""

import asyncio
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings

from api.relay.gateway import Gateway
from proxysite.asgi import Application
from proxysite.server.body_budget import BodyBudget
from proxysite.server.change_watcher import ChangeWatcher
from proxysite.server.uvicorn_server import CallerConnection, GracefulServer, make_uvicorn_config
from proxysite.testing import PATIENCE_SECONDS, rows, wait_until_true
from tokens.models import UpstreamToken
from tokens.outcomes.breaker import Breaker
from tokens.pool import state_writer

Json = dict[str, Any]
HELLO: list[Json] = [{"role": "user", "content": "Hello!"}]
TICK_SECONDS = 0.02
# httpx would load the system's certificates for every client
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


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
    def error(self) -> Json:
        """Return the error object. Fails unless the answer is an error of OpenAI's form."""
        assert self.headers["content-type"].startswith("application/json"), self
        whole = self.json
        assert whole.keys() == {"error"}, whole
        assert whole["error"].keys() == {"message", "type", "param", "code"}, whole
        assert self.headers["x-request-id"].startswith("req_"), self.headers
        error: Json = whole["error"]
        return error

    @property
    def events(self) -> list[Json]:
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
    def stream_error(self) -> Json:
        """Return the error that ended a stream. Fails when the stream says that it is complete."""
        assert self.status == 200
        assert not self.is_complete, self.body
        assert self.finish_reasons == [], self.body
        error: Json = self.events[-1]["error"]
        assert error.keys() == {"message", "type", "param", "code"}, error
        return error


class StreamedAnswer:
    """A streamed answer that the test reads piece by piece."""

    def __init__(self, response: httpx.Response) -> None:
        self._response, self._pieces = response, response.aiter_raw()
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


class RunningGateway:
    """One server, run from `start` to `stop` in the event loop of the test."""

    async def start(self) -> None:
        """Start to serve, with the rows and settings that exist now."""
        self._application = Application()
        options = make_uvicorn_config()
        options.app = self._application
        options.load()
        self._server = GracefulServer(options)
        self._server.lifespan = options.lifespan_class(options)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        patience = httpx.Timeout(PATIENCE_SECONDS)
        self._http = httpx.AsyncClient(
            base_url=self.url,
            trust_env=False,
            verify=NO_TLS,
            timeout=patience,
            limits=httpx.Limits(),
        )
        with close_on_error(self._listener):
            await self._server.startup([self._listener])
        assert self._application.lean_handler.gateway is not None
        self.inner: Gateway = self._application.lean_handler.gateway
        self._tick_task = asyncio.create_task(self._tick_often())

    async def _tick_often(self) -> None:
        """Do the server's once-a-second work more often."""
        while True:
            await self._server.on_tick(0)
            await asyncio.sleep(TICK_SECONDS)

    async def stop(self, leaving: Collection[Path] = ()) -> None:
        """Stop the server. Fails unless every request has ended by itself.

        Nothing may be in flight, and no journal or spool file may be left but those in `leaving`.
        """
        await self._http.aclose()
        for server in self._server.servers:
            server.close()
        running = await self._end_requests()
        self._tick_task.cancel()
        for connection in list(self._server.server_state.connections):
            if isinstance(connection, CallerConnection):
                connection.transport.abort()
        await self._server.lifespan.shutdown()
        left = {
            path
            for folder in ("journal", "spool")
            for path in settings.HOME.root.joinpath(folder).iterdir()
        }
        left -= set(leaving)
        for path in left:
            path.unlink()
        assert not running, f"{running} requests did not end"
        assert self.held_resources() == (0, 0, 0, 0), "what a request held was not given back"
        assert not left, f"requests are noted that have ended, or rows wait: {left}"

    async def _end_requests(self) -> int:
        """Wait for running requests, and return how many had to be cancelled."""
        tasks = self._server.server_state.tasks
        try:
            await wait_until_true(lambda: not tasks)
        except AssertionError:
            stuck = list(tasks)
            for task in stuck:
                task.cancel()
            await asyncio.gather(*stuck, return_exceptions=True)
            return len(stuck)
        return self.inner.requests_in_flight

    @property
    def body_budget(self) -> BodyBudget:
        """Return the counts of the bytes that bodies of requests take."""
        return self._application.django_handler.budget

    @property
    def waiting_count(self) -> int:
        """Return how many unknown callers have requests whose body is still to come."""
        return self._application.django_handler.waiting_places.taken_count

    def held_resources(self) -> tuple[int, int, int, int]:
        """Return the resources that requests hold.

        These are the bytes of bodies in memory and on disk, the places of Django's handler, and the
        number of API keys with running requests.
        """
        handler = self._application.django_handler
        keys = self.inner.key_requests
        return (
            self.body_budget.memory_bytes,
            self.body_budget.disk_bytes,
            handler.places.taken_count,
            len(keys),
        )

    async def restart_server(self) -> None:
        await self.stop()
        await self.start()

    async def drain_server(self) -> None:
        """Shut down as after a signal: accept no connections, and let running answers finish."""
        await self._server.shutdown([self._listener])

    async def reload_rows(self) -> None:
        """Load new rows now, without waiting for the change watcher."""
        await ChangeWatcher(self.inner).read_all()

    @property
    def request_tasks(self) -> set["asyncio.Task[None]"]:
        """Return the tasks of running requests."""
        return self._server.server_state.tasks

    @property
    def connection_count(self) -> int:
        """Return how many callers are connected."""
        return len(self._server.server_state.connections)

    async def read_token_row(self, row: UpstreamToken) -> UpstreamToken:
        """Write everything that the pool has noted, and return the token's row."""
        await state_writer.write_pool(self.inner.pool, 0)
        found: UpstreamToken = await rows.reload_row(row)
        return found

    def count_failures(self) -> int:
        """Return how many recent requests the breaker of the provider `fake` counts as failed."""
        return len(self._breaker._find_recent_requests(time.monotonic())[0])

    def is_breaker_open(self) -> bool:
        """Return whether the breaker of the provider `fake` is open or half-open."""
        return self._breaker.is_open

    def blocked_seconds(self) -> float | None:
        """Return for how many seconds the breaker is open; None when the provider may be asked."""
        return self._breaker.find_blocked_seconds(time.monotonic())

    @property
    def _breaker(self) -> Breaker:
        upstreams = self.inner.catalogue.list_upstreams()
        return self.inner.pool.find_breaker(
            next(upstream for upstream in upstreams if upstream.name == "fake")
        )

    # --- callers ----------------------------------------------------------------------------------
    async def send_request(
        self, method: str, path: str, key: str | None = None, **options: Any
    ) -> GatewayAnswer:
        """Send one request with httpx, and return its answer; `options` are those of httpx."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        headers |= options.pop("headers", {})
        response = await self._http.request(method, path, headers=headers, **options)
        return GatewayAnswer(response.status_code, response.headers, response.content)

    async def request_chat(
        self, key: str | None, headers: dict[str, str] | None = None, **body: Any
    ) -> GatewayAnswer:
        """Ask for a chat completion of the model `m`; `body` adds or replaces fields."""
        asked = {"model": "m", "messages": HELLO} | body
        return await self.send_request(
            "POST", "/v1/chat/completions", key, json=asked, headers=headers or {}
        )

    @asynccontextmanager
    async def open_stream(self, key: str, **body: Any) -> AsyncIterator[StreamedAnswer]:
        """Ask for a streamed chat completion, and yield it while it comes."""
        asked = {"model": "m", "messages": HELLO, "stream": True} | body
        headers = {"authorization": f"Bearer {key}"}
        async with self._http.stream(
            "POST", "/v1/chat/completions", json=asked, headers=headers
        ) as response:
            yield StreamedAnswer(response)

    @asynccontextmanager
    async def open_bare_connection(
        self, receive_buffer: int | None = None
    ) -> AsyncIterator[BareConnection]:
        """Open a bare connection.

        `receive_buffer` bounds the bytes that the kernel takes for a caller that does not read.
        """
        with close_on_error(socket.socket()) as sock:
            if receive_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.port))
            reader, writer = await asyncio.open_connection(sock=sock)
        try:
            yield BareConnection(reader, writer)
        finally:
            writer.transport.abort()


@contextmanager
def close_on_error(sock: socket.socket) -> Iterator[socket.socket]:
    try:
        yield sock
    except BaseException:
        sock.close()
        raise


def build_raw_request(
    key: str, *, path: str = "/v1/chat/completions", headers: str = "", **body: Any
) -> bytes:
    """Return a whole chat request as bytes, for a bare connection."""
    data = json.dumps({"model": "m", "messages": HELLO} | body).encode()
    return build_raw_request_head(key, len(data), path=path, headers=headers) + data


def build_raw_request_head(
    key: str, length: int, *, path: str = "/v1/chat/completions", headers: str = ""
) -> bytes:
    lines = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
    return (
        f"{lines}Content-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n"
    ).encode()
