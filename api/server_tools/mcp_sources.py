"""The MCP servers that a request offers: found on the operator's list, with its own wishes."""

from collections.abc import Sequence

from django.conf import settings
from django.core.exceptions import ValidationError
from msgspec import structs

from api.server_tools.separate_tools import PlacedTool
from api.server_tools.tool_shapes import (
    McpShape,
    read_approval_policy,
    read_filter,
    read_tool,
)
from conversations.server_tools.mcp_tools import McpSource
from providers.exceptions import InvalidRequest
from providers.mcp.mcp_servers import McpDirectory, UsableServer
from providers.models.validators import mcp_headers_are_clean

NOT_ALLOWED_CODE = "mcp_server_not_allowed"


def make_mcp_sources(
    directory: McpDirectory, servers: Sequence[UsableServer], placed_tools: Sequence[PlacedTool]
) -> list[McpSource]:
    """Return the servers of a request. Raises InvalidRequest, with the field in `param`."""
    if len(placed_tools) > settings.MCP_SERVERS_LIMIT:
        message = f"A request has at most {settings.MCP_SERVERS_LIMIT} MCP servers."
        raise InvalidRequest(message, param="tools")
    sources: dict[str, McpSource] = {}
    for placed in placed_tools:
        shape = read_tool(placed.tool, McpShape, placed.field_path)
        if shape.server_label in sources:
            message = f"The server_label {shape.server_label!r} is given twice."
            raise InvalidRequest(message, param=f"{placed.field_path}.server_label")
        sources[shape.server_label] = make_mcp_source(directory, servers, shape, placed.field_path)
    return list(sources.values())


def make_mcp_source(
    directory: McpDirectory, servers: Sequence[UsableServer], shape: McpShape, field_path: str
) -> McpSource:
    """Return one server of a request. Raises InvalidRequest, with the field in `param`."""
    server = find_server(servers, shape, field_path)
    headers = read_caller_headers(shape, field_path)
    if headers and not server.takes_caller_headers:
        field = "authorization" if shape.authorization else "headers"
        message = f"The MCP server {shape.server_label!r} gets no headers of callers here."
        raise InvalidRequest(message, param=f"{field_path}.{field}", code=NOT_ALLOWED_CODE)
    if headers:
        server = server.with_caller_headers(headers)
    return McpSource(
        directory,
        structs.replace(server, label=shape.server_label),
        read_filter(shape.allowed_tools),
        read_approval_policy(shape.require_approval),
        shape.server_description or "",
    )


def find_server(servers: Sequence[UsableServer], shape: McpShape, field_path: str) -> UsableServer:
    """Return the server that a request names: by its URL, or else by its label.

    Raises InvalidRequest when it is not on the list, or not for this caller.
    """
    for field in ("connector_id", "tunnel_id"):
        if getattr(shape, field):
            message = f"{field!r} is not supported here: name a server of this gateway's list."
            param = f"{field_path}.{field}"
            raise InvalidRequest(message, param=param, code="unsupported_parameter")
    if shape.server_url:
        address = shape.server_url.rstrip("/")
        field = "server_url"
        matches = [server for server in servers if server.address.url.rstrip("/") == address]
    else:
        field = "server_label"
        matches = [server for server in servers if server.label == shape.server_label]
    if not matches:
        message = f"No MCP server that you may use has this {field} on this gateway's list."
        raise InvalidRequest(message, param=f"{field_path}.{field}", code=NOT_ALLOWED_CODE)
    return matches[0]


def read_caller_headers(shape: McpShape, field_path: str) -> dict[str, str]:
    """Return the headers that a request gives for a server. Raises InvalidRequest."""
    headers = dict(shape.headers or {})
    if shape.authorization:
        headers = {
            name: value for name, value in headers.items() if name.lower() != "authorization"
        }
        headers["Authorization"] = f"Bearer {shape.authorization}"
    try:
        mcp_headers_are_clean(headers)
    except ValidationError as error:
        message = error.messages[0]
        raise InvalidRequest(message, param=f"{field_path}.headers") from None
    return headers
