"""A bound on password hashing, which takes a core for a good part of a second.

Answers need that core. Requests that may hash a password wait here, before they have a thread or a
database connection. In each process LOGINS_AT_ONCE of them run, and LOGINS_WAITING wait for
LOGIN_WAIT_SECONDS at most, of these LOGINS_WAITING_PER_ADDRESS from one address. All others get a
503 with Retry-After.
"""

import asyncio
import logging
from collections import Counter

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from providers.network.client_address import counted_address, render_caller_address
from proxysite.server.body_budget import BodyBudget
from proxysite.server.bounded_handler import BoundedHandler
from proxysite.server.content_security import add_policy

logger = logging.getLogger("audit")
RETRY_SECONDS = 10


class GateFull(Exception):
    """There is no place, and none came free in time."""


class PasswordGate:
    """A counter of places, one per process: take one before the work, release it after it."""

    def __init__(self) -> None:
        self._free_places = asyncio.Semaphore(settings.LOGINS_AT_ONCE)
        self._waiting_by_address: Counter[str | None] = Counter()

    async def acquire_place(self, address: str | None) -> None:
        """Wait for a place. Raises GateFull when too many wait, or after LOGIN_WAIT_SECONDS."""
        crowded = self._waiting_by_address[address] >= settings.LOGINS_WAITING_PER_ADDRESS
        if crowded or self._waiting_by_address.total() >= settings.LOGINS_WAITING:
            raise GateFull
        self._waiting_by_address[address] += 1
        try:
            async with asyncio.timeout(settings.LOGIN_WAIT_SECONDS):
                await self._free_places.acquire()
        except TimeoutError:
            raise GateFull from None
        finally:
            self._waiting_by_address[address] -= 1
            if not self._waiting_by_address[address]:
                del self._waiting_by_address[address]

    def release_place(self, *done: object) -> None:
        self._free_places.release()


class GatedHandler(BoundedHandler):
    """Django's request handler with the gate before its middleware.

    A waiting request has no thread, and its body has arrived. A middleware could not do this: one
    that must not run in the event loop makes all middleware before it run in a thread.
    """

    def __init__(self, budget: BodyBudget) -> None:
        super().__init__(budget)
        self._gate = PasswordGate()

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        if not may_hash_password(request):
            return await super().get_response_async(request)
        try:
            await self._gate.acquire_place(counted_address(request))
        except GateFull:
            logger.warning(
                "login refused, too many at once: from %s", render_caller_address(request)
            )
            return add_policy(answer_too_many_logins())
        return await self.answer_holding_place(request)

    async def answer_holding_place(self, request: HttpRequest) -> HttpResponseBase:
        """Answer, and hold the place until the work is done, even when the caller has left."""
        served = asyncio.ensure_future(super().get_response_async(request))
        served.add_done_callback(self._gate.release_place)
        try:
            return await asyncio.shield(served)
        except asyncio.CancelledError:
            await asyncio.wait({served})
            raise


def may_hash_password(request: HttpRequest) -> bool:
    """Return whether the request may hash a password: a login, a password change, a new user."""
    path = request.path_info
    if request.method != "POST" or not path.startswith(("/admin/", "/portal/")):
        return False
    new_users = ("/admin/auth/user/", "/portal/join/", "/portal/sign-up/")
    return path.endswith("/login/") or "password" in path or path.startswith(new_users)


def answer_too_many_logins() -> HttpResponse:
    text = b"Too many people log in at this moment. Try again in a few seconds.\n"
    answer = HttpResponse(text, content_type="text/plain; charset=utf-8", status=503)
    answer.headers["Retry-After"] = str(RETRY_SECONDS)
    answer.headers["Cache-Control"] = "no-store"
    return answer
