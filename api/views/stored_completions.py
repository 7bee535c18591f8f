"""Stored chat completions in OpenAI's form: list, get, change the metadata, delete, messages.

Completions that were requested with `"store": true` are kept. The object is the answer as the
caller got it, together with the parameters of the request. One that was cut off has no finish
reason. Source: OpenAI's API reference, "Chat completions".
"""

import json
import re
from collections.abc import Sequence
from functools import partial

from django.db import connection
from django.db.models import F, Func, Prefetch, Q, TextField, Value, prefetch_related_objects
from django.db.models.lookups import Exact
from rest_framework.request import Request
from rest_framework.response import Response

from api import pagination
from api.schemas import item_inputs
from api.views.base import ApiView, owner_id, require_storing
from api.views.conversations import NewMetadata
from conversations.messages import items_to_chat
from conversations.models import Item, Turn
from conversations.stored import stored_answer, stored_completions, unknown_ids
from providers.protocol.json_types import JsonObject
from providers.protocol.message_text import join_texts

METADATA_PARAMETER = re.compile(r"metadata\[(.+)\]", re.DOTALL)
OUTPUT_PREFETCH = Prefetch("items", Item.objects.filter(output=True).order_by("id"))
REPEATED_FIELDS = (  # request fields that the object always has
    "tool_choice",
    "tools",
    "seed",
    "top_p",
    "temperature",
    "presence_penalty",
    "frequency_penalty",
    "response_format",
    "service_tier",
)


class StoredCompletions(ApiView):
    def get(self, request: Request) -> Response:
        parameters = request.query_params
        page_query = pagination.parse_page_query(parameters, order="asc")
        completions = stored_completions.completions_of(owner_id(request))
        if model := parameters.get("model"):
            completions = completions.filter(model=model)
        for name in parameters:
            if match := METADATA_PARAMETER.fullmatch(name):
                condition = build_metadata_condition(match[1], parameters[name])
                completions = completions.filter(condition)
        rows = pagination.find_page_rows(
            completions,
            page_query,
            partial(stored_completions.find_completion, owner_id(request)),
            "id",
        )
        return Response(pagination.render_page(render_completions(rows), page_query))


class StoredCompletion(ApiView):
    def get(self, request: Request, completion_id: str) -> Response:
        turn = stored_completions.find_completion(owner_id(request), completion_id)
        return Response(render_completions([turn])[0])

    def post(self, request: Request, completion_id: str) -> Response:
        require_storing(request)
        turn = stored_completions.find_completion(owner_id(request), completion_id)
        body = item_inputs.read_drf_body(request, NewMetadata)
        turn.metadata = item_inputs.validate_metadata(body["metadata"])
        turn.save(update_fields=["metadata"])
        return Response(render_completions([turn])[0])

    def delete(self, request: Request, completion_id: str) -> Response:
        turn = stored_completions.find_completion(owner_id(request), completion_id)
        stored_completions.delete_completion(turn)
        return Response({"object": "chat.completion.deleted", "id": completion_id, "deleted": True})


class StoredCompletionMessages(ApiView):
    def get(self, request: Request, completion_id: str) -> Response:
        page_query = pagination.parse_page_query(request.query_params, order="asc")
        turn = stored_completions.find_completion(owner_id(request), completion_id)
        messages = items_to_chat.entries_to_messages(turn.items.filter(output=False).order_by("id"))
        objects = [
            render_stored_message(message, f"{completion_id}-{position}")
            for position, message in enumerate(messages)
        ]
        if page_query.descending:
            objects.reverse()
        start = 0
        if page_query.after:
            ids = [message["id"] for message in objects]
            if page_query.after not in ids:
                raise unknown_ids.unknown_message(page_query.after)
            start = ids.index(page_query.after) + 1
        page_objects = objects[start : start + page_query.limit + 1]
        return Response(pagination.render_page(page_objects, page_query))


def build_metadata_condition(name: str, text: str) -> Q | Exact:
    """Return the query condition that metadata contains this pair."""
    pair = {name: text}
    if connection.vendor == "postgresql":
        return Q(metadata__contains=pair)
    # SQLite: patching with the pair changes nothing when it is contained
    return Exact(build_metadata_patch(json.dumps(pair)), build_metadata_patch("{}"))


def build_metadata_patch(patch: str) -> Func:
    return Func(F("metadata"), Value(patch), function="JSON_PATCH", output_field=TextField())


def render_completions(turns: Sequence[Turn]) -> list[JsonObject]:
    """Return OpenAI's objects of these completions."""
    prefetch_related_objects(turns, OUTPUT_PREFETCH)
    return [render_completion(turn, list(turn.items.all())) for turn in turns]


def render_completion(turn: Turn, output_items: Sequence[Item]) -> JsonObject:
    """Return OpenAI's object of a completion with these output items.

    It includes the extra fields that the answer had.
    """
    extra_fields = {name: value for name, value in turn.extra_fields.items() if name != "choices"}
    first = {
        "index": 0,
        "message": stored_answer.render_answer(output_items),
        "finish_reason": turn.finish_reason or None,
        "logprobs": collect_logprobs(output_items),
    }
    others = [{"logprobs": None, **choice} for choice in turn.extra_fields.get("choices") or ()]
    return extra_fields | {
        "object": "chat.completion",
        "id": f"chatcmpl-{turn.pk.hex}",
        "model": turn.model,
        "created": int(turn.created_at.timestamp()),
        "request_id": f"req_{turn.pk.hex}",
        **dict.fromkeys(REPEATED_FIELDS),
        **{name: value for name, value in turn.settings.items() if name != "user"},
        "input_user": turn.settings.get("user"),
        "usage": turn.usage,
        "metadata": turn.metadata,
        "choices": [first, *others],
    }


def collect_logprobs(output_items: Sequence[Item]) -> JsonObject | None:
    """Return the log probabilities of an answer's words, or None when it has none."""
    parts = [
        part
        for item in output_items
        if item.type == "message"
        for part in item.data.get("content") or ()
    ]
    logprobs = [entry for part in parts for entry in part.get("logprobs") or ()]
    if not logprobs:
        return None
    return {"content": logprobs, "refusal": None}


def render_stored_message(chat_message: JsonObject, message_id: str) -> JsonObject:
    """Return one message of the request in OpenAI's form.

    `content` is its text, `content_parts` are its parts if it has some.
    """
    content = chat_message["content"]
    return {
        "id": message_id,
        "name": None,
        "refusal": None,
        **chat_message,
        "content": None if content is None else join_texts(content),
        "content_parts": content if isinstance(content, list) else None,
    }
