"""Make the plan of the tools that the gateway runs for a request, of either endpoint."""

from collections.abc import Sequence
from typing import NamedTuple

from django.conf import settings
from msgspec import Struct

from api.authentication import Caller
from api.relay.gateway import Gateway
from api.server_tools.mcp_sources import make_mcp_sources
from api.server_tools.search_tools import make_file_search, make_web_search, read_file_wishes
from api.server_tools.separate_tools import PlacedTool, SeparatedBody
from api.server_tools.stored_facts import StoredFacts, read_facts
from conversations.documents.passage_search import DocumentScope
from conversations.messages.tool_names import CalledTool
from conversations.server_tools.tool_plan import ToolPlan
from providers import web_search
from providers.catalogue import ResolvedModel
from providers.choices import ServerTool
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject


class PlannedBody(NamedTuple):
    """A body without the tools that the gateway runs, and the plan for these, if there are any."""

    body: JsonObject
    plan: ToolPlan | None = None


class PlanRequest(Struct, frozen=True):
    """A request whose plan is to be made; `body` has all its tools."""

    caller: Caller
    body: JsonObject
    separated: SeparatedBody
    client_tools: Sequence[CalledTool]
    shows_items: bool

    def list_tools(self, kind: str) -> list[PlacedTool]:
        return [placed for placed in self.separated.tools if placed.kind == kind]


def find_kinds(gateway: Gateway, model: ResolvedModel) -> frozenset[str]:
    """Return the kinds of tools that the gateway runs for a model now.

    It does not search where the upstream does, where search is off, or without a backend.
    """
    kinds = gateway.catalogue.find_server_tools(model.public_id)
    if ServerTool.WEB_SEARCH not in kinds:
        return kinds
    has_backend = settings.SEARCH_BACKEND and not web_search.find_settings_problem()
    if not has_backend or gateway.catalogue.find_search_setting(model):
        return kinds - {ServerTool.WEB_SEARCH}
    return kinds


async def make_plan(gateway: Gateway, plan_request: PlanRequest) -> tuple[ToolPlan, StoredFacts]:
    """Return the plan, without approved calls, and the facts that were read for it.

    Raises InvalidRequest, DatabaseUnavailable.
    """
    body = plan_request.body
    most_calls = settings.SERVER_TOOL_CALLS
    plan = ToolPlan(
        client_tools=list(plan_request.client_tools),
        choice=plan_request.separated.choice,
        most_calls=min(body.get("max_tool_calls") or most_calls, most_calls),
        shows_items=plan_request.shows_items,
    )
    scope = add_searches(gateway, plan_request, plan)
    mcp_tools = plan_request.list_tools(ServerTool.MCP)
    if not mcp_tools and scope is None:
        return plan, StoredFacts()
    facts = await read_facts(plan_request.caller, body, scope or DocumentScope())
    if facts.unknown_id:
        path = plan_request.list_tools(ServerTool.FILE_SEARCH)[0].field_path
        message = f"There is nothing with the id {facts.unknown_id!r}."
        raise InvalidRequest(message, param=f"{path}.vector_store_ids", code="item_not_found")
    plan.mcp_sources = make_mcp_sources(gateway.mcp, facts.servers, mcp_tools)
    for source in plan.mcp_sources:
        source.shows_list = source.server.label not in facts.listed_labels
    return plan, facts


def add_searches(
    gateway: Gateway, plan_request: PlanRequest, plan: ToolPlan
) -> DocumentScope | None:
    """Add the searches to a plan; return the documents of the search in files, if there is one.

    Raises InvalidRequest.
    """
    include = plan_request.body.get("include") or ()
    # clients offer the web search under two names at once
    for placed in plan_request.list_tools(ServerTool.WEB_SEARCH)[:1]:
        plan.tools.append(make_web_search(gateway, plan.sources, placed, include))
    placed_tools = plan_request.list_tools(ServerTool.FILE_SEARCH)
    if len(placed_tools) > 1:
        param = placed_tools[1].field_path
        raise InvalidRequest("A request has one file_search.", param=param)
    for placed in placed_tools:
        wishes = read_file_wishes(placed, include)
        plan.tools.append(make_file_search(gateway, plan_request.caller, plan.sources, wishes))
        return wishes.scope
    return None
