"""Django's request handler, with bounds on the bodies that it receives.

A caller without a valid API key and without a session may send OPEN_BODY_LIMIT_BYTES, whatever the
headers claim.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import IO, Any

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.db import Error as AnyDatabaseError

from api import exceptions
from api.views.chat import new_request_id
from api.views.staff.staff_access import GATEWAY
from conversations.files import file_storage
from providers.database.database_threads import LONG, in_time
from providers.exceptions import (
    DatabaseUnavailable,
    GatewayError,
    InternalError,
    InvalidKey,
    Saturated,
    ShuttingDown,
)
from proxysite.server.body_budget import COUNTED_BYTES, BodyBudget, largest_body_bytes
from proxysite.server.caller_identity import Visitor
from proxysite.server.host_names import HostRequest
from proxysite.server.request_bodies import (
    FORM_BYTES,
    UPLOADS,
    WHOLE,
    BodyBuffer,
    BodyInFile,
    CallerLeft,
    Message,
    Receive,
    Uploads,
    announced,
    fill,
    refuse_announced,
    require_readable_address,
    too_large,
    with_length,
)

Send = Callable[[Message], Awaitable[None]]
# programs call these; they are told when the database hangs
IMPATIENT = ("/v1/", "/health")
ALWAYS_SERVED = "/healthz"  # a probe of the process is answered even under full load
UPLOAD_SECONDS = 30.0  # to store and read an uploaded file


class Places:
    """A count of the requests that run at the same time, REQUESTS_IN_FLIGHT at most."""

    def __init__(self) -> None:
        self.taken = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one request during the block. Raises Saturated."""
        if self.taken >= settings.REQUESTS_IN_FLIGHT:
            raise Saturated("Too many requests are running.", retry_after_seconds=1)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


