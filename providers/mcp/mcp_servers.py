"""The MCP servers of the operator's list: as values that a request can use, and their tools.

`McpDirectory` keeps the lists of tools of this process for MCP_TOOLS_SECONDS.
"""

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence

import orjson
from django.conf import settings
from msgspec import Struct, field, structs

from providers.mcp.mcp_answers import McpError
from providers.mcp.mcp_client import McpAddress, McpClient, ServerHabits
from providers.mcp.mcp_messages import McpTool
from providers.models import McpServer
from providers.network.api_client import ApiClient

MOST_KEPT_LISTS = 500


class UsableServer(Struct, frozen=True):
    """One server as a request may use it; `key` names it with the headers that it gets."""

    label: str
    key: str
    address: McpAddress
    allowed_tools: frozenset[str] = frozenset()  # empty: all
    needs_approval: bool = False
    takes_caller_headers: bool = False

    def with_caller_headers(self, headers: Mapping[str, str]) -> "UsableServer":
        """Return the same server, which gets these headers of the caller beside its own."""
        names = {name.lower() for name in headers}
        own = self.address.headers.items()
        others = {name: value for name, value in own if name.lower() not in names}
        return make_usable(self, {**others, **headers})


class KnownList(Struct):
    """The tools and the habits of one server."""

    habits: ServerHabits = field(default_factory=ServerHabits)
    tools: list[McpTool] = field(default_factory=list)
    read_at: float = float("-inf")  # on the monotonic clock


def list_usable_servers(user_id: int | None) -> list[UsableServer]:
    """Return the servers that a user's API keys may use; run it in a database thread.

    Without a user these are the servers for everybody. One whose headers do not open is left out.
    """
    rows = McpServer.objects.of_user(user_id or 0)
    servers = (make_usable_server(row) for row in rows)
    return [server for server in servers if server is not None]


def make_usable_server(row: McpServer) -> UsableServer | None:
    """Return a row as a value; None when its headers do not open."""
    headers = row.read_headers()
    if headers is None:
        return None
    address = McpAddress(
        row.url,
        headers,
        row.allow_private,
        connect_seconds=settings.CONNECT_SECONDS,
        total_seconds=row.call_seconds or settings.MCP_CALL_SECONDS,
        answer_bytes=row.answer_bytes or settings.MCP_ANSWER_BYTES,
    )
    server = UsableServer(
        row.label,
        "",
        address,
        frozenset(row.allowed_tools),
        row.needs_approval,
        row.takes_caller_headers,
    )
    return make_usable(server, headers)


def make_usable(server: UsableServer, headers: Mapping[str, str]) -> UsableServer:
    """Return the server with these headers, and the key that belongs to them."""
    address = structs.replace(server.address, headers=headers)
    text = orjson.dumps([address.url, address.allow_private, sorted(headers.items())])
    key = hashlib.sha256(text).hexdigest()
    return structs.replace(server, key=key, address=address)


class McpDirectory:
    """The lists of tools that this process knows."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._lists: dict[str, KnownList] = {}
        self._closing_tasks: set[asyncio.Task[None]] = set()

    def open_client(self, server: UsableServer) -> McpClient:
        """Return a client of the server, for one request."""
        return McpClient(self._client, server.address, self._find_list(server).habits)

    def close_later(self, client: McpClient) -> None:
        """End the session of a client, without waiting for the server."""
        if client.has_session:
            task = asyncio.create_task(client.close())
            self._closing_tasks.add(task)
            task.add_done_callback(self._closing_tasks.discard)

    async def list_tools(self, server: UsableServer, client: McpClient) -> Sequence[McpTool]:
        """Return the tools of a server that may be called, read at most MCP_TOOLS_SECONDS ago.

        Raises McpError, GatewayError.
        """
        known = self._find_list(server)
        if time.monotonic() - known.read_at > settings.MCP_TOOLS_SECONDS:
            known.tools = await client.list_tools()
            known.read_at = time.monotonic()
        if not server.allowed_tools:
            return known.tools
        return [tool for tool in known.tools if tool.name in server.allowed_tools]

    def _find_list(self, server: UsableServer) -> KnownList:
        """Return the list of a server; a new one takes the place of the oldest of many."""
        known = self._lists.get(server.key)
        if known is None:
            if len(self._lists) >= MOST_KEPT_LISTS:
                self._lists.pop(next(iter(self._lists)))
            known = self._lists[server.key] = KnownList()
        return known


__all__ = ["McpDirectory", "McpError", "UsableServer", "list_usable_servers"]
