"""/v1/web_search in OpenKimi's form: {"query", "count"} in, {"status", "query", "results"} out.

Only real results are returned. A result is {"title", "link", "snippet"}. Without a configured
backend the endpoint answers 501 (`providers/web_search.py`).
"""

from functools import partial
from typing import Annotated

import orjson
from django.http import HttpResponse, HttpResponseBase
from msgspec import UNSET, Meta, Struct

from api.authentication import UNKNOWN
from api.exceptions import door
from api.relay.gateway import LeanRequest
from api.schemas.json_body import Maybe, missing, read_beside_loop, well_formed
from api.views.base import require_json
from providers.exceptions import InvalidKey, InvalidRequest
from providers.web_search import MOST_RESULTS, QUERY_CHARS, configured, search

COUNT = 10  # default number of results


class SearchBody(Struct):
    query: Annotated[str, Meta(max_length=QUERY_CHARS)]
    count: Annotated[int, Meta(ge=1, le=MOST_RESULTS)] | Maybe = UNSET


@door("POST")
async def web_search(request: LeanRequest) -> HttpResponseBase:
    caller = await request.authenticate()
    if caller.key_id is None:  # upstream tokens of the caller are no API key
        raise InvalidKey(UNKNOWN)
    backend = configured()
    require_json(request)
    read = partial(well_formed, shape=SearchBody)
    body = await read_beside_loop(read, await request.whole_body())
    query = " ".join(body["query"].split())
    if not query:
        raise missing("query", "The query is empty.")
    if len(query.split(" ")) > backend.most_words:
        raise InvalidRequest(f"A query has at most {backend.most_words} words.", param="query")
    results = await search(request.gateway.clients.api, query, body.get("count") or COUNT)
    answer = {"status": "success", "query": body["query"], "results": results}
    headers = {"x-request-id": request.request_id, "cache-control": "no-store"}
    return HttpResponse(orjson.dumps(answer), content_type="application/json", headers=headers)
