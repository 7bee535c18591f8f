"""One line of a batch as a request: it goes the way of every request, without a connection.

The key is checked again for each line, by its digest: the key itself is stored nowhere. Endpoint
rights, addresses, models, limits and budgets are those of the key at that moment.
"""

import io
import logging
from typing import TYPE_CHECKING, NamedTuple, cast

from django.http import HttpResponse, HttpResponseBase

from api import exceptions
from api.authentication import Caller
from api.batches.batch_endpoints import find_view
from api.error_headers import ErrorAnswer
from api.models.usage_record import BATCH_CLIENT
from api.relay.client_names import OWN_CLIENT
from api.relay.lean_request import LeanRequest, new_request_id
from providers.exceptions import InternalError

if TYPE_CHECKING:
    from api.relay.gateway import Gateway

logger = logging.getLogger(__name__)


class LineSender(NamedTuple):
    """The sender of the lines of a batch, and the endpoint to which they go."""

    endpoint: str
    key_digest: str
    address: str  # from where the batch was made; empty: unknown


class LineAnswer(NamedTuple):
    """The answer to one line. `retry_seconds` is None where it names no time."""

    status: int
    body: bytes
    request_id: str
    retry_seconds: float | None = None
    is_final: bool = False  # the same request would fail again
    error_code: str = ""  # of an error; the bodies of some endpoints' errors have none


class LineRequest(LeanRequest):
    """The request that a line of a batch is."""

    def __init__(self, gateway: "Gateway", sender: LineSender, body: bytes) -> None:
        client = [sender.address, 0] if sender.address else None
        headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
        scope = {
            "type": "http",
            "method": "POST",
            "path": sender.endpoint,
            "query_string": b"",
            "headers": headers,
            "client": client,
        }
        super().__init__(scope, io.BytesIO())
        self.META[OWN_CLIENT] = BATCH_CLIENT
        self.gateway = gateway
        self.request_id = new_request_id()
        self.resolver_match = find_view(sender.endpoint)
        self._key_digest = sender.key_digest
        self._raw_body = body

    async def authenticate(self) -> Caller:
        """Return the caller whose key made the batch, if the key is still valid.

        Raises InvalidKey, Forbidden, KeyLimitExceeded, DatabaseUnavailable.
        """
        caller = await self.gateway.keyring.identify_digest(self._key_digest)
        if caller.limits is not None:
            self.require_access(caller, caller.limits)
        self.gateway.key_requests.add_request(cast(int, caller.key_id))
        self.caller = caller
        return caller

    async def receive_body(self) -> bytes:
        """Return the line's body."""
        return self._raw_body


async def answer_line(gateway: "Gateway", sender: LineSender, body: bytes) -> LineAnswer:
    """Answer one line; an error is an answer, too. Writes the usage record.

    A fault of ours is logged and answered with 500, as it is for every request.
    """
    request = LineRequest(gateway, sender, body)
    assert request.resolver_match is not None  # noqa: S101 - the endpoint was checked
    try:
        response: HttpResponseBase = await request.resolver_match.func(request)
    except Exception:  # nothing above answers the line
        logger.exception("a line of a batch failed by a fault of ours")
        error = InternalError("Something went wrong here.")
        response = exceptions.render_error(error, request.request_id)
    finally:
        request.release_key_place()
    return read_answer(cast(HttpResponse, response), request.request_id)


def read_answer(response: HttpResponse, request_id: str) -> LineAnswer:
    """Return a response as the answer to a line."""
    milliseconds = response.headers.get("retry-after-ms")
    return LineAnswer(
        response.status_code,
        response.content,
        request_id,
        None if milliseconds is None else int(milliseconds) / 1_000,
        response.headers.get("x-should-retry") == "false",
        response.error_code if isinstance(response, ErrorAnswer) else "",
    )
