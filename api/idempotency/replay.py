"""Endpoints that answer a request once: a repeated `Idempotency-Key` gets the stored answer.

A request without the header costs one look at its headers. A request with it is answered to its end
when its caller leaves, so that a repeated request gets the answer. With a key that may not store,
the header protects only while the request runs, and the work ends when the caller leaves.
"""

import asyncio
import hmac
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, cast

import msgspec
from django.conf import settings
from django.db import DatabaseError
from django.http import HttpResponse, HttpResponseBase

from api import exceptions
from api.idempotency import claims
from api.idempotency.claims import Answer, Asked, Claim
from api.streaming.stream_answer import JsonAnswer
from providers.database.database_threads import HOUSEKEEPING, in_time, off_loop
from providers.exceptions import (
    CallerError,
    DatabaseUnavailable,
    GatewayError,
    InvalidRequest,
    Rejected,
)

if TYPE_CHECKING:
    from api.relay.gateway import Gateway, LeanRequest

logger = logging.getLogger(__name__)

P = ParamSpec("P")
View = Callable[Concatenate["LeanRequest", P], Coroutine[Any, Any, HttpResponseBase]]

HEADER = "HTTP_IDEMPOTENCY_KEY"
KEY_LENGTH = 255
FINAL_STATUSES = (400, 404, 413, 415, 422)  # the request itself is at fault and would fail again
HASHED_INLINE_BYTES = 256 * 2**10
SHORTEST_SECONDS = 0.05  # shortest pause between two renewals of the claims


def idempotent(view: View[P]) -> View[P]:
    """Decorate an async view: a request with an Idempotency-Key is answered once."""

    @wraps(view, updated=())
    async def wrapped(
        request: "LeanRequest", *args: P.args, **kwargs: P.kwargs
    ) -> HttpResponseBase:
        if HEADER not in request.META:
            return await view(request, *args, **kwargs)
        return await answer_once(request, partial(view, request, *args, **kwargs))

    return cast(View[P], wrapped)


async def answer_once(
    request: "LeanRequest", answer: Callable[[], Coroutine[Any, Any, HttpResponseBase]]
) -> HttpResponseBase:
    """Answer a request with a key, or repeat its answer.

    Writes the claim and the answer. Raises GatewayError.
    """
    gateway = request.gateway
    began = time.monotonic()
    gateway.ledger.require()
    caller = await gateway.keyring.caller(request.META)
    raw = await read_body_once(request)
    if caller.user_id is None or not wants_whole_answer(raw):
        return await answer()
    key = require_key(request.META[HEADER])
    digest = await digest_of(f"{request.path}\n".encode(), raw)
    found = await gateway.idempotency.claim(Asked(caller.user_id, key, digest, request.request_id))
    if isinstance(found, Answer):
        return replayed(found, request.request_id, began)
    return await gateway.idempotency.run(gateway, found, answer, keeps=caller.stores)


async def read_body_once(request: "LeanRequest") -> bytes:
    """Return the body, and keep it for the view to read again."""
    raw = await request.whole_body()

    async def body_again(*args: Any, **kwargs: Any) -> bytes:
        return raw

    request.whole_body = body_again  # type: ignore[method-assign]
    return raw


class Wanted(msgspec.Struct):
    """The fields of a body that say how its answer is wanted."""

    stream: Any = None
    background: Any = None


def wants_whole_answer(raw: bytes) -> bool:
    """Return whether the body asks for one JSON answer; the view reports errors of the body."""
    try:
        wanted = msgspec.json.decode(raw, type=Wanted)
    except (msgspec.DecodeError, RecursionError):
        return False
    return not wanted.stream and not wanted.background


def require_key(key: str) -> str:
    """Return the key.

    Raises InvalidRequest unless it has 1 to 255 printable ASCII characters.
    """
    if not 1 <= len(key) <= KEY_LENGTH or not (key.isascii() and key.isprintable()):
        raise InvalidRequest(
            f"An Idempotency-Key has 1 to {KEY_LENGTH} printable ASCII characters.",
            code="invalid_idempotency_key",
        )
    return key


async def digest_of(*parts: bytes) -> str:
    """Return a digest that only this server can make, so that it reveals nothing about the body."""
    text = b"".join(parts)
    pepper = f"idempotency:{settings.KEY_PEPPER}".encode()
    if len(text) <= HASHED_INLINE_BYTES:
        return hmac.digest(pepper, text, "sha256").hex()
    found = await asyncio.get_running_loop().run_in_executor(
        None, hmac.digest, pepper, text, "sha256"
    )
    return found.hex()


def replayed(kept: Answer, request_id: str, began: float) -> HttpResponse:
    """Return a stored answer with a header that says it is a repeated one."""
    response = JsonAnswer(kept.content, request_id, began)
    response.status_code = kept.status
    response["idempotent-replayed"] = "true"
    return response


