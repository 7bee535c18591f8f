"""The searches that a request offers and the gateway runs: in the web, and in own files."""

from collections.abc import Sequence

from api.authentication import Caller
from api.relay.gateway import Gateway
from api.server_tools.separate_tools import PlacedTool
from api.server_tools.tool_shapes import (
    FileSearchShape,
    Location,
    WebSearchShape,
    read_tool,
)
from conversations.documents.passage_search import DocumentScope, read_scope
from conversations.models import Conversation, Document, StoredFile
from conversations.server_tools.citations import CitationSources
from conversations.server_tools.file_search_tool import DEFAULT_COUNT, FileSearchTool, FileWishes
from conversations.server_tools.web_search_tool import (
    RESULT_COUNTS,
    SearchWishes,
    WebSearchTool,
)
from providers.exceptions import InvalidRequest


def make_web_search(
    gateway: Gateway, sources: CitationSources, placed: PlacedTool, include: Sequence[str]
) -> WebSearchTool:
    """Return the web search of a request. Raises InvalidRequest."""
    shape = read_tool(placed.tool, WebSearchShape, placed.field_path)
    filters = shape.filters or None
    wishes = SearchWishes(
        RESULT_COUNTS[shape.search_context_size or "medium"],
        describe_place(shape.user_location or None),
        clean_domains((filters.allowed_domains or None) if filters else None),
        clean_domains((filters.blocked_domains or None) if filters else None),
        shows_sources="web_search_call.action.sources" in include,
        shows_results="web_search_call.results" in include,
    )
    return WebSearchTool(gateway.clients.api, sources, wishes)


def describe_place(location: Location | None) -> str:
    """Return the place of the person who asks as words; empty without one."""
    if location is None:
        return ""
    parts = (location.city, location.region, location.country)
    return ", ".join(part for part in parts if isinstance(part, str) and part)


def clean_domains(domains: list[str] | None) -> tuple[str, ...]:
    """Return domains in lower case, without a scheme and a path."""
    if not domains:
        return ()
    hosts = (domain.lower().rpartition("://")[2].partition("/")[0] for domain in domains)
    return tuple(host for host in hosts if host)


def read_file_wishes(placed: PlacedTool, include: Sequence[str]) -> FileWishes:
    """Return the wishes of a request for the search in files. Raises InvalidRequest."""
    if placed.tool.get("filters"):
        message = "Files have no attributes here that a search could be limited to."
        param = f"{placed.field_path}.filters"
        raise InvalidRequest(message, param=param, code="unsupported_parameter")
    shape = read_tool(placed.tool, FileSearchShape, placed.field_path)
    scope = read_scope(shape.vector_store_ids)
    if scope is None or not shape.vector_store_ids:
        message = (
            "vector_store_ids has ids of your files (file-…), documents (doc_…) or conversations "
            "(conv_…), or the word all."
        )
        raise InvalidRequest(message, param=f"{placed.field_path}.vector_store_ids")
    options = shape.ranking_options or None
    return FileWishes(
        scope,
        shape.max_num_results or DEFAULT_COUNT,
        (options.score_threshold or 0.0) if options else 0.0,
        shows_results="file_search_call.results" in include,
    )


def make_file_search(
    gateway: Gateway, caller: Caller, sources: CitationSources, wishes: FileWishes
) -> FileSearchTool:
    """Return the search in a caller's files. Raises InvalidRequest for a caller without any."""
    if caller.user_id is None:
        message = "A search in files needs an API key."
        raise InvalidRequest(message, param="tools", code="unsupported_parameter")
    return FileSearchTool(caller.user_id, sources, wishes, gateway.embed)


def find_unknown_id(user_id: int | None, scope: DocumentScope) -> str:
    """Return an id of a scope that is not the user's, or an empty string; for a database thread."""
    owner = user_id or 0
    for ids, rows in (
        (scope.file_ids, StoredFile.objects.of_user(owner)),
        (scope.document_ids, Document.objects.of_user(owner)),
        (scope.conversation_ids, Conversation.objects.of_user(owner)),
    ):
        known = set(rows.filter(pk__in=ids).values_list("pk", flat=True)) if ids else set()
        if unknown := sorted(ids - known):
            return str(unknown[0])
    return ""
