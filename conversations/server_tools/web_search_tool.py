"""The web search that the gateway runs through its backend, for models that cannot search.

Source: OpenAI's API reference, "Create a response", `web_search`, and "Web search call".
"""

from urllib.parse import urlsplit

from django.conf import settings
from msgspec import Struct

from conversations.messages.tool_names import CalledTool
from conversations.server_tools.citations import CITE_HINT, CitationSources
from conversations.server_tools.mcp_tools import SERVER_TOOL_KIND
from conversations.server_tools.server_tool import (
    ToolCall,
    ToolOutcome,
    add_private_fields,
    cut_output,
    make_failed_outcome,
    make_query_parameters,
    read_query,
)
from providers.exceptions import GatewayError
from providers.network.api_client import ApiClient
from providers.protocol.json_types import JsonObject
from providers.web_search import (
    MOST_RESULTS,
    QUERY_CHARS,
    SearchResult,
    get_configured_backend,
    search_web,
)

RESULT_COUNTS = {"low": 3, "medium": 6, "high": 12}  # by `search_context_size`
DEFAULT_COUNT = RESULT_COUNTS["medium"]
NOTHING_FOUND = "The search found nothing."


class SearchWishes(Struct, frozen=True):
    """The wishes of a request for its searches; domains include all names below them."""

    result_count: int = DEFAULT_COUNT
    place: str = ""  # of the person who asks
    allowed_domains: tuple[str, ...] = ()
    blocked_domains: tuple[str, ...] = ()
    shows_sources: bool = False  # items name the addresses of all results
    shows_results: bool = False  # items have the results themselves


class WebSearchTool:
    """The search as a function with one argument."""

    needs_approval = False

    def __init__(self, client: ApiClient, sources: CitationSources, wishes: SearchWishes) -> None:
        self._client = client
        self._sources = sources
        self._wishes = wishes

    @property
    def called_tool(self) -> CalledTool:
        return CalledTool(SERVER_TOOL_KIND, "web_search")

    def describe(self) -> JsonObject:
        sentences = ["Search the web. The results are numbered.", CITE_HINT]
        if self._wishes.place:
            sentences.append(f"The person who asks is in {self._wishes.place}.")
        parameters = make_query_parameters("What to search for, in a few words.")
        return {"description": " ".join(sentences), "parameters": parameters}

    def build_item(self, call: ToolCall) -> JsonObject:
        query = read_query(call.arguments)
        action = {"type": "search", "query": query, "queries": [query]}
        return {"type": "web_search_call", "action": action}

    async def run(self, call: ToolCall, seconds: float) -> ToolOutcome:
        query = read_query(call.arguments)[:QUERY_CHARS]
        if not query:
            return self.make_failure(call, "The query is empty.")
        try:
            most_words = get_configured_backend().most_words
            query = " ".join(query.split(" ")[:most_words])
            results = await search_web(self._client, self._widen_query(query), self._count)
        except GatewayError as error:
            return self.make_failure(call, error.message)
        results = [result for result in results if self._is_wanted(result)]
        results = results[: self._wishes.result_count]
        output = cut_output(self._render(results), settings.SERVER_TOOL_RESULT_BYTES)
        item = self.build_item(call)
        if self._wishes.shows_sources:
            item["action"]["sources"] = [
                {"type": "url", "url": result["link"]} for result in results
            ]
        if self._wishes.shows_results:
            item["results"] = results
        return ToolOutcome(add_private_fields(item, call, output), output)

    def make_failure(self, call: ToolCall, message: str) -> ToolOutcome:
        return make_failed_outcome(self.build_item(call), call, f"The search failed: {message}")

    @property
    def _count(self) -> int:
        """Return how many results to ask for; more where some may be left out."""
        wishes = self._wishes
        if wishes.allowed_domains or wishes.blocked_domains:
            return MOST_RESULTS
        return wishes.result_count

    def _widen_query(self, query: str) -> str:
        """Return the query with the only domain that is wanted, as all backends understand it."""
        domains = self._wishes.allowed_domains
        return f"{query} site:{domains[0]}" if len(domains) == 1 else query

    def _is_wanted(self, result: SearchResult) -> bool:
        """Return whether a result is of a domain that the request allows."""
        host = (urlsplit(result["link"]).hostname or "").lower()
        wishes = self._wishes
        if wishes.allowed_domains and not is_below(host, wishes.allowed_domains):
            return False
        return not is_below(host, wishes.blocked_domains)

    def _render(self, results: list[SearchResult]) -> str:
        """Return the results as the model gets them, each with the number to cite it by."""
        texts = [
            f"[{self._sources.add_page(result['link'], result['title'])}] {result['title']}\n"
            f"{result['link']}\n{result['snippet']}"
            for result in results
        ]
        return "\n\n".join(texts) or NOTHING_FOUND


def is_below(host: str, domains: tuple[str, ...]) -> bool:
    """Return whether a host is one of the domains, or below one."""
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)
