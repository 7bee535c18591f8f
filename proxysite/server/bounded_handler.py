"""Django's request handler, with bounds on the bodies that it receives.

A caller without a valid API key and without a session may send OPEN_BODY_LIMIT_BYTES, whatever the
headers claim.
"""

import asyncio
import io
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import IO

from corsheaders.middleware import CorsMiddleware
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.db import Error as AnyDatabaseError

from api import exceptions
from api.address_hints import explain_unknown_address, is_unknown_address
from api.relay.gateway import GATEWAY_SCOPE_KEY
from api.relay.lean_request import new_request_id
from conversations.files import file_storage
from providers.database.database_threads import LONG, await_in_time
from providers.exceptions import (
    MISSING_KEY_TEXT,
    DatabaseUnavailable,
    GatewayError,
    InternalError,
    InvalidKey,
    Saturated,
    ShuttingDown,
)
from proxysite.server.body_budget import COUNTED_BYTES, BodyBudget, largest_body_bytes
from proxysite.server.caller_identity import RequestCaller
from proxysite.server.compressed_bodies import unpack_body
from proxysite.server.host_names import HostRequest
from proxysite.server.request_bodies import (
    FORM_OVERHEAD_BYTES,
    UPLOAD_PATHS,
    WHOLE_REQUEST,
    BodyBuffer,
    BodyInFile,
    CallerLeft,
    Message,
    Receive,
    RunningUploads,
    Scope,
    announced_bytes,
    body_too_large,
    receive_into,
    refuse_large_announced,
    require_readable_address,
    with_content_length,
)

Send = Callable[[Message], Awaitable[None]]
# programs call these; they are told when the database hangs
API_PATH = "/v1/"
IMPATIENT_PATHS = (API_PATH, "/health")
HEALTH_PROBE_PATH = "/healthz"  # a probe of the process is answered even under full load
UPLOAD_SECONDS = 30.0  # to store and read an uploaded file


class RequestPlaces:
    """A count of the requests that run at the same time, REQUESTS_IN_FLIGHT at most."""

    def __init__(self) -> None:
        self.taken_count = 0

    @contextmanager
    def hold_place(self) -> Iterator[None]:
        """Count one request during the block. Raises Saturated."""
        if self.taken_count >= settings.REQUESTS_IN_FLIGHT:
            raise Saturated("Too many requests are running.", retry_after_seconds=1)
        self.taken_count += 1
        try:
            yield
        finally:
            self.taken_count -= 1


