"""Relay one session of OpenAI's Realtime API: a WebSocket at the upstream.

The session is one upstream call: its first chunk has the open connection, each later one a message
of the upstream. Source: OpenAI's API reference, "Realtime" (client events, server events).
"""

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx
import msgspec
import orjson
from msgspec import Struct
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from providers.exceptions import (
    BadResponse,
    Disconnected,
    InvalidJson,
    ProviderError,
    Unreachable,
    UpstreamTimeout,
)
from providers.network.address_guard import find_allowed_addresses
from providers.network.response import HttpAnswer
from providers.network.tls import make_tls_context, make_tls_error
from providers.protocol.attempt import Attempt
from providers.protocol.chunks import Batches
from providers.protocol.json_types import JsonObject
from providers.protocol.relayed_request import CONNECTION, CONTENT
from providers.protocol.request import ChatRequest, Credential, UpstreamModel
from providers.protocol.usage_meter import find_count, parse_count

if TYPE_CHECKING:
    from providers.upstream.base_adapter import BaseAdapter

SESSION_EVENTS = ("session.created", "session.updated")
SESSION_UPDATE = "session.update"  # of the caller
UNREADABLE = "The message is not a JSON object."


class MessageFacts(Struct):
    """The fields of a message that matter here; all others are skipped."""

    type: Any = None
    session: Any = None
    response: Any = None


class GuardedConnect(connect):
    """A connection that follows no redirects, which would lead past the check of addresses."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class RealtimeConnection:
    """The open WebSocket of a session; messages name the upstream's model where it is named."""

    def __init__(self, socket: ClientConnection, model_name: str) -> None:
        self._socket = socket
        self._model_name = model_name

    async def send_message(self, message: str | bytes) -> None:
        """Send a message of the caller; what comes after the end of the session is dropped.

        Raises InvalidJson when it cannot be read: it might name a model unseen.
        """
        facts = read_message(message)
        if facts is None:
            raise InvalidJson(UNREADABLE)
        if facts.type == SESSION_UPDATE:
            message = rename_model(message, facts, self._model_name)
        try:
            await self._socket.send(message)
        except ConnectionClosed:
            return

    async def close(self) -> None:
        """End the session."""
        await self._socket.close()


class RealtimeUsage:
    """The tokens of all responses of a session."""

    def __init__(self) -> None:
        self._prompt = 0
        self._completion = 0
        self._cached = 0

    def add_response(self, response: object) -> None:
        """Add the usage of a response that is done."""
        usage = response.get("usage") if isinstance(response, dict) else None
        if not isinstance(usage, dict):
            return
        self._prompt += parse_count(usage.get("input_tokens")) or 0
        self._completion += parse_count(usage.get("output_tokens")) or 0
        self._cached += find_count(usage.get("input_token_details"), ("cached_tokens",))

    def as_openai(self) -> JsonObject:
        """Return the sums in the form of a chat completion's usage."""
        return {
            "prompt_tokens": self._prompt,
            "completion_tokens": self._completion,
            "total_tokens": self._prompt + self._completion,
            "prompt_tokens_details": {"cached_tokens": self._cached},
        }


async def relay_session(
    adapter: "BaseAdapter",
    request: ChatRequest,
    model: UpstreamModel,
    credential: Credential,
    attempt: Attempt,
) -> Batches:
    """Yield the connection, then each message of the upstream until the session ends.

    The usage of each chunk is that of the session so far. Raises UpstreamError.
    """
    usage = RealtimeUsage()
    async with open_socket(adapter, request, model, credential, attempt) as socket:
        attempt.status = 101
        connection = RealtimeConnection(socket, model.name)
        yield [{CONNECTION: connection, "usage": usage.as_openai()}]
        try:
            async for message in socket:
                content = convert_message(message, usage, request.model)
                yield [{CONTENT: content, "usage": usage.as_openai()}]
        except ConnectionClosed as error:
            raise Disconnected("The upstream broke the session off.") from error


def convert_message(message: str | bytes, usage: RealtimeUsage, name: str) -> str | bytes:
    """Return a message of the upstream with the public name of the model; add its usage."""
    facts = read_message(message)
    if facts is None:
        return message
    if facts.type == "response.done":
        usage.add_response(facts.response)
    if facts.type in SESSION_EVENTS:
        return rename_upstreams_model(message, facts, name)
    return message


