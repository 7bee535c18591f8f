"""The ASGI application: the lean handler for the relaying endpoints, Django's for all others.

The gateway is opened and closed by the lifespan. With servers that have no lifespan (daphne) the
first request opens it.
"""

import asyncio
import logging
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxysite.settings")

import django

django.setup(set_prefix=False)

from proxysite.configuration import locations  # noqa: E402

locations.require_home()

from django.conf import settings  # noqa: E402
from django.db import DatabaseError  # noqa: E402

from api.relay.gateway import GATEWAY_SCOPE_KEY, Gateway, repeat_forever  # noqa: E402
from providers.database.database_threads import run_in_thread  # noqa: E402
from providers.protocol.relayed_request import REALTIME_PATH  # noqa: E402
from proxysite.access.password_gate import GatedHandler  # noqa: E402
from proxysite.desk.live.board import BOARD_SCOPE_KEY, LIVE_PATH, LiveBoard  # noqa: E402
from proxysite.server.body_budget import BodyBudget  # noqa: E402
from proxysite.server.change_watcher import ChangeWatcher  # noqa: E402
from proxysite.server.connections.upgrades import RESPONSES_PATH  # noqa: E402
from proxysite.server.garbage_collector import freeze_garbage_collector  # noqa: E402
from proxysite.server.lean_handler import LeanHandler, Send  # noqa: E402
from proxysite.server.request_bodies import Receive, Scope  # noqa: E402
from proxysite.urls import LEAN_ROUTES  # noqa: E402
from tokens import secret_check  # noqa: E402
from tokens.secret_check import SecretsDiffer  # noqa: E402

logger = logging.getLogger(__name__)


class Application:
    """Routes a request by its method and path; the lifespan opens and closes the gateway."""

    def __init__(self) -> None:
        budget = BodyBudget()
        self.lean_handler = LeanHandler(budget)
        self.django_handler = GatedHandler(budget)
        self._start_task: asyncio.Task[None] | None = None
        self.live_board = LiveBoard(lambda: self.lean_handler.gateway)
        self._watch_task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.wait_for_gateway()
            if LEAN_ROUTES.is_served_lean(scope["method"], scope["path"]):
                await self.lean_handler(scope, receive, send)
            else:
                await self.django_handler(self.extend_scope(scope), receive, send)
        elif scope["type"] == "lifespan":
            await self.handle_lifespan(receive, send)
        elif scope["type"] == "websocket" and scope["path"] == LIVE_PATH:
            await self.wait_for_gateway()
            await serve_viewer(self.extend_scope(scope), receive, send)
        elif scope["type"] == "websocket" and scope["path"] == REALTIME_PATH:
            await self.wait_for_gateway()
            await serve_realtime(self.lean_handler.gateway, scope, receive, send)
        elif scope["type"] == "websocket" and scope["path"] == RESPONSES_PATH:
            await self.wait_for_gateway()
            await serve_responses(scope, receive, send, self.lean_handler)
        else:
            await send({"type": "websocket.close", "code": 4404})

    async def wait_for_gateway(self) -> None:
        """Wait until the gateway is opened.

        Without a lifespan the first request opens it.
        """
        if self._start_task is None:
            self._start_task = asyncio.create_task(self.start_gateway())
        if not self._start_task.done():
            await asyncio.shield(self._start_task)

    def extend_scope(self, scope: Scope) -> Scope:
        """Return the scope with the gateway and the live board of this process."""
        own = {GATEWAY_SCOPE_KEY: self.lean_handler.gateway, BOARD_SCOPE_KEY: self.live_board}
        return scope | own

    async def handle_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._start_task = asyncio.create_task(self.start_gateway())
        try:
            await self._start_task
        except OSError as error:  # one line names the fault; a traceback would hide it
            await send(
                {"type": "lifespan.startup.failed", "message": f"The gateway cannot start: {error}"}
            )
            return
        except SecretsDiffer:
            await send({"type": "lifespan.startup.failed"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop_gateway()
        await send({"type": "lifespan.shutdown.complete"})

    async def start_gateway(self) -> None:
        """Load keys, models and tokens, and start the gateway's background work.

        A database that is away is waited for while requests are served. Raises SecretsDiffer,
        OSError.
        """
        await check_secrets_in_time()
        gateway = Gateway.from_settings()
        watcher = ChangeWatcher(gateway, self.live_board.mark_watched)
        try:
            await watcher.read_all()
        except (DatabaseError, OSError, TimeoutError):
            gateway.ledger.suspend_requests()
        await gateway.start_housekeeping()
        self._watch_task = asyncio.create_task(repeat_forever(watcher.watch_changes))
        self.lean_handler.gateway = gateway
        freeze_garbage_collector()

    def drain_gateway(self) -> None:
        """Let running requests end: the server accepts no more connections."""
        if self.lean_handler.gateway is not None:
            self.lean_handler.gateway.begin_shutdown()

    async def stop_gateway(self) -> None:
        """Write everything that waits to be written, and close the gateway.

        Called when all requests are answered.
        """
        await self.live_board.close()
        gateway = self.lean_handler.gateway
        self.lean_handler.gateway = None
        if self._watch_task is not None:
            self._watch_task.cancel()
            await asyncio.gather(self._watch_task, return_exceptions=True)
        if gateway is not None:
            await gateway.finish_shutdown()


async def serve_viewer(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one viewer of the live board; its modules are loaded with the first one."""
    from proxysite.desk.live.viewer_socket import LiveSocket

    await LiveSocket.as_asgi()(scope, receive, send)


async def serve_realtime(
    gateway: Gateway | None, scope: Scope, receive: Receive, send: Send
) -> None:
    """Serve one realtime session; its modules are loaded with the first one."""
    from api.relayed.realtime_socket import serve_session

    if gateway is None:
        await send({"type": "websocket.close", "code": 1012})
        return
    await serve_session(gateway, scope, receive, send)


async def serve_responses(scope: Scope, receive: Receive, send: Send, handler: LeanHandler) -> None:
    """Serve one WebSocket of the Responses API; its modules are loaded with the first one."""
    from api.views.responses.socket.socket_handshake import serve_response_socket

    await serve_response_socket(scope, receive, send, handler.gateway, handler.budget)


async def check_secrets_in_time() -> None:
    """Raise SecretsDiffer unless this process has the secrets that the database was written with.

    A database that does not answer in time is not waited for; a warning is logged.
    """
    try:
        async with asyncio.timeout(settings.DATABASE_TIMEOUT_SECONDS):
            await run_in_thread(secret_check.require_secrets)
    except SecretsDiffer as error:
        logger.critical("%s", error)
        raise
    except (DatabaseError, TimeoutError):
        logger.warning("the database does not answer; whether it has these secrets is not known")


application = Application()