def is_final(error: GatewayError) -> bool:
    """Return whether the same request would get the same error again, by its own fault."""
    return isinstance(error, CallerError | Rejected) and error.shown_status in FINAL_STATUSES


class Idempotency:
    """The requests with keys that this process answers; `running` maps holders to their rows."""

    def __init__(self) -> None:
        self.running: dict[str, int] = {}
        self._left: set[asyncio.Task[HttpResponseBase]] = set()  # tasks whose callers have left
        self._releasing: set[asyncio.Task[None]] = set()

    async def claim(self, asked: Asked) -> Claim | Answer:
        """Claim a key, or return its stored answer.

        Raises CallerError, DatabaseUnavailable.
        """
        work = asyncio.ensure_future(off_loop(claims.claim_key, asked))
        try:
            return await in_time(asyncio.shield(work))
        except (DatabaseUnavailable, asyncio.CancelledError):
            work.add_done_callback(self._release_late)
            raise

    def _release_late(self, work: "asyncio.Future[Claim | Answer]") -> None:
        """Release a claim that came too late: its request does not wait any more."""
        if not work.cancelled() and work.exception() is None and isinstance(work.result(), Claim):
            self._release(work.result())  # type: ignore[arg-type]

    async def run(
        self,
        gateway: "Gateway",
        claim: Claim,
        answer: Callable[[], Coroutine[Any, Any, HttpResponseBase]],
        *,
        keeps: bool,
    ) -> HttpResponseBase:
        """Answer the request and store the answer.

        When the caller leaves and the answer may be stored (`keeps`), the work goes on.
        """
        self.running[claim.holder] = claim.row_id
        task = asyncio.create_task(self._answer_and_keep(claim, answer, keeps=keeps))
        task.add_done_callback(lambda done: self.running.pop(claim.holder, None))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError as cancelled:
            if keeps and not cancelled.args:  # with arguments, the server is shutting down
                gateway.in_flight += 1
                self._left.add(task)
                task.add_done_callback(partial(self._forget, gateway))
            else:
                task.cancel(*cancelled.args)
                await asyncio.wait([task])
            raise

    def _forget(self, gateway: "Gateway", task: "asyncio.Task[HttpResponseBase]") -> None:
        gateway.in_flight -= 1
        self._left.discard(task)
        if not task.cancelled():
            task.exception()  # read, so that asyncio does not report it

    async def _answer_and_keep(
        self, claim: Claim, answer: Callable[[], Awaitable[HttpResponseBase]], *, keeps: bool
    ) -> HttpResponseBase:
        try:
            response = await answer()
        except GatewayError as error:
            if keeps and is_final(error):
                whole = exceptions.answer(error, claim.holder)
                await self._keep(claim, Answer(whole.status_code, whole.content))
            else:
                self._release(claim)
            raise
        except BaseException:
            self._release(claim)
            raise
        if not keeps or not isinstance(response, HttpResponse):
            self._release(claim)
        elif not await self._keep(claim, Answer(response.status_code, response.content)):
            response["idempotent-stored"] = "false"
        return response

    async def _keep(self, claim: Claim, answer: Answer) -> bool:
        """Store the answer, and return whether it is stored.

        An answer that cannot be stored is sent all the same, as it is paid for.
        """
        try:
            return await in_time(off_loop(claims.keep_answer, claim, answer))
        except DatabaseUnavailable as error:
            logger.warning("the answer to an idempotent request is not kept: %s", error)
            return False

    def _release(self, claim: Claim) -> None:
        task = asyncio.ensure_future(self._release_now(claim))
        self._releasing.add(task)
        task.add_done_callback(self._releasing.discard)

    @staticmethod
    async def _release_now(claim: Claim) -> None:
        try:
            await off_loop(claims.release_key, claim)
        except DatabaseError as error:
            logger.warning("an idempotency key is released only when its lease ends: %s", error)

    # --- housekeeping -----------------------------------------------------------------------------
    async def keep(self) -> None:
        """Renew the claims of running requests, until cancelled."""
        while True:
            await asyncio.sleep(max(SHORTEST_SECONDS, settings.IDEMPOTENCY_LEASE_SECONDS / 3))
            if self.running:
                try:
                    await HOUSEKEEPING.run(claims.renew_claims, dict(self.running))
                except DatabaseError as error:
                    logger.warning("the claims of idempotency keys were not renewed: %s", error)

    async def stop(self, seconds: float) -> None:
        """Let work without a caller end within so many seconds, then cancel it."""
        if self._left:
            await asyncio.wait(set(self._left), timeout=seconds)
        for task in self._left:
            task.cancel("shutdown")
        await asyncio.gather(*self._left, return_exceptions=True)
        await asyncio.gather(*self._releasing, return_exceptions=True)