@asynccontextmanager
async def open_socket(
    adapter: "BaseAdapter",
    request: ChatRequest,
    model: UpstreamModel,
    credential: Credential,
    attempt: Attempt,
) -> AsyncGenerator[ClientConnection, None]:
    """Open the WebSocket of a session, and close it at the end. Raises UpstreamError."""
    if adapter.upstream.proxy is not None:
        raise ProviderError("Sessions cannot be opened through the provider's proxy.")
    try:
        socket = await connect_socket(adapter, request, model, credential)
    except InvalidStatus as error:
        attempt.status = error.response.status_code
        raise adapter.read_refusal(convert_answer(error), credential) from error
    except InvalidHandshake as error:
        raise BadResponse("The upstream opened no WebSocket.") from error
    except ssl.SSLError as error:
        raise make_tls_error(error) from error
    except TimeoutError as error:
        raise UpstreamTimeout("The upstream opened no session in time.") from error
    except OSError as error:
        raise Unreachable("The upstream cannot be reached.") from error
    async with socket:
        yield socket


async def connect_socket(
    adapter: "BaseAdapter", request: ChatRequest, model: UpstreamModel, credential: Credential
) -> ClientConnection:
    """Return an open WebSocket at an address that is allowed.

    Raises UpstreamError for the address, and errors of `websockets` and of the connection.
    """
    upstream = adapter.upstream
    url = httpx.URL(upstream.base_url)
    is_encrypted = url.scheme == "https"
    scheme = "wss" if is_encrypted else "ws"
    query = urlencode({**request.body["query"], "model": model.name})
    headers = read_header_lines(adapter.build_headers(credential))
    addresses = await find_allowed_addresses(url.host, upstream.allow_private)
    tls: dict[str, Any] = {}
    if is_encrypted:
        tls = {"ssl": make_tls_context(), "server_hostname": url.host}
    return await GuardedConnect(
        f"{scheme}://{url.netloc.decode()}{url.path.rstrip('/')}/realtime?{query}",
        host=addresses[0],
        port=url.port or (443 if is_encrypted else 80),
        additional_headers=[*headers, *request.body["headers"].items()],
        user_agent_header=None,
        compression=None,
        proxy=None,
        max_size=upstream.limits.event_bytes,
        max_queue=4,
        open_timeout=upstream.timeouts.connect + upstream.timeouts.first_byte,
        **tls,
    )


def convert_answer(error: InvalidStatus) -> HttpAnswer:
    """Return the HTTP answer with which an upstream refused a WebSocket."""
    answer = error.response
    headers = {
        name.lower().encode(): value.encode("latin-1", "replace")
        for name, value in answer.headers.raw_items()
    }
    return HttpAnswer(answer.status_code, headers, bytes(answer.body or b""))


def read_header_lines(lines: bytes) -> list[tuple[str, str]]:
    """Return header lines (`Name: value\\r\\n`) as pairs."""
    pairs = (line.partition(": ") for line in lines.decode("ascii").split("\r\n") if line)
    return [(name, value) for name, _, value in pairs]


def read_message(message: str | bytes) -> MessageFacts | None:
    """Return the facts of a message; None when it is no JSON object."""
    try:
        return msgspec.json.decode(message, type=MessageFacts)
    except (msgspec.DecodeError, RecursionError):
        return None


def rename_model(message: str | bytes, facts: MessageFacts, name: str) -> str | bytes:
    """Return a message about a session with this name of the model, where it names one.

    Raises InvalidJson.
    """
    if not isinstance(facts.session, dict) or "model" not in facts.session:
        return message
    try:
        whole = orjson.loads(message)
    except orjson.JSONDecodeError:  # in a field that `read_message` skips
        raise InvalidJson(UNREADABLE) from None
    return orjson.dumps(whole | {"session": {**whole["session"], "model": name}}).decode()


def rename_upstreams_model(message: str | bytes, facts: MessageFacts, name: str) -> str | bytes:
    """Return a message of the upstream with the caller's name of the model. Raises BadResponse."""
    try:
        return rename_model(message, facts, name)
    except InvalidJson:
        raise BadResponse("The upstream sent a message that is not JSON.") from None
