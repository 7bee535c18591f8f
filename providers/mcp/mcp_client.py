"""A client of one MCP server over streamable HTTP, for the calls of one request.

The official Python package takes a second to import and 55 MB of memory in each process, for tasks,
sampling, sign-in and transports that are not needed here; this client lists tools and calls them.

Whether a server keeps sessions is found out at the first call, and remembered by the caller in
`ServerHabits`. Nothing of a session is shared between requests, because its state is the caller's.
Raises McpError only, besides errors of `providers.exceptions` of the connection.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress

import httpx
from msgspec import Struct, field

from providers.exceptions import BadResponse, GatewayError
from providers.mcp import mcp_messages
from providers.mcp.mcp_answers import (
    SHOWN_CHARS,
    McpError,
    make_status_error,
    read_message,
    read_result,
    require_message,
)
from providers.mcp.mcp_messages import McpTool, ToolOutput
from providers.network.api_client import ApiCall, ApiClient, ApiResponse
from providers.network.proxies.outbound_proxy import find_default_proxy
from providers.network.target import Timeouts
from providers.protocol.json_types import JsonObject
from providers.upstream.upstream_client import USER_AGENT
from providers.wire.sse import EventSplitter, EventTooLong

CLOSE_SECONDS = 5.0  # for the end of a session, for which nobody waits
MOST_PAGES = 50  # of a list of tools
# statuses with which servers refuse a request of a version that they do not know
UNKNOWN_VERSION_STATUSES = (400, 404, 405, 406, 422)


class McpAddress(Struct, frozen=True):
    """The place of a server, and the bounds of one call of it."""

    url: str
    headers: Mapping[str, str] = {}
    allow_private: bool = False
    connect_seconds: float = 10.0
    total_seconds: float = 60.0
    answer_bytes: int = 2**20

    def __repr__(self) -> str:
        return f"McpAddress({self.url!r})"


class ServerHabits(Struct):
    """Facts about a server that one request found out and later ones use."""

    keeps_sessions: bool | None = None  # None: not known yet
    schemas: dict[str, JsonObject] = field(default_factory=dict)  # of the tools' arguments


class McpClient:
    """The client; `close` ends the session, if there is one."""

    def __init__(self, client: ApiClient, address: McpAddress, habits: ServerHabits) -> None:
        self._client = client
        self._address = address
        self._habits = habits
        self._session_id = ""
        self._version = ""  # of the session; empty: there is none yet
        self._session_lock = asyncio.Lock()
        self._last_number = 0
        self._seconds = address.total_seconds

    async def list_tools(self) -> list[McpTool]:
        """Return all tools of the server. Raises McpError, GatewayError."""
        tools: list[McpTool] = []
        params: JsonObject = {}
        for _ in range(MOST_PAGES):
            result = await self._request("tools/list", params)
            tools += mcp_messages.read_tools(result)
            cursor = result.get("nextCursor")
            if not isinstance(cursor, str) or not cursor:
                break
            params = {"cursor": cursor}
        self._habits.schemas = {tool.name: tool.input_schema for tool in tools}
        return tools

    async def call_tool(self, name: str, arguments: JsonObject) -> ToolOutput:
        """Call a tool and return its result. Raises McpError, GatewayError."""
        result = await self._request("tools/call", {"name": name, "arguments": arguments})
        return mcp_messages.read_tool_output(result)

    def limit_time(self, seconds: float) -> None:
        """Let the next calls take at most so many seconds, and no longer than the server may."""
        self._seconds = max(0.001, min(seconds, self._address.total_seconds))

    @property
    def has_session(self) -> bool:
        """Return whether the server keeps a session for this client."""
        return bool(self._session_id)

    async def close(self) -> None:
        """Tell the server that the session is over. A failure is ignored."""
        if not self.has_session:
            return
        self.limit_time(CLOSE_SECONDS)
        with suppress(GatewayError, McpError):
            call = self._build_call("DELETE", b"", self._session_headers())
            async with self._client.open_call(call):
                pass
        self._session_id = ""
        self._version = ""

    # --- requests ---------------------------------------------------------------------------------
    async def _request(self, method: str, params: JsonObject) -> JsonObject:
        """Return the result of a request, without a session or in one."""
        if self._habits.keeps_sessions:
            return await self._request_in_session(method, params)
        try:
            result = await self._send_stateless(method, params)
        except McpError as error:
            is_refused = error.is_protocol or error.code in UNKNOWN_VERSION_STATUSES
            if self._habits.keeps_sessions is not None or not is_refused:
                raise
            result = await self._request_in_session(method, params)
            self._habits.keeps_sessions = True
            return result
        self._habits.keeps_sessions = False
        return result

    async def _send_stateless(self, method: str, params: JsonObject) -> JsonObject:
        """Return the result of a request without a session."""
        schema = self._habits.schemas.get(str(params.get("name")), {})
        headers = mcp_messages.build_stateless_headers(method, params, schema)
        return await self._send_request(method, params, headers, is_stateless=True)

    async def _request_in_session(self, method: str, params: JsonObject) -> JsonObject:
        """Return the result of a request in the session, which begins with the first one.

        A session that the server has forgotten is begun once more.
        """
        is_fresh = await self._begin_session_once("")
        session_id = self._session_id
        try:
            return await self._send_request(method, params, self._session_headers())
        except McpError as error:
            if error.status != 404 or is_fresh or not session_id:
                raise
        await self._begin_session_once(session_id)
        return await self._send_request(method, params, self._session_headers())

    async def _begin_session_once(self, lost_id: str) -> bool:
        """Begin a session unless there is one other than the lost one; return whether it did.

        Calls may run at the same time.
        """
        async with self._session_lock:
            if self._version and (not lost_id or self._session_id != lost_id):
                return False
            await self._begin_session()
            return True

    async def _begin_session(self) -> None:
        """Begin a session, and keep its id and version. Raises McpError, GatewayError."""
        self._session_id = ""
        self._version = ""
        params = mcp_messages.build_initialize_params()
        result = await self._send_request("initialize", params, {})
        version = result.get("protocolVersion")
        if version not in mcp_messages.KNOWN_SESSION_VERSIONS:
            shown = str(version)[:SHOWN_CHARS]
            raise McpError(f"The MCP server speaks the version {shown!r}, which is not known here.")
        self._version = str(version)
        notice = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'
        call = self._build_call("POST", notice, self._session_headers())
        async with self._client.open_call(call) as response:
            if response.status >= 300:
                raise make_status_error(response.status, b"")

    def _session_headers(self) -> dict[str, str]:
        headers = {"MCP-Protocol-Version": self._version}
        if self._session_id:
            headers["Mcp-Session-Id"] = self._session_id
        return headers

    async def _send_request(
        self,
        method: str,
        params: JsonObject,
        headers: Mapping[str, str],
        *,
        is_stateless: bool = False,
    ) -> JsonObject:
        """Send one JSON-RPC request, and return its result."""
        self._last_number += 1
        number = self._last_number
        body = mcp_messages.build_request(number, method, params, is_stateless=is_stateless)
        async with self._client.open_call(self._build_call("POST", body, headers)) as response:
            if response.status >= 300:
                data = b""
                if response.status >= 400:
                    data = await response.read_body(self._address.answer_bytes)
                raise make_status_error(response.status, data)
            if session_id := response.get_header(b"mcp-session-id"):
                self._session_id = session_id
            message = await self._read_answer(response, number)
        return read_result(message)

    def _build_call(self, method: str, body: bytes, headers: Mapping[str, str]) -> ApiCall:
        """Return an HTTP call of the server with these headers and those of its address."""
        address = self._address
        names_and_values = {
            "Accept": "application/json, text/event-stream",
            "User-Agent": USER_AGENT,
            **address.headers,
            **headers,
        }
        lines = [f"{name}: {value}\r\n" for name, value in names_and_values.items()]
        seconds = self._seconds
        return ApiCall(
            method,
            httpx.URL(address.url),
            allow_private=address.allow_private,
            timeouts=Timeouts(address.connect_seconds, seconds, seconds, seconds, seconds),
            total_seconds=seconds,
            answer_bytes=address.answer_bytes,
            headers="".join(lines).encode("latin-1"),
            body=body,
            proxy=find_default_proxy(address.allow_private),
        )

    async def _read_answer(self, response: ApiResponse, number: int) -> JsonObject:
        """Return the message that answers request `number`, from JSON or from a stream of events.

        Raises BadResponse when there is none, or when it is too long.
        """
        limit = self._address.answer_bytes
        if "text/event-stream" not in response.get_header(b"content-type"):
            return require_message(await response.read_body(limit), number)
        try:
            message = await find_message(response, number, limit)
        except EventTooLong:
            text = f"The MCP server's answer is longer than {limit} bytes."
            raise BadResponse(text) from None
        if message is None:
            raise BadResponse("The MCP server ended its answer without a result.")
        return message


async def find_message(response: ApiResponse, number: int, most_bytes: int) -> JsonObject | None:
    """Return the message among an answer's events that answers request `number`, or None.

    Raises EventTooLong after `most_bytes`.
    """
    async with aclosing(iterate_events(response, most_bytes)) as events:
        async for event in events:
            if (message := read_message(event, number)) is not None:
                return message
    return None


async def iterate_events(response: ApiResponse, most_bytes: int) -> AsyncGenerator[bytes, None]:
    """Yield the data of each event of an answer. Raises EventTooLong after `most_bytes`."""
    splitter = EventSplitter(most_bytes)
    bytes_left = most_bytes
    async for piece in response.iterate_body():
        bytes_left -= len(piece)
        if bytes_left < 0:
            raise EventTooLong
        for event in splitter.feed(piece):
            yield event
    for event in splitter.finish():
        yield event
