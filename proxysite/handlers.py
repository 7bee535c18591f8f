"""The two request handlers: a lean one for the relaying doors, and Django's own with a bound on what it buffers.

The lean handler keeps Django's request, URLconf, async middleware and async views, but no thread-sensitive context, no
start and finish signals, and one task per request: a server that knows how tells it when the caller leaves
(`proxysite/server.py`); under any other server a watcher does.
"""

import asyncio
import io
import logging
from collections.abc import Awaitable, Callable
from typing import IO, Any, cast

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import ResolverMatch
from django.utils.module_loading import import_string

from api import exceptions
from api.gateway import Gateway, LeanRequest
from api.streaming import JsonAnswer, StreamAnswer
from api.views.relay import new_request_id
from providers.exceptions import (
    DatabaseUnavailable,
    GatewayError,
    InternalError,
    InvalidRequest,
    Saturated,
    ShuttingDown,
)
from proxysite.bodies import (
    FORM_BYTES,
    UPLOADS,
    CallerLeft,
    Message,
    Receive,
    Spooled,
    Uploads,
    read_body,
    refuse_announced,
    spooled,
    uploader,
    with_length,
)

logger = logging.getLogger(__name__)

Send = Callable[[Message], Awaitable[None]]
LEAVE = "proxysite.leave"  # scope key: a list of callbacks that the server calls when the caller has left
IMPATIENT = ("/v1/", "/health")  # programs call these: they are told when the database hangs
UPLOAD_SECONDS = 30.0  # to keep and read a file that is here
BODY_LIMIT_BYTES: int = settings.BODY_LIMIT_BYTES


class Leaving:
    """Called when the caller has left: cancels the request's task, and remembers that it was so."""

    __slots__ = ("gone", "task")

    def __init__(self) -> None:
        self.task, self.gone = asyncio.current_task(), False

    def __call__(self) -> None:
        self.gone = True
        if self.task is not None:
            self.task.cancel()


class RelayRequest(LeanRequest):
    """A lean request on one connection."""

    receive: Receive

    async def whole_body(self) -> bytes:
        return await read_body(self.scope, self.receive, BODY_LIMIT_BYTES)


class LeanHandler(ASGIHandler):
    """Serves the relaying doors once `gateway` is set."""

    request_class = RelayRequest

    def __init__(self) -> None:
        super().__init__()
        self.gateway: Gateway | None = None
        self._cors = import_string("corsheaders.middleware.CorsMiddleware")(self.view)
        self._most = settings.REQUESTS_IN_FLIGHT
        self._matches: dict[str, ResolverMatch] = {}

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        """By the URLconf, once per address: only a handful comes here (`proxysite.urls.served_lean`)."""
        match = self._matches.get(request.path_info)
        if match is None:
            match = super().resolve_request(request)
            if not match.kwargs:  # those with a name in them are without number
                self._matches[request.path_info] = match
        request.resolver_match = match
        return match

    def load_middleware(self, is_async: bool = False) -> None:
        """None but CORS, which only the requests of browsers pass through."""

    async def view(self, request: HttpRequest) -> HttpResponseBase:
        """Resolve and call the view; the last resort for what it lets through."""
        try:
            callback, args, kwargs = self.resolve_request(request)
            return await cast(Awaitable[HttpResponseBase], callback(request, *args, **kwargs))
        except CallerLeft:
            raise
        except Exception:
            logger.exception("a request failed by a fault of ours")
            return exceptions.answer(InternalError("Something went wrong here."), exceptions.request_id(request))

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        gateway, request_id = self.gateway, new_request_id()
        if gateway is None or gateway.in_flight >= self._most:
            error = Saturated("Too many requests are running.") if gateway else ShuttingDown("The server is not ready.")
            error.retry_after_seconds = 1
            await self.send_response(exceptions.answer(error, request_id), send)
            return
        left, watcher, response = Leaving(), None, None
        if LEAVE in scope:
            scope[LEAVE].append(left)
        gateway.in_flight += 1
        try:
            request = self.request_class(scope, io.BytesIO())
            request.gateway, request.request_id, request.receive = gateway, request_id, receive
            response = await (self._cors if "HTTP_ORIGIN" in request.META else self.view)(request)
            if LEAVE not in scope:
                watcher = asyncio.create_task(watch(receive, left))
            await self.send_response(response, send)
        except CallerLeft:
            return
        except UnicodeDecodeError:
            unreadable = InvalidRequest("The request's address is not UTF-8.")
            await self.send_response(exceptions.answer(unreadable, request_id), send)
        except asyncio.CancelledError:
            # the edge of the task: either the caller left, or the server ends and a stream has said so already
            if not left.gone and response is None:
                await self.send_response(
                    exceptions.answer(ShuttingDown("The server is shutting down."), request_id), send
                )
        finally:
            gateway.in_flight -= 1
            if watcher is not None:
                watcher.cancel()

    async def send_response(self, response: HttpResponseBase, send: Send) -> None:
        if isinstance(response, StreamAnswer):
            await response.relay(send)
            return
        headers = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
        if isinstance(response, JsonAnswer):
            headers += response.raw_headers
        content = cast(HttpResponse, response).content
        headers.append((b"content-length", b"%d" % len(content)))
        await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": content})


