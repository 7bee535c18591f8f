"""The plan of the tools that the gateway runs for a request, and the body without them.

Without such tools, or where the operator has switched them off for the model, there is no plan and
the body stays as it is.
"""

from contextlib import suppress
from uuid import UUID

from django.conf import settings
from msgspec import Struct

from api.authentication import Caller
from api.relay.gateway import Gateway
from api.responses.request.offered_tools import list_offered_tools
from api.responses.request.schema import find_conversation_id
from api.responses.request.tool_choice import offers_hosted_tools
from api.server_tools.approvals import find_unknown_ids, read_approvals
from api.server_tools.mcp_sources import make_mcp_sources
from api.server_tools.separate_tools import SeparatedBody, separate_tools
from conversations.models import Conversation, Item
from conversations.server_tools.tool_plan import ToolPlan
from providers import web_search
from providers.catalogue import ResolvedModel
from providers.choices import ServerTool
from providers.database.database_threads import TURNS, await_in_time
from providers.mcp.mcp_servers import UsableServer, list_usable_servers
from providers.protocol.json_types import JsonObject

LIST_TYPE = "mcp_list_tools"
MOST_LISTS = 100


class PlannedBody(Struct, frozen=True):
    """A body without the tools that the gateway runs, and the plan for these, if there are any."""

    body: JsonObject
    plan: ToolPlan | None = None


class StoredFacts(Struct, frozen=True):
    """What a plan needs of the database."""

    servers: list[UsableServer]
    approval_requests: dict[str, JsonObject]
    listed_labels: frozenset[str]  # of servers whose lists the conversation has already


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
    plan = make_plan(separated, body)
    facts = await read_facts(caller, separated, body)
    add_mcp_servers(gateway, plan, separated, facts)
    labels = [source.server.label for source in plan.mcp_sources]
    plan.approved_calls, other_body = read_approvals(
        separated.body, facts.approval_requests, labels
    )
    return PlannedBody(other_body, plan)


def make_plan(separated: SeparatedBody, body: JsonObject) -> ToolPlan:
    """Return a plan without the tools that need the database. Raises InvalidRequest."""
    offered_tools = list_offered_tools(separated.body)
    return ToolPlan(
        client_tools=[tool.called_tool for tool in offered_tools if not tool.is_search],
        choice=separated.choice,
        most_calls=min(
            body.get("max_tool_calls") or settings.SERVER_TOOL_CALLS, settings.SERVER_TOOL_CALLS
        ),
    )


def add_mcp_servers(
    gateway: Gateway, plan: ToolPlan, separated: SeparatedBody, facts: StoredFacts
) -> None:
    """Add the MCP servers of a request to its plan. Raises InvalidRequest."""
    placed_tools = [placed for placed in separated.tools if placed.kind == ServerTool.MCP]
    plan.mcp_sources = make_mcp_sources(gateway.mcp, facts.servers, placed_tools)
    for source in plan.mcp_sources:
        source.shows_list = source.server.label not in facts.listed_labels


async def read_facts(caller: Caller, separated: SeparatedBody, body: JsonObject) -> StoredFacts:
    """Return what the plan of a response needs of the database. Raises DatabaseUnavailable."""
    if not any(placed.kind == ServerTool.MCP for placed in separated.tools):
        return StoredFacts([], {}, frozenset())
    work = await TURNS.start_work(caller.user_id, read_stored_facts, caller.user_id, body)
    return await await_in_time(work)


def read_stored_facts(user_id: int | None, body: JsonObject) -> StoredFacts:
    """Return what a plan needs of the database; for a database thread."""
    requests: dict[str, JsonObject] = {}
    if ids := find_unknown_ids(body):
        own_conversations = Conversation.objects.of_user(user_id or 0)
        rows = Item.objects.filter(public_id__in=ids, conversation__in=own_conversations)
        requests = {row.public_id: dict(row.as_openai()) for row in rows}
    return StoredFacts(list_usable_servers(user_id), requests, find_listed_labels(user_id, body))


def find_listed_labels(user_id: int | None, body: JsonObject) -> frozenset[str]:
    """Return the servers whose lists of tools the conversation has already: the caller has them."""
    items = body.get("input")
    lists = [
        item
        for item in (items if isinstance(items, list) else ())
        if item.get("type") == LIST_TYPE and not item.get("error")
    ]
    stored = Item.objects.none()
    if conversation_id := find_conversation_id(body):
        stored = Item.objects.filter(conversation_id=conversation_id)
    elif turn_hex := str(body.get("previous_response_id") or "").removeprefix("resp_"):
        with suppress(ValueError):
            stored = Item.objects.filter(conversation__turns=UUID(turn_hex))
    stored = stored.filter(type=LIST_TYPE, status="completed", conversation__user_id=user_id or 0)
    lists += stored.values_list("data", flat=True)[:MOST_LISTS]
    return frozenset(str(item.get("server_label")) for item in lists)
