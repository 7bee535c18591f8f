"""Search the web through the one backend that the deployment has configured.

Takes a query and the most results wanted. Returns the backend's results in its order, each
{"title", "link", "snippet"}; an empty list when it found nothing. Nothing is ever made up: a
backend that fails is an UpstreamError. Sources: SearXNG's "Search API" (GET /search?format=json),
Brave's "Web Search API" (GET /web/search), Tavily's API reference (POST /search).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
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
from providers.network.address_guard import base_url_problem
from providers.network.api_client import ApiCall, ApiClient
from providers.network.http_client import HttpAnswer, Timeouts
from providers.upstream.base_adapter import USER_AGENT
from providers.wire.json_reader import loads

QUERY_CHARS = 400
MOST_RESULTS = 20
Result = dict[str, str]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to a backend.

    `path` is below its base URL; `header` is one whole line or empty.
    """

    method: str
    path: str
    header: str = ""
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Backend:
    """One kind of backend: how it is called and how its answer is read.

    `snippet` names the field of a result that has its text; `url` is the base URL unless SEARCH_URL
    gives one.
    """

    asked: Callable[[str, int, str], Asked]  # of query, number of results and key
    found: Callable[[dict[str, Any]], Any]  # of the answer's object; raises UpstreamError
    snippet: str
    url: str = ""  # the base URL unless SEARCH_URL is set
    most_words: int = QUERY_CHARS  # of a query

    @property
    def needs_key(self) -> bool:
        return bool(self.url)


def ask_searxng(query: str, count: int, key: str) -> Asked:
    return Asked("GET", "search?" + urlencode({"q": query, "format": "json"}))


def found_by_searxng(answer: dict[str, Any]) -> Any:
    """Return the results of SearXNG's answer.

    Raises ServerFailed when there are none and an engine did not answer: that is a failure, not an
    empty result.
    """
    results = answer.get("results")
    if results == [] and answer.get("unresponsive_engines"):
        raise ServerFailed("The search engines behind the search backend did not answer.")
    return results


def ask_brave(query: str, count: int, key: str) -> Asked:
    asked = {"q": query, "count": count, "text_decorations": "false", "result_filter": "web"}
    return Asked("GET", "web/search?" + urlencode(asked), f"X-Subscription-Token: {key}\r\n")


def found_by_brave(answer: dict[str, Any]) -> Any:
    """Return the results of Brave's answer; it leaves the `web` part out when there are none."""
    web = answer.get("web", {"results": []} if answer.get("type") == "search" else None)
    return web.get("results") if isinstance(web, dict) else None


def ask_tavily(query: str, count: int, key: str) -> Asked:
    body = orjson.dumps({"query": query, "max_results": count})
    return Asked("POST", "search", f"Authorization: Bearer {key}\r\n", body)


def found_by_tavily(answer: dict[str, Any]) -> Any:
    return answer.get("results")


BACKENDS = {
    "searxng": Backend(ask_searxng, found_by_searxng, "content"),
    "brave": Backend(
        ask_brave,
        found_by_brave,
        "description",
        "https://api.search.brave.com/res/v1",
        most_words=50,
    ),
    "tavily": Backend(ask_tavily, found_by_tavily, "content", "https://api.tavily.com"),
}


# --- configured backend ---------------------------------------------------------------------------
def problem() -> str | None:
    """Return the fault in the SEARCH_… settings, as a sentence for the operator, or None."""
    name = settings.SEARCH_BACKEND
    key = settings.SEARCH_KEY
    if not name:
        return (
            "SEARCH_URL and SEARCH_KEY need SEARCH_BACKEND." if key or settings.SEARCH_URL else None
        )
    if name not in BACKENDS:
        return f"SEARCH_BACKEND is one of: {', '.join(BACKENDS)}."
    backend = BACKENDS[name]
    if backend.needs_key != bool(key):
        return f"SEARCH_BACKEND={name} {'needs a' if backend.needs_key else 'takes no'} SEARCH_KEY."
    if not (key.isascii() and key.isprintable()) or " " in key:
        return "SEARCH_KEY has characters that no header can carry."
    if not (settings.SEARCH_URL or backend.url):
        return f"SEARCH_BACKEND={name} needs SEARCH_URL."
    wrong = base_url_problem(settings.SEARCH_URL or backend.url, settings.SEARCH_ALLOW_PRIVATE)
    return f"SEARCH_URL: {wrong} (“allow private” is SEARCH_ALLOW_PRIVATE=true)" if wrong else None


def configured() -> Backend:
    """Return the configured backend. Raises WebSearchNotConfigured."""
    if not settings.SEARCH_BACKEND or problem():
        raise WebSearchNotConfigured("No search backend is configured here.")
    return BACKENDS[settings.SEARCH_BACKEND]


# --- the search -----------------------------------------------------------------------------------
async def search(client: ApiClient, query: str, count: int) -> list[Result]:
    """Return at most `count` results. Raises WebSearchNotConfigured, UpstreamError."""
    backend = configured()
    call = build_call(backend, backend.asked(query, count, settings.SEARCH_KEY))
    found = backend.found(read_answer(await client.call(call)))
    if not isinstance(found, list):
        raise BadResponse("The search backend's answer has no results to read.")
    return [result for one in found if (result := as_result(one, backend.snippet))][:count]


def build_call(backend: Backend, asked: Asked) -> ApiCall:
    """Build the call of one search, with the limits that the settings give."""
    seconds = settings.SEARCH_SECONDS
    headers = f"Accept: application/json\r\nUser-Agent: {USER_AGENT}\r\n{asked.header}"
    return ApiCall.create(
        asked.method,
        settings.SEARCH_URL or backend.url,
        asked.path,
        allow_private=settings.SEARCH_ALLOW_PRIVATE,
        timeouts=Timeouts(settings.CONNECT_SECONDS, seconds, seconds, seconds, seconds),
        total_seconds=seconds,
        answer_bytes=settings.SEARCH_ANSWER_BYTES,
        headers=headers.encode("ascii"),
        body=asked.body,
    )


def read_answer(answer: HttpAnswer) -> dict[str, Any]:
    """Return the JSON object in a backend's answer. Raises UpstreamError."""
    if not 200 <= answer.status < 300:
        raise refusal(answer.status)
    try:
        body = loads(answer.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise BadResponse("The search backend's answer is not a JSON object.")
    return body


def refusal(status: int) -> UpstreamError:
    """Return the error for a status other than success.

    It is never the caller's fault: key, quota and address belong to the deployment.
    """
    kind = UnexpectedRedirect if 300 <= status < 400 else ServerFailed
    error = kind(f"The search backend answered with the status {status}.")
    error.upstream_status = status
    return error


def as_result(one: Any, snippet: str) -> Result | None:
    """Return a result in our form; None when it has no web address."""
    if not isinstance(one, dict) or not isinstance(link := one.get("url"), str):
        return None
    if not link.startswith(("http://", "https://")):
        return None
    title = one.get("title")
    text = one.get(snippet)
    return {
        "title": title if isinstance(title, str) else "",
        "link": link,
        "snippet": text if isinstance(text, str) else "",
    }
