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
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings

from api.relay.gateway import Gateway
from providers.protocol.json_types import JsonObject
from providers.upstream.base_adapter import Upstream
from proxysite.asgi import Application
from proxysite.desk.live.board import LiveBoard
from proxysite.server.body_budget import BodyBudget
from proxysite.server.change_watcher import ChangeWatcher
from proxysite.server.connections.caller_connection import CallerConnection
from proxysite.server.uvicorn_server import GracefulServer, make_uvicorn_config
from proxysite.testing import rows, wait_until_true
from proxysite.testing.client_transport import CallerTransport
from proxysite.testing.gateway_answers import BareConnection, GatewayAnswer, StreamedAnswer
from tokens.models import UpstreamToken
from tokens.outcomes.breaker import Breaker
from tokens.pool import state_writer

HELLO: list[JsonObject] = [{"role": "user", "content": "Hello!"}]
TICK_SECONDS = 0.02
# httpx would load the system's certificates for every client
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


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
        self._http = httpx.AsyncClient(
            base_url=self.url, trust_env=False, transport=CallerTransport(self.port)
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
        leftovers = {
            path
            for folder in ("journal", "spool")
            for path in settings.HOME.root.joinpath(folder).iterdir()
        }
        leftovers -= set(leaving)
        for path in leftovers:
            path.unlink()
        assert not running, f"{running} requests did not end"
        assert self.held_resources() == (0, 0, 0, 0), "what a request held was not given back"
        sockets = self.inner.response_sockets
        assert (len(sockets), sockets.state_bytes) == (0, 0), "a WebSocket left something behind"
        assert not leftovers, f"requests are noted that have ended, or rows wait: {leftovers}"

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
    def live_board(self) -> LiveBoard:
        """Return the live board of this process."""
        return self._application.live_board

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
        return await rows.reload_row(row)

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
        (fake,) = [upstream for upstream in self.list_upstreams() if upstream.name == "fake"]
        return self.inner.pool.find_breaker(fake)

    def list_upstreams(self) -> list[Upstream]:
        """Return the upstreams that the gateway knows now."""
        return [adapter.upstream for adapter in self.inner.catalogue._adapters.values()]

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
        return await self.send_request(
            "POST",
            "/v1/chat/completions",
            key,
            json={"model": "m", "messages": HELLO} | body,
            headers=headers or {},
        )

    @asynccontextmanager
    async def open_stream(self, key: str, **body: Any) -> AsyncIterator[StreamedAnswer]:
        """Ask for a streamed chat completion, and yield it while it comes."""
        whole_body = {"model": "m", "messages": HELLO, "stream": True} | body
        headers = {"authorization": f"Bearer {key}"}
        async with self._http.stream(
            "POST", "/v1/chat/completions", json=whole_body, headers=headers
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
