"""The request handler of the relaying endpoints; `bounded_handler.py` has that of all others.

It keeps Django's request, URLconf, async middleware and async views. It leaves out the
thread-sensitive context and the start and finish signals, and runs one task per request. Our
connections (`connections/caller_connection.py`) tell it when the caller leaves; under any other
server a watcher task does.
"""

import asyncio
import io
import logging
from collections.abc import Awaitable, Callable
from typing import IO, Any, cast

from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.urls import ResolverMatch
from django.utils.module_loading import import_string

from api import exceptions
from api.relay.gateway import Gateway
from api.relay.lean_request import LeanRequest, new_request_id
from api.streaming.relayed_answer import AnswerCut, RelayedAnswer
from api.streaming.stream_answer import JsonAnswer, StreamAnswer
from providers.exceptions import (
    GatewayError,
    InternalError,
    InvalidRequest,
    Saturated,
    ShuttingDown,
)
from proxysite.server.body_budget import (
    COUNTED_BYTES,
    BodyBudget,
    BodyShare,
    Owner,
    largest_body_bytes,
)
from proxysite.server.compressed_bodies import unpack_body
from proxysite.server.request_bodies import (
    WHOLE_REQUEST,
    BodyBuffer,
    CallerLeft,
    Message,
    Receive,
    read_body,
    receive_into,
    refuse_large_announced,
    require_readable_address,
)

logger = logging.getLogger(__name__)

Send = Callable[[Message], Awaitable[None]]
# type of a message that has status, headers and body of a whole answer; a server that takes it has
# `LEAVE_CALLBACKS` in its scopes
WHOLE_ANSWER = "proxysite.whole_answer"
# type of a message that closes the connection in the middle of an answer; of the same servers
CUT_ANSWER = "proxysite.cut_answer"
# scope key: a list of callbacks that the server calls when the caller has left
LEAVE_CALLBACKS = "proxysite.leave"
READINESS_PROBE_PATH = "/readyz"  # a probe of the process is answered even under full load


class LeaveCallback:
    """A callback for the caller's leaving: it cancels the request's task and sets `has_left`."""

    __slots__ = ("has_left", "task")

    def __init__(self) -> None:
        self.task = asyncio.current_task()
        self.has_left = False

    def __call__(self) -> None:
        self.has_left = True
        if self.task is not None:
            self.task.cancel()


class RelayRequest(LeanRequest):
    """A lean request on one connection."""

    receive: Receive
    budget: BodyBudget
    share: BodyShare | None = None
    _open_file: IO[bytes] | None = None

    async def receive_body(self) -> bytes:
        scope, receive = self.scope, self.receive
        if "HTTP_CONTENT_ENCODING" in self.META:
            scope, receive = unpack_body(scope, receive)
        if WHOLE_REQUEST not in scope:
            self.share = self.budget.open_share(self.body_owner)
        return await read_body(scope, receive, largest_body_bytes(), self.share)

    async def receive_upload(self) -> IO[bytes]:
        scope, receive = unpack_body(self.scope, self.receive)
        refuse_large_announced(scope, settings.FORM_LIMIT_BYTES)
        self.share = self.budget.open_share(self.body_owner)
        buffer = BodyBuffer(COUNTED_BYTES, self.share)
        try:
            await receive_into(buffer, receive, settings.FORM_LIMIT_BYTES)
            return buffer.take_upload()
        finally:
            buffer.close()

    def keep_open(self, file: IO[bytes]) -> None:
        self._open_file = file

    def hold_body_memory(self) -> Callable[[object], None]:
        share = self.share
        self.share = None
        return lambda done: share.release_bytes() if share is not None else None

    @property
    def body_owner(self) -> Owner:
        """Return the owner to whom a large body is counted.

        Callers who bring tokens of an upstream are counted together.
        """
        key_id = self.caller.key_id if self.caller is not None else None
        return key_id if key_id is not None else "callers without an API key"

    def release_resources(self) -> None:
        """Give back the request's place among those of its API key, and the bytes of its body."""
        if self._open_file is not None:
            self._open_file.close()
        if self.share is not None:
            self.share.release_bytes()
        self.release_key_place()


class Exchange:
    """One request and its response, with everything that is given back at its end."""

    __slots__ = ("_receive", "_watcher", "on_leave", "request", "response")

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watcher: asyncio.Task[None] | None = None
        self.on_leave = LeaveCallback()
        self.request: RelayRequest | None = None
        self.response: HttpResponseBase | None = None

    def watch_caller(self) -> None:
        """Watch for the caller's leaving, under a server that does not tell of it."""
        self._watcher = asyncio.create_task(watch_for_leaving(self._receive, self.on_leave))

    def close(self) -> None:
        """Give back the request's places and memory, and end the watching."""
        if self.request is not None:
            self.request.release_resources()
        if self._watcher is not None:
            self._watcher.cancel()


