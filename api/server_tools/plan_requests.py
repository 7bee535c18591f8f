"""The plans of response and chat requests.

Without tools that the gateway runs, or where the operator has switched them off for the model,
there is no plan, and the body stays as it is.
"""

from collections.abc import Mapping
from typing import Any

from api.authentication import Caller
from api.relay.gateway import Gateway
from api.responses.request.offered_tools import list_offered_tools
from api.responses.request.tool_choice import offers_hosted_tools
from api.schemas.chat_request_body import read_function_name
from api.server_tools.approvals import read_approvals
from api.server_tools.build_plan import PlannedBody, PlanRequest, find_kinds, make_plan
from api.server_tools.separate_tools import PlacedTool, SeparatedBody, separate_tools
from conversations.messages.tool_names import CalledTool
from conversations.server_tools.mcp_tools import McpSource
from conversations.server_tools.tool_plan import ToolChoice
from providers.catalogue import ResolvedModel
from providers.choices import ServerTool
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject

OPTIONS_FIELD = "web_search_options"


async def plan_response_tools(
    gateway: Gateway, caller: Caller, model: ResolvedModel, body: JsonObject
) -> PlannedBody:
    """Return the plan of a response request. Raises InvalidRequest, DatabaseUnavailable."""
    kinds = find_kinds(gateway, model)
    if not kinds or not offers_hosted_tools(body):
        return PlannedBody(body)
    separated = separate_tools(body, kinds)
    if not separated.tools:
        return PlannedBody(separated.body)
    client_tools = [
        offered.called_tool
        for offered in list_offered_tools(separated.body)
        if not offered.is_search
    ]
    plan, facts = await make_plan(
        gateway, PlanRequest(caller, body, separated, client_tools, shows_items=True)
    )
    labels = [source.server.label for source in plan.mcp_sources]
    plan.approved_calls, other_body = read_approvals(
        separated.body, facts.approval_requests, labels
    )
    return PlannedBody(other_body, plan)


async def plan_chat_tools(
    gateway: Gateway, caller: Caller, model: ResolvedModel, body: Mapping[str, Any]
) -> PlannedBody:
    """Return the plan of a chat request. Raises InvalidRequest, DatabaseUnavailable."""
    kinds = find_kinds(gateway, model)
    separated = separate_chat_tools(dict(body), kinds)
    if not separated.tools:
        return PlannedBody(separated.body)
    if (body.get("n") or 1) > 1:
        raise InvalidRequest("With tools that are run here there is one choice.", param="n")
    names = map(read_function_name, separated.body.get("tools") or ())
    client_tools = [CalledTool("function", name) for name in names if name]
    plan, _ = await make_plan(
        gateway, PlanRequest(caller, dict(body), separated, client_tools, shows_items=False)
    )
    for source in plan.mcp_sources:
        require_no_approval(source)
    return PlannedBody(separated.body, plan)


def separate_chat_tools(body: JsonObject, kinds: frozenset[str]) -> SeparatedBody:
    """Divide a chat body, in which the web search is a field and not a tool."""
    separated = separate_tools(body, kinds)
    options = body.get(OPTIONS_FIELD)
    if options is None or ServerTool.WEB_SEARCH not in kinds:
        return separated
    place = options.get("user_location") or {}
    tool = {**options, "type": "web_search", "user_location": place.get("approximate")}
    placed = PlacedTool(ServerTool.WEB_SEARCH, tool, OPTIONS_FIELD)
    other_body = {name: value for name, value in separated.body.items() if name != OPTIONS_FIELD}
    choice = separated.choice if separated.tools else ToolChoice()
    return SeparatedBody([*separated.tools, placed], choice, other_body)


def require_no_approval(source: McpSource) -> None:
    """Raise InvalidRequest where a call would need an approval, for which a chat has no place."""
    if source.server.needs_approval or source.approvals.by_default:
        message = (
            f"Calls of the MCP server {source.server.label!r} need an approval, which only "
            "/v1/responses can ask for: send require_approval “never”, if the server allows it."
        )
        raise InvalidRequest(message, param="tools", code="unsupported_parameter")
