"""Endpoints that answer a request once: a repeated `Idempotency-Key` gets the stored answer.

A request without the header costs one look at its headers. A request with it is answered to its end
when its caller leaves, so that a repeated request gets the answer. With a key that may not store,
the header protects only while the request runs, and the work ends when the caller leaves.
"""

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Coroutine
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, NamedTuple, ParamSpec, cast

import msgspec
from django.conf import settings
from django.db import DatabaseError
from django.http import HttpResponse, HttpResponseBase

from api import exceptions
from api.idempotency import claims
from api.idempotency.claims import Claim, KeyedRequest, StoredAnswer
from api.streaming.stream_answer import JsonAnswer
from providers.database.database_threads import HOUSEKEEPING, await_in_time, run_in_thread
from providers.exceptions import (
    CallerError,
    DatabaseUnavailable,
    GatewayError,
    InvalidRequest,
    Rejected,
)

if TYPE_CHECKING:
    from api.relay.gateway import Gateway
    from api.relay.lean_request import LeanRequest

logger = logging.getLogger(__name__)

P = ParamSpec("P")
View = Callable[Concatenate["LeanRequest", P], Coroutine[Any, Any, HttpResponseBase]]
AnswerRequest = Callable[[], Coroutine[Any, Any, HttpResponseBase]]

KEY_HEADER = "HTTP_IDEMPOTENCY_KEY"
KEY_LENGTH = 255
FINAL_STATUSES = (400, 404, 413, 415, 422)  # the request itself is at fault and would fail again
HASHED_INLINE_BYTES = 256 * 2**10
SHORTEST_RENEWAL_SECONDS = 0.05  # shortest pause between two renewals of the claims


def make_idempotent(view: View[P]) -> View[P]:
    """Decorate an async view: a request with an Idempotency-Key is answered once."""

    @wraps(view, updated=())
    async def call_view(
        request: "LeanRequest", *args: P.args, **kwargs: P.kwargs
    ) -> HttpResponseBase:
        if KEY_HEADER not in request.META:
            return await view(request, *args, **kwargs)
        return await answer_once(request, partial(view, request, *args, **kwargs))

    return cast(View[P], call_view)


async def answer_once(request: "LeanRequest", answer: AnswerRequest) -> HttpResponseBase:
    """Answer a request with a key, or repeat its answer.

    Writes the claim and the answer. Raises GatewayError.
    """
    gateway = request.gateway
    began = time.monotonic()
    gateway.ledger.require_available()
    caller = await gateway.keyring.identify_caller(request.META)
    raw = await read_body_once(request)
    if caller.user_id is None or not wants_whole_answer(raw):
        return await answer()
    key = require_key(request.META[KEY_HEADER])
    digest = await digest_request(f"{request.path}\n".encode(), raw)
    claim = await gateway.idempotency.claim_key(
        KeyedRequest(caller.user_id, key, digest, request.request_id)
    )
    if isinstance(claim, StoredAnswer):
        return render_stored_answer(claim, request.request_id, began)
    render = partial(exceptions.render_error, request_id=claim.holder, path=request.path)
    return await gateway.idempotency.answer_request(
        gateway, claim, ClaimedWork(answer, render), can_store=caller.can_store
    )


async def read_body_once(request: "LeanRequest") -> bytes:
    """Return the body, and keep it for the view to read again."""
    raw = await request.receive_body()

    async def return_body(*args: object, **kwargs: object) -> bytes:
        return raw

    request.receive_body = return_body  # type: ignore[method-assign]
    return raw


class WantedAnswer(msgspec.Struct):
    """The fields of a body that say how its answer is wanted."""

    stream: object = None
    background: object = None


def wants_whole_answer(raw: bytes) -> bool:
    """Return whether the body asks for one JSON answer; the view reports errors of the body."""
    try:
        wanted = msgspec.json.decode(raw, type=WantedAnswer)
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


async def digest_request(*parts: bytes) -> str:
    """Return a digest that only this server can make, so that it reveals nothing about the body."""
    text = b"".join(parts)
    pepper = f"idempotency:{settings.KEY_PEPPER}".encode()
    if len(text) <= HASHED_INLINE_BYTES:
        return hmac.digest(pepper, text, "sha256").hex()
    digest = await asyncio.get_running_loop().run_in_executor(
        None, hmac.digest, pepper, text, "sha256"
    )
    return digest.hex()


def render_stored_answer(
    stored_answer: StoredAnswer, request_id: str, began: float
) -> HttpResponse:
    """Return a stored answer with a header that says it is a repeated one."""
    response = JsonAnswer(stored_answer.content, request_id, began)
    response.status_code = stored_answer.status
    response["idempotent-replayed"] = "true"
    return response


def is_final(error: GatewayError) -> bool:
    """Return whether the same request would get the same error again, by its own fault."""
    return isinstance(error, CallerError | Rejected) and error.shown_status in FINAL_STATUSES


class ClaimedWork(NamedTuple):
    """The functions that answer a request, and that make the answer to an error of it."""

    answer: AnswerRequest
    render_error: Callable[[GatewayError], HttpResponse]