class LeanHandler(ASGIHandler):
    """The handler of the relaying endpoints; it serves once `gateway` is set."""

    request_class = RelayRequest

    def __init__(self, budget: BodyBudget) -> None:
        super().__init__()
        self.gateway: Gateway | None = None
        self.budget = budget
        self._cors_view = import_string("corsheaders.middleware.CorsMiddleware")(self.call_view)
        self._most_requests = settings.REQUESTS_IN_FLIGHT
        self._cached_matches: dict[str, ResolverMatch] = {}

    def resolve_request(self, request: HttpRequest) -> ResolverMatch:
        """Resolve the address by the URLconf; an address without a parameter is remembered.

        Only a handful of addresses come here (`lean_routes.py`).
        """
        match = self._cached_matches.get(request.path_info)
        if match is None:
            match = super().resolve_request(request)
            if not match.kwargs:  # addresses with a parameter are unlimited in number
                self._cached_matches[request.path_info] = match
        request.resolver_match = match
        return match

    def load_middleware(self, is_async: bool = False) -> None:
        """Load no middleware; only requests of browsers pass through CORS."""

    async def call_view(self, request: HttpRequest) -> HttpResponseBase:
        """Resolve and call the view. An exception that no view expects becomes a 500 here."""
        try:
            callback, args, kwargs = self.resolve_request(request)
            return await cast(Awaitable[HttpResponseBase], callback(request, *args, **kwargs))
        except CallerLeft:
            raise
        except Exception:  # the last resort: nothing above answers the caller
            logger.exception("a request failed by a fault of ours")
            return exceptions.render_error(
                InternalError("Something went wrong here."),
                exceptions.get_request_id(request),
                request.path,
            )

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        request_id = new_request_id()
        refusal = self.find_refusal(scope["path"])
        if refusal is not None:
            refused = exceptions.render_error(refusal, request_id, scope["path"])
            await self.write_response(refused, scope, send)
            return
        gateway = self.gateway
        assert gateway is not None  # noqa: S101 - else it is refused
        exchange = Exchange(receive)
        if LEAVE_CALLBACKS in scope:
            scope[LEAVE_CALLBACKS].append(exchange.on_leave)
        gateway.requests_in_flight += 1
        try:
            require_readable_address(scope)
            request = exchange.request = self.build_request(scope, receive, request_id)
            answer = self._cors_view if "HTTP_ORIGIN" in request.META else self.call_view
            response = exchange.response = await answer(request)
            if LEAVE_CALLBACKS not in scope:
                exchange.watch_caller()
            await self.write_response(response, scope, send)
        except CallerLeft:
            return
        except AnswerCut:
            if LEAVE_CALLBACKS not in scope:
                raise  # any server closes the connection then, and logs the error
            await send({"type": CUT_ANSWER})
        except (InvalidRequest, UnicodeDecodeError) as error:  # the address cannot be read
            unreadable = exceptions.as_gateway_error(error) or InvalidRequest(
                "The request's address is not UTF-8."
            )
            response = exceptions.render_error(unreadable, request_id, scope["path"])
            await self.write_response(response, scope, send)
        except asyncio.CancelledError:
            # Only two things cancel this task: the caller left, or the server ends. In the second
            # case a stream that has begun has already sent its error.
            if not exchange.on_leave.has_left and exchange.response is None:
                shutdown = ShuttingDown("The server is shutting down.")
                await self.write_response(
                    exceptions.render_error(shutdown, request_id, scope["path"]), scope, send
                )
        finally:
            gateway.requests_in_flight -= 1
            exchange.close()

    def find_refusal(self, path: str) -> GatewayError | None:
        """Return why no request to this path can be taken now, or None."""
        if self.gateway is None:
            return ShuttingDown("The server is not ready.", retry_after_seconds=1)
        is_full = self.gateway.requests_in_flight >= self._most_requests
        if is_full and path != READINESS_PROBE_PATH:
            return Saturated("Too many requests are running.", retry_after_seconds=1)
        return None

    def build_request(
        self, scope: dict[str, Any], receive: Receive, request_id: str
    ) -> RelayRequest:
        """Return Django's request with everything that the views of this handler use."""
        request = self.request_class(scope, io.BytesIO())
        assert self.gateway is not None  # noqa: S101
        request.gateway = self.gateway
        request.request_id = request_id
        request.receive = receive
        request.budget = self.budget
        return request

    async def write_response(
        self, response: HttpResponseBase, scope: dict[str, Any], send: Send
    ) -> None:
        if isinstance(response, StreamAnswer | RelayedAnswer):
            await response.send_answer(send)
            return
        headers = [
            (name.lower().encode("ascii"), value.encode("latin-1"))
            for name, value in response.items()
        ]
        if isinstance(response, JsonAnswer):
            headers += response.raw_headers
        content = cast(HttpResponse, response).content
        headers.append((b"content-length", b"%d" % len(content)))
        status = response.status_code
        if LEAVE_CALLBACKS in scope and scope["method"] != "HEAD":
            await send(
                {"type": WHOLE_ANSWER, "status": status, "headers": headers, "body": content}
            )
            return
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


async def watch_for_leaving(receive: Receive, on_leave: LeaveCallback) -> None:
    """Wait until the caller leaves, and call `on_leave`."""
    while (await receive())["type"] != "http.disconnect":
        pass
    on_leave()
