"""/v1/models as Anthropic's clients know it: pages of model objects.

A request is theirs when it has the header `anthropic-version`, which all of them send. Source:
Anthropic's API reference, "List Models" and "Get a Model".
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.http import HttpRequest

from api.messages.request.original_body import VERSION_HEADER
from api.pagination import read_integer
from providers.exceptions import InvalidRequest
from providers.protocol.json_types import JsonObject

DEFAULT_PAGE_ROWS = 20
MOST_PAGE_ROWS = 1_000


def is_anthropic_client(request: HttpRequest) -> bool:
    """Return whether the request comes from a client of Anthropic's API."""
    return VERSION_HEADER in request.META


def render_model_info(model: JsonObject) -> JsonObject:
    """Return OpenAI's model object in Anthropic's form."""
    created_at = datetime.fromtimestamp(model["created"], UTC)
    return {
        "type": "model",
        "id": model["id"],
        "display_name": model["id"],
        "created_at": created_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "max_input_tokens": model["context_window"],
        "max_tokens": model["top_provider"]["max_completion_tokens"],
        "capabilities": None,
        "lifecycle": "active",
        "line": None,
        "deprecated_at": None,
        "retires_at": None,
    }


def render_model_page(models: Sequence[JsonObject], query: Mapping[str, Any]) -> JsonObject:
    """Return the page of models that a query asks for. Raises InvalidRequest."""
    limit = read_integer(query.get("limit", DEFAULT_PAGE_ROWS), "limit", 1, MOST_PAGE_ROWS)
    ids = [model["id"] for model in models]
    start = 0
    end = len(models)
    if after := query.get("after_id"):
        start = find_position(ids, after, "after_id") + 1
    if before := query.get("before_id"):
        end = find_position(ids, before, "before_id")
        start = max(start, end - limit)
    page = [render_model_info(model) for model in models[start:end][:limit]]
    has_more = start > 0 if query.get("before_id") else start + limit < end
    return {
        "data": page,
        "has_more": has_more,
        "first_id": page[0]["id"] if page else None,
        "last_id": page[-1]["id"] if page else None,
    }


def find_position(ids: Sequence[str], wanted: str, param: str) -> int:
    """Return the place of a model in the list. Raises InvalidRequest when it has none."""
    if wanted not in ids:
        raise InvalidRequest(f"There is no model {wanted!r} in the list.", param=param)
    return ids.index(wanted)