class Idempotency:
    """The requests with keys that this process answers.

    `running_claims` maps holders to their rows.
    """

    def __init__(self) -> None:
        self.running_claims: dict[str, int] = {}
        # tasks whose callers have left
        self._callerless_tasks: set[asyncio.Task[HttpResponseBase]] = set()
        self._release_tasks: set[asyncio.Task[None]] = set()

    async def claim_key(self, keyed_request: KeyedRequest) -> Claim | StoredAnswer:
        """Claim a key, or return its stored answer.

        Raises CallerError, DatabaseUnavailable.
        """
        work = asyncio.ensure_future(run_in_thread(claims.claim_key, keyed_request))
        try:
            return await await_in_time(asyncio.shield(work))
        except (DatabaseUnavailable, asyncio.CancelledError):
            work.add_done_callback(self._release_late_claim)
            raise

    def _release_late_claim(self, work: "asyncio.Future[Claim | StoredAnswer]") -> None:
        """Release a claim that came too late: its request does not wait any more."""
        if work.cancelled() or work.exception() is not None:
            return
        claim = work.result()
        if isinstance(claim, Claim):
            self._start_release(claim)

    async def answer_request(
        self,
        gateway: "Gateway",
        claim: Claim,
        work: ClaimedWork,
        *,
        can_store: bool,
    ) -> HttpResponseBase:
        """Answer the request and store the answer.

        When the caller leaves and the answer may be stored (`can_store`), the work goes on.
        """
        self.running_claims[claim.holder] = claim.row_id
        task = asyncio.create_task(self._answer_and_store(claim, work, can_store=can_store))
        task.add_done_callback(lambda done: self.running_claims.pop(claim.holder, None))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError as cancelled:
            if can_store and not cancelled.args:  # with arguments, the server is shutting down
                gateway.requests_in_flight += 1
                self._callerless_tasks.add(task)
                task.add_done_callback(partial(self._forget_task, gateway))
            else:
                task.cancel(*cancelled.args)
                await asyncio.wait([task])
            raise

    def _forget_task(self, gateway: "Gateway", task: "asyncio.Task[HttpResponseBase]") -> None:
        gateway.requests_in_flight -= 1
        self._callerless_tasks.discard(task)
        if not task.cancelled():
            task.exception()  # read, so that asyncio does not report it

    async def _answer_and_store(
        self, claim: Claim, work: ClaimedWork, *, can_store: bool
    ) -> HttpResponseBase:
        try:
            response = await work.answer()
        except GatewayError as error:
            if can_store and is_final(error):
                answer_to_error = work.render_error(error)
                await self._store_answer(
                    claim, StoredAnswer(answer_to_error.status_code, answer_to_error.content)
                )
            else:
                self._start_release(claim)
            raise
        except BaseException:  # also when the caller left; the key is free for another try
            self._start_release(claim)
            raise
        if not can_store or not isinstance(response, HttpResponse):
            self._start_release(claim)
        elif not await self._store_answer(
            claim, StoredAnswer(response.status_code, response.content)
        ):
            response["idempotent-stored"] = "false"
        return response

    async def _store_answer(self, claim: Claim, answer: StoredAnswer) -> bool:
        """Store the answer, and return whether it is stored.

        An answer that cannot be stored is sent all the same, as it is paid for.
        """
        try:
            return await await_in_time(run_in_thread(claims.store_answer, claim, answer))
        except DatabaseUnavailable as error:
            logger.warning("the answer to an idempotent request is not stored: %s", error)
            return False

    def _start_release(self, claim: Claim) -> None:
        task = asyncio.ensure_future(self._release_claim(claim))
        self._release_tasks.add(task)
        task.add_done_callback(self._release_tasks.discard)

    @staticmethod
    async def _release_claim(claim: Claim) -> None:
        try:
            await run_in_thread(claims.release_key, claim)
        except DatabaseError as error:
            logger.warning("an idempotency key is released only when its lease ends: %s", error)

    # --- housekeeping -----------------------------------------------------------------------------
    async def renew_until_cancelled(self) -> None:
        """Renew the claims of running requests, until cancelled."""
        while True:
            await asyncio.sleep(
                max(SHORTEST_RENEWAL_SECONDS, settings.IDEMPOTENCY_LEASE_SECONDS / 3)
            )
            if not self.running_claims:
                continue
            try:
                await HOUSEKEEPING.run_work(claims.renew_claims, dict(self.running_claims))
            except DatabaseError as error:
                logger.warning("the claims of idempotency keys were not renewed: %s", error)

    async def stop_tasks(self, seconds: float) -> None:
        """Let work without a caller end within so many seconds, then cancel it."""
        if self._callerless_tasks:
            await asyncio.wait(set(self._callerless_tasks), timeout=seconds)
        for task in self._callerless_tasks:
            task.cancel("shutdown")
        await asyncio.gather(*self._callerless_tasks, return_exceptions=True)
        await asyncio.gather(*self._release_tasks, return_exceptions=True)