class BoundedHandler(ASGIHandler):
    """The handler of every endpoint but the relaying ones.

    `places` counts the requests that are served, `waiting_places` those of unknown callers whose
    body is still to come: slow unknown callers take none of the places that others need.
    """

    request_class = HostRequest

    def __init__(self, budget: BodyBudget) -> None:
        super().__init__()
        self.places = RequestPlaces()
        self.waiting_places = RequestPlaces()
        self.budget = budget
        self._late_tasks: set[asyncio.Future[None]] = set()
        self._uploads = RunningUploads()
        self._cors = CorsMiddleware(self.get_response_async)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with ExitStack() as resources:
            try:
                require_readable_address(scope)
                scope, receive = unpack_body(scope, receive)
                replay, size = await self.admit_request(scope, receive, resources)
            except CallerLeft:
                return
            except (GatewayError, AnyDatabaseError) as error:
                problem = exceptions.as_gateway_error(error) or InternalError(
                    "Something went wrong here."
                )
                await self.send_error(problem, scope, send)
                return
            serve = partial(self.serve_request, resources.pop_all())
        scope = with_content_length(scope, size)
        if scope["path"].startswith(IMPATIENT_PATHS):
            await self.serve_in_time(serve, scope, replay, send)
        else:
            await serve(scope, replay, send)

    async def send_error(self, error: GatewayError, scope: Scope, send: Send) -> None:
        """Send an error without asking Django; pages of allowed origins can read it."""
        answer = exceptions.render_error(error, new_request_id())
        request = self.request_class(scope, io.BytesIO())
        await self.send_response(self._cors.add_response_headers(request, answer), send)

    async def serve_request(
        self, resources: ExitStack, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Let Django answer, and give back the resources of the request afterwards."""
        with resources:
            await super().__call__(scope, receive, send)

    async def admit_request(
        self, scope: Scope, receive: Receive, resources: ExitStack
    ) -> tuple[Receive, int]:
        """Receive the whole body; return a `receive` that replays it, and its length in bytes.

        The resources that the request holds from now on are added to `resources`. Raises
        GatewayError, CallerLeft.
        """
        gateway = scope.get(GATEWAY_SCOPE_KEY)
        if gateway is None:
            raise ShuttingDown("The server is not ready.", retry_after_seconds=1)
        caller = RequestCaller(gateway, scope)
        if scope["path"] == HEALTH_PROBE_PATH:
            return await self.receive_body(scope, receive, caller, resources)
        await caller.identify_caller()
        if isinstance(caller.key_error, DatabaseUnavailable) and scope["path"].startswith(
            IMPATIENT_PATHS
        ):
            raise caller.key_error
        if caller.key_id is not None:
            resources.enter_context(gateway.key_requests.track_request(caller.key_id))
        elif WHOLE_REQUEST not in scope:
            with self.waiting_places.hold_place():
                received = await self.receive_body(scope, receive, caller, resources)
            resources.enter_context(self.places.hold_place())
            return received
        resources.enter_context(self.places.hold_place())
        return await self.receive_body(scope, receive, caller, resources)

    async def receive_body(
        self, scope: Scope, receive: Receive, caller: RequestCaller, resources: ExitStack
    ) -> tuple[Receive, int]:
        """Receive the body, up to the size that this caller may send.

        Returns and raises the same as `admit_request`.
        """
        is_upload = scope["method"] == "POST" and scope["path"] in UPLOAD_PATHS
        if is_upload and caller.caller is not None:
            return await self.receive_upload(scope, receive, caller.caller.user_id)
        buffer = BodyBuffer(settings.BODY_MEMORY_BYTES)
        resources.callback(buffer.close)

        async def raise_limit() -> int:
            """Return a larger limit for this body, and let it be counted.

            Raises GatewayError when the caller has neither an API key nor a session.
            """
            if is_unknown_address(scope["path"]):
                raise explain_unknown_address(scope["method"], scope["path"])
            owner = await caller.find_owner()
            if owner is None:
                raise caller.key_error or self.refuse_stranger(scope["path"])
            limit_bytes = largest_body_bytes()
            refuse_large_announced(scope, limit_bytes)
            buffer.share = self.budget.open_share(owner)
            resources.callback(buffer.share.release_bytes)
            if announced_bytes(scope) > COUNTED_BYTES:
                buffer.share.require_room(announced_bytes(scope))
            return limit_bytes

        if announced_bytes(scope) > settings.OPEN_BODY_LIMIT_BYTES:
            await receive_into(buffer, receive, await raise_limit())
        else:
            await receive_into(buffer, receive, settings.OPEN_BODY_LIMIT_BYTES, raise_limit)
        if buffer.size_bytes > COUNTED_BYTES:
            return BodyInFile(buffer.take_file(), receive, is_upload=False), buffer.size_bytes
        return make_replay(buffer.read(), receive), buffer.size_bytes

    @staticmethod
    def refuse_stranger(path: str) -> GatewayError:
        """Return the error for a large body of a caller who shows neither a key nor a session."""
        if path.startswith(API_PATH):
            return InvalidKey(MISSING_KEY_TEXT)
        return body_too_large(settings.OPEN_BODY_LIMIT_BYTES)

    async def receive_upload(
        self, scope: Scope, receive: Receive, user_id: int | None
    ) -> tuple[Receive, int]:
        """Receive a form with a file, if the user has room for it.

        Returns and raises the same as `admit_request`.
        """
        if user_id is None:
            raise InvalidKey("The API key is not valid.")
        largest_file = max(settings.FILE_LIMIT_BYTES, settings.BATCH_FILE_BYTES)
        limit_bytes = largest_file + FORM_OVERHEAD_BYTES
        refuse_large_announced(scope, limit_bytes)
        await await_in_time(
            LONG.run_work(
                file_storage.require_file_room,
                user_id,
                max(0, announced_bytes(scope) - FORM_OVERHEAD_BYTES),
            )
        )
        buffer = BodyBuffer(COUNTED_BYTES)
        try:
            with self._uploads.count_upload(user_id):
                await receive_into(buffer, receive, limit_bytes)
            return BodyInFile(buffer.take_upload(), receive, is_upload=True), buffer.size_bytes
        finally:
            buffer.close()

    async def read_body(self, receive: Receive) -> IO[bytes]:
        """Return the body's file for Django; a body that is in a file already is not copied."""
        if isinstance(receive, BodyInFile):
            return receive.body
        return await super().read_body(receive)

    async def serve_in_time(
        self, serve: Callable[..., Awaitable[None]], scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve within DATABASE_TIMEOUT_SECONDS, else answer that the database is away.

        Uploads have UPLOAD_SECONDS. A late request is not cancelled: its thread waits for a frozen
        database, and nobody else has to.
        """
        is_answered = False
        is_late = False

        async def send_in_time(message: Message) -> None:
            nonlocal is_answered
            if not is_late:
                is_answered = True
                await send(message)

        task = asyncio.ensure_future(serve(scope, receive, send_in_time))
        patience_seconds: float = settings.DATABASE_TIMEOUT_SECONDS
        if isinstance(receive, BodyInFile) and receive.is_upload:
            patience_seconds = UPLOAD_SECONDS
        done, _ = await asyncio.wait({task}, timeout=patience_seconds)
        if done:
            task.result()
        elif is_answered:
            await task
        else:
            is_late = True
            self._late_tasks.add(task)
            task.add_done_callback(self._late_tasks.discard)
            away = DatabaseUnavailable("The database does not answer.", retry_after_seconds=2)
            await self.send_error(away, scope, send)


def make_replay(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body once more, in one message."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay_body() -> Message:
        return waiting.pop() if waiting else await receive()

    return replay_body
