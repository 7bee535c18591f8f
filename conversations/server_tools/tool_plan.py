"""The tools of one request that the gateway runs, and the choice among them."""

from typing import Literal

from msgspec import Struct, field

from conversations.messages.tool_names import CalledTool, ToolNames
from conversations.server_tools.citations import CitationSources
from conversations.server_tools.mcp_tools import McpServerTool, McpSource
from conversations.server_tools.server_tool import ServerTool
from providers.protocol.json_types import JsonObject

ChoiceMode = Literal["", "none", "auto", "required"]


class ToolChoice(Struct, frozen=True):
    """The choice of a request among these tools, as far as it concerns them.

    `kind` names the type of a tool that must be called, with `label` and `name` of an MCP tool.
    """

    mode: ChoiceMode = ""  # empty: as the chat body says
    kind: str = ""
    label: str = ""
    name: str = ""


class ApprovedCall(Struct, frozen=True):
    """A call that an earlier response asked an approval for, and that the caller has approved."""

    approval_id: str
    label: str
    name: str
    arguments: str


class ToolPlan(Struct):
    """The tools of one request that the gateway runs, and how often it may.

    `client_tools` are those of the caller. `shows_items` is true where the caller gets items of
    its own for the calls, and annotations whose positions are of one message.
    """

    tools: list[ServerTool] = field(default_factory=list)
    mcp_sources: list[McpSource] = field(default_factory=list)
    client_tools: list[CalledTool] = field(default_factory=list)
    choice: ToolChoice = ToolChoice()
    approved_calls: list[ApprovedCall] = field(default_factory=list)
    most_calls: int = 1
    shows_items: bool = True
    sources: CitationSources = field(default_factory=CitationSources)


class ReadyTools:
    """The tools of a request by their names in a chat body, when all lists are there."""

    def __init__(self, plan: ToolPlan, tools: list[ServerTool]) -> None:
        called_tools = [tool.called_tool for tool in tools]
        names = ToolNames([*plan.client_tools, *called_tools])
        self._choice = plan.choice
        self._tools = {names.find_chat_name(tool.called_tool): tool for tool in tools}

    def find_tool(self, chat_name: str) -> ServerTool | None:
        return self._tools.get(chat_name)

    def find_mcp_name(self, label: str, name: str) -> str | None:
        """Return the chat name of an MCP tool, or None when its server does not have it now."""
        for chat_name, tool in self._tools.items():
            if isinstance(tool, McpServerTool) and (tool.server_label, tool.name) == (label, name):
                return chat_name
        return None

    def build_functions(self) -> list[JsonObject]:
        """Return all tools in the form of a chat body."""
        return [
            {"type": "function", "function": {"name": name, **tool.describe()}}
            for name, tool in self._tools.items()
        ]

    def build_first_choice(self) -> str | JsonObject | None:
        """Return the `tool_choice` of the first upstream call; None: the caller's own."""
        choice = self._choice
        if not choice.kind:
            return choice.mode or None
        names = [name for name, tool in self._tools.items() if self._is_chosen(tool)]
        if len(names) == 1:
            return {"type": "function", "function": {"name": names[0]}}
        return "required" if names else "auto"

    def _is_chosen(self, tool: ServerTool) -> bool:
        """Return whether the choice names this tool."""
        choice = self._choice
        if not isinstance(tool, McpServerTool):
            return tool.called_tool.name == choice.kind
        if choice.kind != "mcp" or tool.server_label != choice.label:
            return False
        return choice.name in ("", tool.name)
