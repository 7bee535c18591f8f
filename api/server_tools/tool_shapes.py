"""The tools of a body that the gateway may run, as their fields, checked.

They are checked only where the gateway runs them; elsewhere they are passed over or passed on, like
every tool that it does not know. Source: OpenAI's API reference, "Create a response", `tools`.
"""

from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct

from api.responses.request.offered_tools import WEB_SEARCH_TYPES, Tool
from api.schemas.item_inputs import prefix_error_path
from api.schemas.json_body import Maybe, invalid_value_error
from conversations.server_tools.mcp_tools import ApprovalPolicy, ToolFilter
from providers.choices import ServerTool

Shape = TypeVar("Shape", bound=Struct)
KINDS_BY_TYPE = {
    "mcp": ServerTool.MCP,
    "file_search": ServerTool.FILE_SEARCH,
    **dict.fromkeys(WEB_SEARCH_TYPES, ServerTool.WEB_SEARCH),
}


class FilterShape(Struct):
    tool_names: list[str] | Maybe = UNSET
    read_only: bool | Maybe = UNSET


class ApprovalShape(Struct):
    always: FilterShape | Maybe = UNSET
    never: FilterShape | Maybe = UNSET


class McpShape(Struct):
    server_label: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")]
    server_url: str | Maybe = UNSET
    server_description: str | Maybe = UNSET
    connector_id: str | Maybe = UNSET
    tunnel_id: str | Maybe = UNSET
    authorization: str | Maybe = UNSET
    headers: dict[str, str] | Maybe = UNSET
    allowed_tools: list[str] | FilterShape | Maybe = UNSET
    require_approval: Literal["always", "never"] | ApprovalShape | Maybe = UNSET


class DomainFilters(Struct):
    allowed_domains: list[str] | Maybe = UNSET
    blocked_domains: list[str] | Maybe = UNSET


class Location(Struct):
    city: str | Maybe = UNSET
    country: str | Maybe = UNSET
    region: str | Maybe = UNSET


class WebSearchShape(Struct):
    search_context_size: Literal["low", "medium", "high"] | Maybe = UNSET
    user_location: Location | Maybe = UNSET
    filters: DomainFilters | Maybe = UNSET


class RankingShape(Struct):
    score_threshold: Annotated[float, Meta(ge=0, le=1)] | Maybe = UNSET


class FileSearchShape(Struct):
    vector_store_ids: list[str]
    max_num_results: Annotated[int, Meta(ge=1, le=50)] | Maybe = UNSET
    ranking_options: RankingShape | Maybe = UNSET


def read_tool(tool: Tool, shape: type[Shape], field_path: str) -> Shape:
    """Return a tool's fields. Raises InvalidRequest, with the field in `param`."""
    try:
        return msgspec.convert(tool, shape)
    except msgspec.ValidationError as error:
        raise invalid_value_error(prefix_error_path(str(error), field_path)) from None


def read_filter(shape: list[str] | FilterShape | Maybe) -> ToolFilter | None:
    """Return the tools that are meant; None: the request says nothing about them."""
    if isinstance(shape, list):
        return ToolFilter(frozenset(shape))
    if not isinstance(shape, FilterShape):
        return None
    names = frozenset(shape.tool_names) if isinstance(shape.tool_names, list) else None
    read_only = shape.read_only if isinstance(shape.read_only, bool) else None
    return ToolFilter(names, read_only)


def read_approval_policy(shape: str | ApprovalShape | Maybe) -> ApprovalPolicy:
    """Return which calls need an approval: all of them, unless the request says otherwise."""
    if isinstance(shape, str):
        return ApprovalPolicy(by_default=shape == "always")
    if not isinstance(shape, ApprovalShape):
        return ApprovalPolicy()
    always = read_filter(shape.always)
    never = read_filter(shape.never)
    return ApprovalPolicy(
        by_default=always is None or never is not None,
        always=always or ToolFilter(),
        never=never or ToolFilter(),
    )
