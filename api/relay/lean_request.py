"""The request of the relaying endpoints, and the ids of all requests."""

import random
import time
from collections.abc import Callable
from typing import IO, TYPE_CHECKING

from django.core.handlers.asgi import ASGIRequest

from api.authentication import Caller
from api.limits.access import find_access_refusal
from api.limits.caller_limits import CallerLimits
from api.limits.limit_headers import Headers, render_limit_headers
from api.relay.endpoint_names import name_endpoint

if TYPE_CHECKING:
    from api.relay.gateway import Gateway


class LeanRequest(ASGIRequest):
    """Django's request for the relaying endpoints.

    It carries the gateway, and reads its body only when the view asks for it.
    """

    gateway: "Gateway"
    request_id: str
    caller: Caller | None = None

    async def authenticate(self) -> Caller:
        """Return the caller, and count the request to its API key until the request ends.

        Raises InvalidKey, InvalidRequest, Forbidden, KeyLimitExceeded, DatabaseUnavailable.
        """
        caller = await self.gateway.keyring.identify_caller(self.META)
        if caller.limits is not None:
            self.require_access(caller, caller.limits)
        if caller.key_id is not None:
            self.gateway.key_requests.add_request(caller.key_id)
        self.caller = caller
        return caller

    def require_access(self, caller: Caller, limits: CallerLimits) -> None:
        """Raise Forbidden when the caller may not use this address from where it is."""
        refusal = find_access_refusal(limits, self)
        if refusal is not None:
            self.gateway.refused_requests.add_refusal(
                caller, self.request_id, self.ledger_endpoint, "", refusal
            )
            raise refusal.error

    def release_key_place(self) -> None:
        """Give back the request's place among those of its API key."""
        if self.caller is not None and self.caller.key_id is not None:
            self.gateway.key_requests.remove_request(self.caller.key_id)

    @property
    def ledger_endpoint(self) -> str:
        """Return the name of the endpoint for usage records, without the ids in its path."""
        match = self.resolver_match
        route = self.path[1:] if match is None else match.route
        return name_endpoint(route)

    def list_limit_headers(self) -> Headers:
        """Return the headers about the rest of the caller's limits."""
        if self.caller is None or self.caller.limits is None:
            return []
        return render_limit_headers(self.gateway.limits, self.caller.limits)

    async def receive_body(self) -> bytes:
        """Return the body, which has at most BODY_LIMIT_BYTES and arrives within BODY_SECONDS.

        The lean handler sets this method. Raises BodyTooLarge, RequestTimeout.
        """
        raise NotImplementedError

    async def receive_upload(self) -> IO[bytes]:
        """Return the body as a file; it has at most FORM_LIMIT_BYTES, and the caller closes it.

        The lean handler sets this method. Raises BodyTooLarge, RequestTimeout, Saturated,
        KeyLimitExceeded.
        """
        raise NotImplementedError

    def keep_open(self, file: IO[bytes]) -> None:
        """Close this file when the request has ended."""
        raise NotImplementedError

    def hold_body_memory(self) -> Callable[[object], None]:
        """Count the body's memory until the returned function is called.

        Used where the body is needed longer than the request lasts.
        """
        raise NotImplementedError


def new_request_id() -> str:
    """Return a new request id: `req_` and a UUIDv7.

    A UUIDv7 (RFC 9562) has 48 bits of milliseconds and then random bits, so that ids sort by time.
    """
    millis = time.time_ns() // 1_000_000
    noise = random.getrandbits(74)
    number = (
        (millis << 80) | (0x7 << 76) | ((noise >> 62) << 64) | (0b10 << 62) | (noise & (2**62 - 1))
    )
    return f"req_{number:032x}"
