"""Tools of MCP servers: their list as an item, their calls, and which need an approval.

Source: OpenAI's guide "Connectors and MCP servers".
"""

from collections.abc import Iterable

from django.conf import settings
from msgspec import Struct

from conversations.messages.tool_names import CalledTool
from conversations.server_tools.server_tool import (
    COMPLETED,
    FAILED,
    ToolCall,
    ToolOutcome,
    add_private_fields,
    cut_output,
    make_failed_outcome,
    read_arguments,
)
from providers.exceptions import GatewayError, UpstreamTimeout
from providers.mcp.mcp_client import McpClient
from providers.mcp.mcp_messages import McpTool
from providers.mcp.mcp_servers import McpDirectory, McpError, UsableServer
from providers.protocol.json_types import JsonObject

SERVER_TOOL_KIND = "server"  # of a CalledTool, so that none of the caller's tools is meant


class ToolFilter(Struct, frozen=True):
    """Some tools of a server: by name, or those that only read. Empty: none."""

    names: frozenset[str] | None = None
    read_only: bool | None = None

    def has_tool(self, tool: McpTool) -> bool:
        """Return whether a tool is among them."""
        if self.names is None and self.read_only is None:
            return False
        is_named = self.names is None or tool.name in self.names
        return is_named and self.read_only in (None, tool.is_read_only)


class ApprovalPolicy(Struct, frozen=True):
    """Which calls need an approval: those of `always`, all but those of `never`, or by default."""

    by_default: bool = True
    always: ToolFilter = ToolFilter()
    never: ToolFilter = ToolFilter()

    def requires_approval(self, tool: McpTool) -> bool:
        """Return whether calls of a tool need an approval."""
        if self.always.has_tool(tool):
            return True
        return self.by_default and not self.never.has_tool(tool)


class McpSource:
    """One server that a request offers, and its session for this request."""

    def __init__(
        self,
        directory: McpDirectory,
        server: UsableServer,
        allowed: ToolFilter | None,
        approvals: ApprovalPolicy,
        description: str = "",
    ) -> None:
        self.server = server
        self.approvals = approvals
        self.description = description
        self.shows_list = True  # False: the caller has the list from an earlier response
        self._directory = directory
        self._allowed = allowed
        self.client: McpClient = directory.open_client(server)

    def make_list_item(self, tools: Iterable[McpTool] = ()) -> JsonObject:
        """Return the item with the list of tools."""
        entries = [
            {
                "name": tool.name,
                "description": tool.description,
                "input_schema": tool.input_schema,
                "annotations": tool.annotations,
            }
            for tool in tools
        ]
        return {"type": "mcp_list_tools", "server_label": self.server.label, "tools": entries}

    def close(self) -> None:
        """End the session, without waiting for the server."""
        self._directory.close_later(self.client)

    async def read_tools(self) -> tuple[list["McpServerTool"], JsonObject, str]:
        """Return the tools that may be called, the item with their list, and its status.

        A server that fails gives an item with its error, and no tools.
        """
        try:
            tools = await self._directory.list_tools(self.server, self.client)
        except (McpError, GatewayError) as error:
            return [], self.make_list_item() | {"error": error.message}, FAILED
        if self._allowed is not None:
            tools = [tool for tool in tools if self._allowed.has_tool(tool)]
        if len(tools) > settings.TOOLS_LIMIT:
            message = f"It has {len(tools)} tools, more than {settings.TOOLS_LIMIT}: name some."
            return [], self.make_list_item() | {"error": message}, FAILED
        item = self.make_list_item(tools) | {"error": None}
        return [McpServerTool(self, tool) for tool in tools], item, COMPLETED


class McpServerTool:
    """One tool of a server."""

    def __init__(self, source: McpSource, tool: McpTool) -> None:
        self._source = source
        self._tool = tool
        self.server_label = source.server.label
        self.name = tool.name

    @property
    def called_tool(self) -> CalledTool:
        return CalledTool(SERVER_TOOL_KIND, self.name, self.server_label)

    @property
    def needs_approval(self) -> bool:
        source = self._source
        return source.server.needs_approval or source.approvals.requires_approval(self._tool)

    def describe(self) -> JsonObject:
        texts = [self._tool.description, self._source.description]
        schema = self._tool.input_schema
        if schema.get("type") != "object":
            schema = {**schema, "type": "object"}
        if "properties" not in schema:  # OpenAI refuses a function without
            schema = {**schema, "properties": {}}
        return {"description": "\n\n".join(filter(None, texts)), "parameters": schema}

    def build_item(self, call: ToolCall) -> JsonObject:
        return {
            "type": "mcp_call",
            "server_label": self.server_label,
            "name": self.name,
            "arguments": call.arguments,
            "approval_request_id": call.approval_id or None,
            "output": None,
            "error": None,
        }

    def build_approval_item(self, call: ToolCall) -> JsonObject:
        """Return the item that asks the caller for an approval."""
        return {
            "type": "mcp_approval_request",
            "server_label": self.server_label,
            "name": self.name,
            "arguments": call.arguments,
        }

    async def run(self, call: ToolCall, seconds: float) -> ToolOutcome:
        arguments = read_arguments(call.arguments)
        if arguments is None:
            return self._fail(call, "The arguments are no JSON object.", {"code": -32602})
        self._source.client.limit_time(seconds)
        try:
            result = await self._source.client.call_tool(self.name, arguments)
        except McpError as error:
            kind = "mcp_protocol_error" if error.is_protocol else "http_error"
            return self._fail(call, error.message, {"type": kind, "code": error.code})
        except GatewayError as error:
            code = 504 if isinstance(error, UpstreamTimeout) else 502
            return self._fail(call, error.message, {"type": "http_error", "code": code})
        text = cut_output(result.text, settings.SERVER_TOOL_RESULT_BYTES)
        item = self.build_item(call)
        if result.is_error:
            content = [{"type": "text", "text": text}]
            error_object = {"type": "mcp_tool_execution_error", "content": content}
            output = f"The tool failed: {text}"
            return make_failed_outcome(item | {"error": error_object}, call, output)
        return ToolOutcome(add_private_fields(item | {"output": text}, call, text), text)

    def make_failure(self, call: ToolCall, message: str) -> ToolOutcome:
        return self._fail(call, message, {"type": "http_error", "code": 504})

    def _fail(self, call: ToolCall, message: str, fields: JsonObject) -> ToolOutcome:
        """Return the outcome of a call that the server did not answer."""
        error = {"type": "mcp_protocol_error", **fields, "message": message}
        item = self.build_item(call) | {"error": error}
        return make_failed_outcome(item, call, f"The call failed: {message}")