async def watch(receive: Receive, left: Leaving) -> None:
    """Wait until the caller leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass
    left()


class BoundedHandler(ASGIHandler):
    """Django's own handler, with a bound on what it buffers: less for requests that carry no credential."""

    def __init__(self) -> None:
        super().__init__()
        self._late: set[asyncio.Future[None]] = set()
        self._uploads = Uploads()

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        known = any(name in (b"authorization", b"x-api-key", b"cookie") for name, _ in scope["headers"])
        try:
            replay, size = await self.taken_in(scope, receive, known)
        except CallerLeft:
            return
        except (GatewayError, DatabaseError) as error:
            problem = exceptions.own(error) or InternalError("Something went wrong here.")
            await self.send_response(exceptions.answer(problem, new_request_id()), send)
            return
        scope = with_length(scope, size)
        if scope["path"].startswith(IMPATIENT):
            await self.in_time(super().__call__, scope, replay, send)
        else:
            await super().__call__(scope, replay, send)

    async def taken_in(self, scope: Message, receive: Receive, known: bool) -> tuple[Receive, int]:
        """What gives the whole body once more, and its length. Raises like `read_body`."""
        if known and scope["method"] == "POST" and scope["path"] in UPLOADS:
            refuse_announced(scope, settings.FILE_LIMIT_BYTES + FORM_BYTES)
            with self._uploads.one(await uploader(scope)):
                file = await spooled(scope, receive, settings.FILE_LIMIT_BYTES + FORM_BYTES)
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
            return Spooled(file, receive), size
        body = await read_body(scope, receive, BODY_LIMIT_BYTES if known else settings.OPEN_BODY_LIMIT_BYTES)
        waiting = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return waiting.pop() if waiting else await receive()

        return replay, len(body)

    async def read_body(self, receive: Receive) -> IO[bytes]:
        """Django's way to a request's body: no second copy of one that is in a file."""
        return receive.body if isinstance(receive, Spooled) else await super().read_body(receive)

    async def in_time(self, serve: Callable[..., Awaitable[None]], scope: Any, receive: Receive, send: Send) -> None:
        """Serve within the database's patience, else answer that it is away.

        What is late is left to itself, not cancelled: its thread waits for a frozen database, nobody else may.
        """
        answered = late = False

        async def send_in_time(message: Message) -> None:
            nonlocal answered
            if not late:
                answered = True
                await send(message)

        task = asyncio.ensure_future(serve(scope, receive, send_in_time))
        patience = UPLOAD_SECONDS if isinstance(receive, Spooled) else settings.DATABASE_TIMEOUT_SECONDS
        done, _ = await asyncio.wait({task}, timeout=patience)
        if done:
            task.result()
        elif answered:
            await task
        else:
            late = True
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            away = DatabaseUnavailable("The database does not answer.", retry_after_seconds=2)
            await self.send_response(exceptions.answer(away, new_request_id()), send)
