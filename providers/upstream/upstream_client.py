"""Calls to one upstream with a credential: addresses, headers, small calls, refusals."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import orjson

from providers.exceptions import BadResponse, UpstreamError
from providers.network.api_client import ApiCall
from providers.network.clients import Clients
from providers.network.proxies.outbound_proxy import OutboundProxy
from providers.network.response import HttpAnswer, OpenAnswer
from providers.network.target import Target, Timeouts
from providers.protocol.json_types import JsonObject
from providers.protocol.request import Credential
from providers.upstream.error_mapping import ERROR_CODES, find_error_object, map_error_answer
from providers.wire.json_reader import read_json

USER_AGENT = "proxysite"


@dataclass(frozen=True, slots=True)
class Limits:
    """The most bytes that are read or kept.

    They limit a whole answer, one event of a stream, a whole stream, and the thinking that is kept
    for counting its tokens although the caller does not get it.
    """

    answer_bytes: int
    event_bytes: int
    stream_bytes: int = 2**29
    hidden_thinking_bytes: int = 2**22


@dataclass(frozen=True, slots=True)
class Upstream:
    """A provider as requests use it: the frozen values of its row."""

    id: int
    name: str
    kind: str
    base_url: str
    headers: tuple[tuple[str, str], ...]
    mode: str
    rotation: str
    needs_token: bool
    native_tools: bool
    reports_usage: bool
    allow_private: bool
    timeouts: Timeouts
    limits: Limits
    dialect: str = ""  # the name of its profile; empty: by its kind, or by the host of its URL
    dialect_changes: JsonObject = field(default_factory=dict)
    proxy: OutboundProxy | None = None


class UpstreamClient:
    """The part of an adapter that calls its upstream; it knows HTTP and no dialect."""

    # an upstream's error code or type -> our error class
    ERRORS: ClassVar[dict[str, type[UpstreamError]]] = ERROR_CODES

    def __init__(self, upstream: Upstream, clients: Clients) -> None:
        self.upstream = upstream
        self.clients = clients
        self._targets: dict[str, Target] = {}

    # --- the request ------------------------------------------------------------------------------
    def get_target(self, path: str) -> Target:
        """Return the target of a path below the base URL; it is made once."""
        target = self._targets.get(path)
        if target is None:
            upstream = self.upstream
            target = Target.from_base_url(
                upstream.base_url, path, upstream.allow_private, upstream.timeouts
            )
            if upstream.proxy is not None:
                target = target.through_proxy(upstream.proxy)
            self._targets[path] = target
        return target

    @cached_property
    def extra_headers(self) -> bytes:
        """Return the row's headers, and a User-Agent unless the row has one."""
        headers = self.upstream.headers
        if not any(name.lower() == "user-agent" for name, _ in headers):
            headers = (("User-Agent", USER_AGENT), *headers)
        return "".join(f"{name}: {value}\r\n" for name, value in headers).encode("ascii")

    def build_headers(self, credential: Credential) -> bytes:
        """Return the header lines of one request.

        Raises BadResponse on a secret that no header can carry.
        """
        secret = credential.secret
        if not secret:
            return self.extra_headers
        if not (secret.isascii() and secret.isprintable()):
            raise BadResponse("The token has characters that no header can carry.")
        return b"Authorization: Bearer %b\r\n%b" % (secret.encode("ascii"), self.extra_headers)

    # --- the answer -------------------------------------------------------------------------------
    async def require_answer_head(self, response: OpenAnswer, credential: Credential) -> None:
        """Raise UpstreamError unless status and headers announce an answer."""
        if response.status != 200:
            answer = await response.read_answer(self.upstream.limits.answer_bytes)
            raise self.read_refusal(answer, credential)
        require_plain_encoding(response)

    def read_refusal(self, answer: HttpAnswer, credential: Credential) -> UpstreamError:
        """Return the error for an answer whose status is not a success."""
        try:
            error = self.read_error_object(read_json(answer.body))
        except ValueError:
            error = None
        return map_error_answer(
            self.ERRORS, answer.status, error, answer.headers, secret=credential.secret
        )

    def read_error_object(self, body: object) -> JsonObject | None:
        """Return the error object of a body in the form that `error_mapping` reads, or None."""
        if not isinstance(body, dict):
            return None
        return find_error_object(body)

    # --- calls that are not relayed ---------------------------------------------------------------
    @property
    def call_limits(self) -> dict[str, Any]:
        """Return the fields of an `ApiCall` that limit where it goes, its time and its answer."""
        upstream = self.upstream
        return {
            "allow_private": upstream.allow_private,
            "timeouts": upstream.timeouts,
            "total_seconds": upstream.timeouts.connect + upstream.timeouts.first_byte,
            "answer_bytes": upstream.limits.answer_bytes,
            "proxy": upstream.proxy,
        }

    def build_call(self, method: str, path: str, credential: Credential, **fields: Any) -> ApiCall:
        """Build a call that is not a relayed answer, to a path below the base URL.

        `fields` are further fields of `ApiCall`, such as its body. Raises BadResponse on an invalid
        address or a secret that no header can carry.
        """
        fields = {"headers": self.build_headers(credential), **self.call_limits, **fields}
        return ApiCall.from_path(method, self.upstream.base_url, path, **fields)

    async def make_call(self, call: ApiCall, credential: Credential) -> HttpAnswer:
        """Make a call that is not a relayed answer.

        Raises UpstreamError unless it succeeds (2xx).
        """
        answer = await self.clients.api.fetch_answer(call)
        if not 200 <= answer.status < 300:
            raise self.read_refusal(answer, credential)
        require_plain_encoding(answer)
        return answer

    async def fetch_json(
        self, method: str, path: str, credential: Credential, body: object = None
    ) -> Any:
        """Make one small call and return the JSON of its answer. Raises UpstreamError."""
        data = b""
        if body is not None:
            data = orjson.dumps(body)
        call = self.build_call(method, path, credential, body=data)
        answer = await self.make_call(call, credential)
        try:
            return read_json(answer.body)
        except ValueError:
            raise BadResponse("The upstream's answer is not JSON.") from None


def require_plain_encoding(answer: OpenAnswer | HttpAnswer) -> None:
    """Raise BadResponse for a compressed answer: no request asks for one."""
    if answer.get_header(b"content-encoding") not in ("", "identity"):
        raise BadResponse("The upstream compressed its answer although asked not to.")
