"""An upstream over real sockets that plays scripts and remembers its requests.

`Upstream.queue_scripts(*scripts)` queues scripts of `upstream.py`, one per request; without a
script it is an honest OpenAI server that says "Hello there!".
"""

import asyncio
import socket
import ssl
from collections import deque
from contextlib import suppress
from functools import cached_property

from proxysite.testing import PATIENCE_SECONDS
from proxysite.testing.upstream import Exchange, Gate, Request, Script, answer_honestly


class Upstream:
    """The scripted server; it listens on a loopback port from `start` to `stop`.

    It uses `listener` when it is given one, and TLS with `tls`. `host` is the name in `url`.
    """

    def __init__(
        self,
        listener: socket.socket | None = None,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self._listener = listener
        self._tls = tls
        self._host = host
        self._scripts: deque[Script] = deque()
        self._default_script: Script = answer_honestly()
        self._tasks: set[asyncio.Task[None]] = set()
        self._exchange_added = asyncio.Condition()
        self.gate = Gate()
        self.exchanges: list[Exchange] = []
        self.connections = 0
        self.failures: list[BaseException] = []

    # --- for tests --------------------------------------------------------------------------------
    def queue_scripts(self, *scripts: Script) -> None:
        """Queue the scripts for the next requests, in their order."""
        self._scripts.extend(scripts)

    def set_default_script(self, script: Script) -> None:
        """Set the script for requests that find no script queued."""
        self._default_script = script

    @property
    def requests(self) -> list[Request]:
        return [exchange.request for exchange in self.exchanges]

    @property
    def last_exchange(self) -> Exchange:
        return self.exchanges[-1]

    async def wait_for_request(self, times: int = 1) -> Exchange:
        """Wait for request number `times`, and return its exchange."""
        async with asyncio.timeout(PATIENCE_SECONDS), self._exchange_added:
            await self._exchange_added.wait_for(lambda: len(self.exchanges) >= times)
        return self.exchanges[times - 1]

    @cached_property
    def url(self) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{self._host}:{self.port}/v1"

    # --- the work ---------------------------------------------------------------------------------
    async def start(self) -> None:
        if self._listener is not None:
            listener = self._listener.dup()
        else:
            listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self._server = await asyncio.start_server(
            self._accept_connection, sock=listener, ssl=self._tls
        )

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _accept_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._serve_connection(reader, writer, self.connections)
        except (OSError, asyncio.IncompleteReadError):
            pass
        except asyncio.CancelledError:
            pass  # the test is over
        finally:
            writer.close()
            with suppress(OSError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _serve_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> None:
        """Serve the requests of one connection, one after another.

        While a script runs the next request is awaited, so that the gateway's leaving is noticed.
        """
        reading = asyncio.ensure_future(read_request(reader))
        playing: set[asyncio.Future[None]] = set()
        exchange: Exchange | None = None
        try:
            while request := await reading:
                reading = asyncio.ensure_future(read_request(reader))
                exchange = Exchange(request, writer, self.gate, connection)
                playing.add(asyncio.ensure_future(self._play_script(exchange)))
                await asyncio.wait((reading, *playing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if exchange is not None:
                exchange.gateway_left.set()
            for task in (reading, *playing):
                task.cancel()
            await asyncio.gather(reading, *playing, return_exceptions=True)

    async def _play_script(self, exchange: Exchange) -> None:
        script = self._scripts.popleft() if self._scripts else self._default_script
        async with self._exchange_added:
            self.exchanges.append(exchange)
            self._exchange_added.notify_all()
        try:
            await script(exchange)
        except OSError:
            pass  # the gateway left in the middle
        except Exception as error:  # noqa: BLE001 - a fault of the test's script; see `failures`
            self.failures.append(error)
            exchange.writer.close()


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Return the next request of a connection; None when it was closed."""
    try:
        start = await reader.readuntil(b"\r\n\r\n")
        request = Request(start[:-4], b"")
        length = int(request.headers.get("content-length", 0))
        return Request(start[:-4], await reader.readexactly(length))
    except (asyncio.IncompleteReadError, OSError):
        return None