class BoundedHandler(ASGIHandler):
    """The handler of every endpoint but the relaying ones.

    `places` counts the requests that are served, `waiting` those of unknown callers whose body is
    still to come: slow unknown callers take none of the places that others need.
    """

    request_class = HostRequest

    def __init__(self, budget: BodyBudget) -> None:
        super().__init__()
        self.places, self.waiting = Places(), Places()
        self.budget = budget
        self._late: set[asyncio.Future[None]] = set()
        self._uploads = Uploads()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        with ExitStack() as resources:
            try:
                require_readable_address(scope)
                replay, size = await self.admit(scope, receive, resources)
            except CallerLeft:
                return
            except (GatewayError, AnyDatabaseError) as error:
                problem = exceptions.own(error) or InternalError("Something went wrong here.")
                await self.send_error(problem, send)
                return
            serve = partial(self.serve, resources.pop_all())
        scope = with_length(scope, size)
        if scope["path"].startswith(IMPATIENT):
            await self.in_time(serve, scope, replay, send)
        else:
            await serve(scope, replay, send)

    async def send_error(self, error: GatewayError, send: Send) -> None:
        await self.send_response(exceptions.answer(error, new_request_id()), send)

    async def serve(
        self, resources: ExitStack, scope: dict[str, Any], receive: Receive, send: Send
    ) -> None:
        """Let Django answer, and give back the resources of the request afterwards."""
        with resources:
            await super().__call__(scope, receive, send)

    async def admit(
        self, scope: dict[str, Any], receive: Receive, resources: ExitStack
    ) -> tuple[Receive, int]:
        """Receive the whole body; return a `receive` that replays it, and its length in bytes.

        The resources that the request holds from now on are added to `resources`. Raises
        GatewayError, CallerLeft.
        """
        gateway = scope.get(GATEWAY)
        if gateway is None:
            raise ShuttingDown("The server is not ready.", retry_after_seconds=1)
        visitor = Visitor(gateway, scope)
        if scope["path"] == ALWAYS_SERVED:
            return await self.take_in(scope, receive, visitor, resources)
        await visitor.find_caller()
        if isinstance(visitor.problem, DatabaseUnavailable) and scope["path"].startswith(IMPATIENT):
            raise visitor.problem
        if visitor.caller is not None and visitor.caller.key_id is not None:
            resources.enter_context(gateway.key_requests.counted(visitor.caller.key_id))
        elif WHOLE not in scope:
            with self.waiting.one():
                taken = await self.take_in(scope, receive, visitor, resources)
            resources.enter_context(self.places.one())
            return taken
        resources.enter_context(self.places.one())
        return await self.take_in(scope, receive, visitor, resources)

    async def take_in(
        self, scope: dict[str, Any], receive: Receive, visitor: Visitor, resources: ExitStack
    ) -> tuple[Receive, int]:
        """Receive the body, up to the size that this caller may send.

        Returns and raises the same as `admit`.
        """
        if visitor.caller is not None and scope["method"] == "POST" and scope["path"] in UPLOADS:
            return await self.take_upload(scope, receive, visitor.caller.user_id)
        buffer = BodyBuffer(settings.BODY_MEMORY_BYTES)
        resources.callback(buffer.close)

        async def extend() -> int:
            """Return a larger limit for this body, and let it be counted.

            Raises GatewayError when the caller has neither an API key nor a session.
            """
            owner = await visitor.find_owner()
            if owner is None:
                raise visitor.problem or too_large(settings.OPEN_BODY_LIMIT_BYTES)
            limit_bytes = largest_body_bytes()
            refuse_announced(scope, limit_bytes)
            buffer.share = self.budget.share(owner)
            resources.callback(buffer.share.release)
            if announced(scope) > COUNTED_BYTES:
                buffer.share.require_room(announced(scope))
            return limit_bytes

        if announced(scope) > settings.OPEN_BODY_LIMIT_BYTES:
            await fill(buffer, receive, await extend())
        else:
            await fill(buffer, receive, settings.OPEN_BODY_LIMIT_BYTES, extend)
        if buffer.size > COUNTED_BYTES:
            return BodyInFile(buffer.take_file(), receive, is_upload=False), buffer.size
        return replay_of(buffer.read(), receive), buffer.size

    async def take_upload(
        self, scope: dict[str, Any], receive: Receive, user_id: int | None
    ) -> tuple[Receive, int]:
        """Receive a form with a file, if the user has room for it.

        Returns and raises the same as `admit`.
        """
        if user_id is None:
            raise InvalidKey("The API key is not valid.")
        limit_bytes = settings.FILE_LIMIT_BYTES + FORM_BYTES
        refuse_announced(scope, limit_bytes)
        await in_time(
            LONG.run(file_storage.require_room, user_id, max(0, announced(scope) - FORM_BYTES))
        )
        buffer = BodyBuffer(COUNTED_BYTES)
        try:
            with self._uploads.one(user_id):
                await fill(buffer, receive, limit_bytes)
            return BodyInFile(buffer.take_upload(), receive, is_upload=True), buffer.size
        finally:
            buffer.close()

    async def read_body(self, receive: Receive) -> IO[bytes]:
        """Return the body's file for Django; a body that is in a file already is not copied."""
        return receive.body if isinstance(receive, BodyInFile) else await super().read_body(receive)

    async def in_time(
        self, serve: Callable[..., Awaitable[None]], scope: Any, receive: Receive, send: Send
    ) -> None:
        """Serve within DATABASE_TIMEOUT_SECONDS, else answer that the database is away.

        Uploads have UPLOAD_SECONDS. A late request is not cancelled: its thread waits for a frozen
        database, and nobody else has to.
        """
        answered = late = False

        async def send_in_time(message: Message) -> None:
            nonlocal answered
            if not late:
                answered = True
                await send(message)

        task = asyncio.ensure_future(serve(scope, receive, send_in_time))
        is_upload = isinstance(receive, BodyInFile) and receive.is_upload
        patience_seconds = UPLOAD_SECONDS if is_upload else settings.DATABASE_TIMEOUT_SECONDS
        done, _ = await asyncio.wait({task}, timeout=patience_seconds)
        if done:
            task.result()
        elif answered:
            await task
        else:
            late = True
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            away = DatabaseUnavailable("The database does not answer.", retry_after_seconds=2)
            await self.send_error(away, send)


def replay_of(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once more, in one message."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay
