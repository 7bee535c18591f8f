"""/v1/web_search in OpenKimi's form: {"query", "count"} in, {"status", "query", "results"} out.

Only real results are returned. A result is {"title", "link", "snippet"}. Without a configured
backend the endpoint answers 501 (`providers/web_search.py`).
"""

from functools import partial
from typing import Annotated

import orjson
from django.http import HttpResponse, HttpResponseBase
from msgspec import UNSET, Meta, Struct

from api.authentication import INVALID_KEY_TEXT
from api.exceptions import add_limit_headers, api_endpoint
from api.relay.lean_request import LeanRequest
from api.relay.request_limits import count_request
from api.schemas.json_body import Maybe, missing_parameter_error, parse_json_body, read_beside_loop
from api.views.base import require_json
from providers.exceptions import InvalidKey, InvalidRequest
from providers.web_search import MOST_RESULTS, QUERY_CHARS, get_configured_backend, search_web

DEFAULT_RESULT_COUNT = 10  # default number of results


class SearchBody(Struct):
    query: Annotated[str, Meta(max_length=QUERY_CHARS)]
    count: Annotated[int, Meta(ge=1, le=MOST_RESULTS)] | Maybe = UNSET


@api_endpoint("POST")
async def web_search(request: LeanRequest) -> HttpResponseBase:
    caller = await request.authenticate()
    if caller.key_id is None:  # upstream tokens of the caller are no API key
        raise InvalidKey(INVALID_KEY_TEXT)
    backend = get_configured_backend()
    require_json(request)
    read = partial(parse_json_body, shape=SearchBody)
    body = await read_beside_loop(read, await request.receive_body())
    query = " ".join(body["query"].split())
    if not query:
        raise missing_parameter_error("query", "The query is empty.")
    if len(query.split(" ")) > backend.most_words:
        raise InvalidRequest(f"A query has at most {backend.most_words} words.", param="query")
    async with count_request(request, caller):
        results = await search_web(
            request.gateway.clients.api, query, body.get("count") or DEFAULT_RESULT_COUNT
        )
    answer = {"status": "success", "query": body["query"], "results": results}
    headers = {"x-request-id": request.request_id, "cache-control": "no-store"}
    response = HttpResponse(orjson.dumps(answer), content_type="application/json", headers=headers)
    add_limit_headers(response, request)
    return response
