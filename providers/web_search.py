"""Search the web through the one backend that the deployment has configured.

Takes a query and the most results wanted. Returns the backend's results in its order, each
{"title", "link", "snippet"}; an empty list when it found nothing. Nothing is ever made up: a
backend that fails is an UpstreamError. Sources: SearXNG's "Search API" (GET /search?format=json),
Brave's "Web Search API" (GET /web/search), Tavily's API reference (POST /search).
"""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import orjson
from django.conf import settings

from providers.exceptions import (
    BadResponse,
    ServerFailed,
    UnexpectedRedirect,
    UpstreamError,
    WebSearchNotConfigured,
)
from providers.network.address_guard import find_base_url_problem
from providers.network.api_client import ApiCall, ApiClient
from providers.network.proxies.outbound_proxy import find_default_proxy
from providers.network.response import HttpAnswer
from providers.network.target import Timeouts
from providers.protocol.json_types import JsonObject
from providers.upstream.error_mapping import text_or_empty
from providers.upstream.upstream_client import USER_AGENT
from providers.wire.json_reader import read_json

QUERY_CHARS = 400
MOST_RESULTS = 20
SearchResult = dict[str, str]


@dataclass(frozen=True, slots=True)
class BackendRequest:
    """One request to a backend.

    `path` is below its base URL; `header` is one whole line or empty.
    """

    method: str
    path: str
    header: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class SearchBackend:
    """One kind of backend: how it is called and how its answer is read.

    `snippet_field` names the field of a result that has its text; `default_url` is the base URL
    unless SEARCH_URL gives one.
    """

    # of query, number of results and key
    build_backend_request: Callable[[str, int, str], BackendRequest]
    read_results: Callable[[JsonObject], object]  # of the answer's object; raises UpstreamError
    snippet_field: str
    default_url: str = ""  # the base URL unless SEARCH_URL is set
    most_words: int = QUERY_CHARS  # of a query

    @property
    def needs_key(self) -> bool:
        return bool(self.default_url)


def build_searxng_request(query: str, count: int, key: str) -> BackendRequest:
    return BackendRequest("GET", "search?" + urlencode({"q": query, "format": "json"}))


def read_searxng_results(answer: JsonObject) -> object:
    """Return the results of SearXNG's answer.

    Raises ServerFailed when there are none and an engine did not answer: that is a failure, not an
    empty result.
    """
    results = answer.get("results")
    if results == [] and answer.get("unresponsive_engines"):
        raise ServerFailed("The search engines behind the search backend did not answer.")
    return results


def build_brave_request(query: str, count: int, key: str) -> BackendRequest:
    parameters = {"q": query, "count": count, "text_decorations": "false", "result_filter": "web"}
    return BackendRequest(
        "GET", "web/search?" + urlencode(parameters), f"X-Subscription-Token: {key}\r\n"
    )


def read_brave_results(answer: JsonObject) -> object:
    """Return the results of Brave's answer; it leaves the `web` part out when there are none."""
    if "web" not in answer and answer.get("type") == "search":
        return []
    web = answer.get("web")
    return isinstance(web, dict) and web.get("results")


def build_tavily_request(query: str, count: int, key: str) -> BackendRequest:
    body = orjson.dumps({"query": query, "max_results": count})
    return BackendRequest("POST", "search", f"Authorization: Bearer {key}\r\n", body)


def read_tavily_results(answer: JsonObject) -> object:
    return answer.get("results")


BACKENDS = {
    "searxng": SearchBackend(build_searxng_request, read_searxng_results, "content"),
    "brave": SearchBackend(
        build_brave_request,
        read_brave_results,
        "description",
        "https://api.search.brave.com/res/v1",
        most_words=50,
    ),
    "tavily": SearchBackend(
        build_tavily_request, read_tavily_results, "content", "https://api.tavily.com"
    ),
}


