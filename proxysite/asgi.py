"""The ASGI application: the lean handler for the relaying endpoints, Django's for all others.

The gateway is opened and closed by the lifespan. With servers that have no lifespan (daphne) the
first request opens it.
"""

import asyncio
import gc
import logging
import os
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxysite.settings")

import django

django.setup(set_prefix=False)

from proxysite.configuration import locations  # noqa: E402

locations.require_home()

from django.conf import settings  # noqa: E402
from django.db import DatabaseError  # noqa: E402

from api.relay.gateway import Gateway, again_and_again  # noqa: E402
from api.views.staff.staff_access import GATEWAY  # noqa: E402
from providers.database.database_threads import off_loop  # noqa: E402
from proxysite.access.password_gate import GatedHandler  # noqa: E402
from proxysite.server.body_budget import BodyBudget  # noqa: E402
from proxysite.server.change_watcher import Watcher  # noqa: E402
from proxysite.server.lean_handler import LeanHandler, Send  # noqa: E402
from proxysite.server.request_bodies import Receive  # noqa: E402
from proxysite.urls import served_lean  # noqa: E402
from tokens import secret_check  # noqa: E402
from tokens.secret_check import SecretsDiffer  # noqa: E402

logger = logging.getLogger(__name__)


class Application:
    """Routes a request by its method and path; the lifespan opens and closes the gateway."""

    def __init__(self) -> None:
        budget = BodyBudget()
        self.lean = LeanHandler(budget)
        self.stock = GatedHandler(budget)
        self._starting: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            if self._starting is None:
                self._starting = asyncio.create_task(self.start())
            if not self._starting.done():
                await asyncio.shield(self._starting)
            if served_lean(scope["method"], scope["path"]):
                await self.lean(scope, receive, send)
            else:
                await self.stock(scope | {GATEWAY: self.lean.gateway}, receive, send)
        elif scope["type"] == "lifespan":
            await self.lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 4404})

    async def lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._starting = asyncio.create_task(self.start())
        try:
            await self._starting
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
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def start(self) -> None:
        """Load keys, models and tokens, and start the gateway's background work.

        A database that is away is waited for while requests are served. Raises SecretsDiffer,
        OSError.
        """
        await check_secrets()
        gateway = Gateway.make()
        watcher = Watcher(gateway)
        try:
            await watcher.read_all()
        except (DatabaseError, OSError, TimeoutError):
            gateway.ledger.suspend()
        await gateway.start()
        self._watching = asyncio.create_task(again_and_again(watcher.keep))
        self.lean.gateway = gateway
        calm_collector()

    def drain(self) -> None:
        """Let running requests end: the server accepts no more connections."""
        if self.lean.gateway is not None:
            self.lean.gateway.drain()

    async def stop(self) -> None:
        """Write everything that waits to be written, and close the gateway.

        Called when all requests are answered.
        """
        gateway = self.lean.gateway
        self.lean.gateway = None
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if gateway is not None:
            await gateway.stop()


async def check_secrets() -> None:
    """Raise SecretsDiffer unless this process has the secrets that the database was written with.

    A database that does not answer in time is not waited for; a warning is logged.
    """
    try:
        async with asyncio.timeout(settings.DATABASE_TIMEOUT_SECONDS):
            await off_loop(secret_check.require_secrets)
    except SecretsDiffer as error:
        logger.critical("%s", error)
        raise
    except (DatabaseError, TimeoutError):
        logger.warning("the database does not answer; whether it has these secrets is not known")


def calm_collector() -> None:
    """Make full garbage collections rare: over all of Django's objects they stall every stream.

    Changes the collector of this process. A full collection takes milliseconds with 1,000 streams.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 50, 100)


application = Application()
