"""Scripts with which the scripted upstream is an MCP server over streamable HTTP.

Source: the MCP specification, revisions 2025-11-25 (sessions) and 2026-07-28 (stateless).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from providers.protocol.json_types import JsonObject
from proxysite.testing.upstream import Exchange, Script, send_reply, send_stream

ADD_SCHEMA = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
ADD_TOOL = {"name": "add", "description": "Add two numbers.", "inputSchema": ADD_SCHEMA}
SESSION_ID = "session-1"
CallTool = Callable[[JsonObject], JsonObject]  # from the arguments to the result


def make_text_result(text: str, *, is_error: bool = False) -> JsonObject:
    return {"content": [{"type": "text", "text": text}], "isError": is_error}


def add_numbers(arguments: JsonObject) -> JsonObject:
    return make_text_result(str(arguments["a"] + arguments["b"]))


@dataclass
class McpScript:
    """A server with some tools; `methods` has the methods of all requests in their order.

    `keeps_sessions`: it speaks 2025-11-25 and answers with events; otherwise 2026-07-28 and JSON.
    """

    tools: dict[str, tuple[JsonObject, CallTool]] = field(
        default_factory=lambda: {"add": (ADD_TOOL, add_numbers)}
    )
    keeps_sessions: bool = False
    scripts: dict[str, Script] = field(default_factory=dict)  # by the name of a tool
    methods: list[str] = field(default_factory=list)

    async def play(self, exchange: Exchange) -> None:
        """Answer one request."""
        await self._choose_script(exchange)(exchange)

    def _choose_script(self, exchange: Exchange) -> Callable[[Exchange], Awaitable[None]]:
        request = exchange.request
        if request.method == "DELETE":
            self.methods.append("DELETE")
            return send_reply(b"")
        message = request.json
        method = message["method"]
        self.methods.append(method)
        has_session = request.headers.get("mcp-session-id") == SESSION_ID
        if self.keeps_sessions and method != "initialize" and not has_session:
            error = {"code": -32600, "message": "Bad Request: Missing session ID"}
            return send_reply({"jsonrpc": "2.0", "id": None, "error": error}, status=400)
        if method == "notifications/initialized":
            return send_reply(b"", status=202)
        if method == "tools/call" and message["params"]["name"] in self.scripts:
            return self.scripts[message["params"]["name"]]
        answer = {"jsonrpc": "2.0", "id": message["id"], **self._answer(method, message)}
        if self.keeps_sessions:
            notice = {"jsonrpc": "2.0", "method": "notifications/message", "params": {}}
            return send_stream(notice, answer, mcp_session_id=SESSION_ID)
        return send_reply(answer)

    def _answer(self, method: str, message: JsonObject) -> JsonObject:
        if method == "initialize":
            return {"result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}}}
        if method == "tools/list":
            return {"result": {"tools": [tool for tool, _ in self.tools.values()]}}
        params = message["params"]
        if method != "tools/call" or params["name"] not in self.tools:
            return {"error": {"code": -32602, "message": f"Unknown tool: {params.get('name')}"}}
        return {"result": self.tools[params["name"]][1](params["arguments"])}