# --- configured backend ---------------------------------------------------------------------------
def find_settings_problem() -> str | None:
    """Return the fault in the SEARCH_… settings, as a sentence for the operator, or None."""
    name = settings.SEARCH_BACKEND
    key = settings.SEARCH_KEY
    if not name and (key or settings.SEARCH_URL):
        return "SEARCH_URL and SEARCH_KEY need SEARCH_BACKEND."
    if not name:
        return None
    if name not in BACKENDS:
        return f"SEARCH_BACKEND is one of: {', '.join(BACKENDS)}."
    backend = BACKENDS[name]
    if backend.needs_key and not key:
        return f"SEARCH_BACKEND={name} needs a SEARCH_KEY."
    if key and not backend.needs_key:
        return f"SEARCH_BACKEND={name} takes no SEARCH_KEY."
    if not (key.isascii() and key.isprintable()) or " " in key:
        return "SEARCH_KEY has characters that no header can carry."
    if not (settings.SEARCH_URL or backend.default_url):
        return f"SEARCH_BACKEND={name} needs SEARCH_URL."
    problem = find_base_url_problem(
        settings.SEARCH_URL or backend.default_url, settings.SEARCH_ALLOW_PRIVATE
    )
    if problem is None:
        return None
    return f"SEARCH_URL: {problem} (“allow private” is SEARCH_ALLOW_PRIVATE=true)"


def get_configured_backend() -> SearchBackend:
    """Return the configured backend. Raises WebSearchNotConfigured."""
    if not settings.SEARCH_BACKEND or find_settings_problem():
        raise WebSearchNotConfigured("No search backend is configured here.")
    return BACKENDS[settings.SEARCH_BACKEND]


# --- the search -----------------------------------------------------------------------------------
async def search_web(client: ApiClient, query: str, count: int) -> list[SearchResult]:
    """Return at most `count` results. Raises WebSearchNotConfigured, UpstreamError."""
    backend = get_configured_backend()
    call = build_search_call(
        backend, backend.build_backend_request(query, count, settings.SEARCH_KEY)
    )
    answer = await client.fetch_answer(call)
    entries = backend.read_results(read_search_answer(answer))
    if not isinstance(entries, list):
        raise BadResponse("The search backend's answer has no results to read.")
    results = (convert_result(entry, backend.snippet_field) for entry in entries)
    return [result for result in results if result is not None][:count]


def build_search_call(backend: SearchBackend, backend_request: BackendRequest) -> ApiCall:
    """Build the call of one search, with the limits that the settings give."""
    seconds = settings.SEARCH_SECONDS
    headers = f"Accept: application/json\r\nUser-Agent: {USER_AGENT}\r\n{backend_request.header}"
    return ApiCall.from_path(
        backend_request.method,
        settings.SEARCH_URL or backend.default_url,
        backend_request.path,
        allow_private=settings.SEARCH_ALLOW_PRIVATE,
        proxy=find_default_proxy(settings.SEARCH_ALLOW_PRIVATE),
        timeouts=Timeouts(settings.CONNECT_SECONDS, seconds, seconds, seconds, seconds),
        total_seconds=seconds,
        answer_bytes=settings.SEARCH_ANSWER_BYTES,
        headers=headers.encode("ascii"),
        body=backend_request.body,
    )


def read_search_answer(answer: HttpAnswer) -> JsonObject:
    """Return the JSON object in a backend's answer. Raises UpstreamError."""
    if not 200 <= answer.status < 300:
        raise make_backend_error(answer.status)
    try:
        body = read_json(answer.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise BadResponse("The search backend's answer is not a JSON object.")
    return body


def make_backend_error(status: int) -> UpstreamError:
    """Return the error for a status other than success.

    It is never the caller's fault: key, quota and address belong to the deployment.
    """
    message = f"The search backend answered with the status {status}."
    error: UpstreamError = ServerFailed(message)
    if 300 <= status < 400:
        error = UnexpectedRedirect(message)
    error.upstream_status = status
    return error


def convert_result(entry: object, snippet_field: str) -> SearchResult | None:
    """Return a result in our form; None when it has no web address."""
    if not isinstance(entry, dict) or not isinstance(link := entry.get("url"), str):
        return None
    if not link.startswith(("http://", "https://")):
        return None
    return {
        "title": text_or_empty(entry.get("title")),
        "link": link,
        "snippet": text_or_empty(entry.get(snippet_field)),
    }
