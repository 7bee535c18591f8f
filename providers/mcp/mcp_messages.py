"""The messages of the Model Context Protocol over streamable HTTP. No I/O.

A server of 2026-07-28 or later keeps no session: each request names the version and the client in
`params._meta`, and method and tool in headers. Older ones begin a session with `initialize`.
Source: the MCP specification, revisions 2025-06-18, 2025-11-25 and 2026-07-28, "Streamable HTTP",
"Lifecycle", "Versioning" and "Tools".
"""

from base64 import b64encode
from collections.abc import Mapping

import orjson
from msgspec import Struct

from providers.protocol.json_types import JsonObject

STATELESS_VERSION = "2026-07-28"
SESSION_VERSION = "2025-11-25"
# versions of which a server may choose in its answer to `initialize`
KNOWN_SESSION_VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26")
CLIENT_INFO = {"name": "proxysite", "version": "1"}
META_PREFIX = "io.modelcontextprotocol/"
COMPLETE = "complete"  # the `resultType` of a result that wants nothing further
HEADER_VALUES = (str, int, bool)  # values that a tool's argument may repeat in a header


class McpTool(Struct, frozen=True):
    """One tool of a server, as the server describes it."""

    name: str
    description: str = ""
    input_schema: JsonObject = {}
    annotations: JsonObject | None = None

    @property
    def is_read_only(self) -> bool:
        """Return whether the server says that the tool changes nothing."""
        return bool((self.annotations or {}).get("readOnlyHint"))


class ToolOutput(Struct, frozen=True):
    """The result of a call as a text; `is_error` is true when the tool says that it failed."""

    text: str
    is_error: bool = False


def build_request(
    number: int, method: str, params: JsonObject, *, is_stateless: bool = False
) -> bytes:
    """Return a JSON-RPC request; a stateless one names version and client itself."""
    if is_stateless:
        meta = {
            f"{META_PREFIX}protocolVersion": STATELESS_VERSION,
            f"{META_PREFIX}clientInfo": CLIENT_INFO,
            f"{META_PREFIX}clientCapabilities": {},
        }
        params = params | {"_meta": meta}
    message = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return orjson.dumps(message)


def build_initialize_params() -> JsonObject:
    """Return the parameters of the request that begins a session."""
    return {"protocolVersion": SESSION_VERSION, "capabilities": {}, "clientInfo": CLIENT_INFO}


def build_stateless_headers(method: str, params: JsonObject, schema: JsonObject) -> dict[str, str]:
    """Return the headers that repeat parts of a stateless request.

    `schema` is that of a called tool: arguments that it marks with `x-mcp-header` are repeated too.
    """
    headers = {"MCP-Protocol-Version": STATELESS_VERSION, "Mcp-Method": method}
    if method == "tools/call":
        headers["Mcp-Name"] = encode_header(params["name"])
        headers |= build_argument_headers(params["arguments"], schema)
    return headers


def build_argument_headers(arguments: Mapping[str, object], schema: JsonObject) -> dict[str, str]:
    """Return the headers of the arguments that a schema marks, of its own level only."""
    headers = {}
    properties = schema.get("properties")
    for name, shape in properties.items() if isinstance(properties, dict) else ():
        header = shape.get("x-mcp-header") if isinstance(shape, dict) else None
        value = arguments.get(name)
        if is_header_name(header) and isinstance(value, HEADER_VALUES):
            text = str(value).lower() if isinstance(value, bool) else str(value)
            headers[f"Mcp-Param-{header}"] = encode_header(text)
    return headers


def is_header_name(name: object) -> bool:
    """Return whether a text may be part of the name of a header."""
    return isinstance(name, str) and name.isascii() and name.replace("-", "").isalnum()


def encode_header(value: str) -> str:
    """Return a text as the value of a header: in Base64 where its characters ask for it."""
    if value.isascii() and value.isprintable() and value == value.strip():
        return value
    return f"=?base64?{b64encode(value.encode('utf-8', 'replace')).decode()}?="


# --- results --------------------------------------------------------------------------------------
def read_tools(result: JsonObject) -> list[McpTool]:
    """Return the tools of one page of a list; entries without a name are left out."""
    entries = result.get("tools")
    tools = [read_tool(entry) for entry in (entries if isinstance(entries, list) else ())]
    return [tool for tool in tools if tool is not None]


def read_tool(entry: object) -> McpTool | None:
    """Return one entry of a list of tools; None when it has no name."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"]:
        return None
    description = entry.get("description")
    schema = entry.get("inputSchema")
    annotations = entry.get("annotations")
    return McpTool(
        entry["name"],
        description if isinstance(description, str) else "",
        schema if isinstance(schema, dict) else {"type": "object"},
        annotations if isinstance(annotations, dict) else None,
    )


def read_tool_output(result: JsonObject) -> ToolOutput:
    """Return the result of a call as a text: its texts, and a note for each image or sound."""
    if result.get("resultType", COMPLETE) != COMPLETE:
        return ToolOutput("The tool asks for input that nobody can give here.", is_error=True)
    blocks = result.get("content")
    texts = [render_block(block) for block in (blocks if isinstance(blocks, list) else ())]
    text = "\n".join(filter(None, texts))
    if not text and result.get("structuredContent") is not None:
        text = orjson.dumps(result["structuredContent"]).decode()
    return ToolOutput(text, bool(result.get("isError")))


def render_block(block: object) -> str:
    """Return one block of a result as a text."""
    if not isinstance(block, dict):
        return ""
    if isinstance(block.get("text"), str):
        text: str = block["text"]
        return text
    resource = block.get("resource")
    if isinstance(resource, dict) and isinstance(resource.get("text"), str):
        return str(resource["text"])
    if block.get("type") == "resource_link":
        return f"[{block.get('name') or 'resource'}]({block.get('uri')})"
    kind = block.get("mimeType") or block.get("type") or "content"
    return f"[{kind}: not shown here]"
