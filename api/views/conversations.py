"""/v1/conversations in OpenAI's form: create, read, change the metadata, delete; and their items.

Besides, the list of one's own conversations, the last used one first. Conversations that the client
named itself (in the path, `conversation_id` or `session_id`) have such an id too. Source: OpenAI's
API reference, "Conversations".
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from django.conf import settings
from django.db import connection
from msgspec import UNSET, Struct
from rest_framework.request import Request
from rest_framework.response import Response

from api import pagination
from api.schemas import item_inputs
from api.schemas.json_body import Maybe
from api.views.base import ApiView, owner_id, require_storing
from conversations import retention
from conversations.messages import input_to_items
from conversations.messages.items import Entry
from conversations.models import Conversation, Item
from conversations.stored import stored_conversations, stored_items
from providers.exceptions import ConversationBusy
from providers.protocol.json_types import JsonObject

T = TypeVar("T")
# Pauses before a busy conversation is tried again, all within the request.
PAUSES_SECONDS = (0.05, 0.1, 0.2, 0.4)
LOGPROBS = "message.output_text.logprobs"
ENCRYPTED_CONTENT = "reasoning.encrypted_content"
INCLUDE_VALUES = (  # values that `include` may have; all but the first two are always included
    LOGPROBS,
    ENCRYPTED_CONTENT,
    "message.input_image.image_url",
    "web_search_call.action.sources",
    "web_search_call.results",
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
)


class NewConversation(Struct):
    metadata: JsonObject | Maybe = UNSET
    items: list[Any] | Maybe = UNSET


class NewMetadata(Struct):
    metadata: JsonObject | None


class NewItems(Struct):
    items: list[Any]


class Conversations(ApiView):
    def post(self, request: Request) -> Response:
        require_storing(request)
        body = item_inputs.read_drf_body(request, NewConversation)
        conversation = stored_conversations.create_open_conversation(
            owner_id(request),
            item_inputs.validate_metadata(body.get("metadata")),
            read_new_entries(body.get("items") or []),
            settings.CONVERSATION_IDLE_SECONDS,
        )
        return Response(conversation.as_openai())

    def get(self, request: Request) -> Response:
        page_query = pagination.parse_page_query(request.query_params)
        own = stored_conversations.conversations_of(owner_id(request))
        rows = pagination.find_page_rows(
            own,
            page_query,
            partial(stored_conversations.find_conversation, owner_id(request)),
            "used_at",
            "id",
        )
        objects = [render_listed_conversation(row) for row in rows]
        return Response(pagination.render_page(objects, page_query))


class OneConversation(ApiView):
    def get(self, request: Request, conversation_id: str) -> Response:
        conversation = stored_conversations.find_conversation(owner_id(request), conversation_id)
        return Response(conversation.as_openai())

    def post(self, request: Request, conversation_id: str) -> Response:
        require_storing(request)
        conversation = stored_conversations.find_conversation(owner_id(request), conversation_id)
        body = item_inputs.read_drf_body(request, NewMetadata)
        conversation.metadata = item_inputs.validate_metadata(body["metadata"])
        conversation.save(update_fields=["metadata"])
        return Response(conversation.as_openai())

    def delete(self, request: Request, conversation_id: str) -> Response:
        conversation = stored_conversations.find_conversation(owner_id(request), conversation_id)
        retention.delete_conversations(Conversation.objects.filter(pk=conversation.pk))
        return Response({"id": conversation_id, "object": "conversation.deleted", "deleted": True})


class ConversationItems(ApiView):
    def post(self, request: Request, conversation_id: str) -> Response:
        require_storing(request)
        include = read_include_values(request)
        conversation = stored_conversations.find_conversation(owner_id(request), conversation_id)
        entries = read_new_entries(item_inputs.read_drf_body(request, NewItems)["items"])
        new_items = []
        if entries:
            new_items = retry_while_busy(partial(stored_items.add_items, conversation, entries))
        objects = [render_conversation_item(item, include) for item in new_items]
        page_query = pagination.PageQuery("", item_inputs.MOST_ITEMS, descending=False)
        return Response(pagination.render_page(objects, page_query))

    def get(self, request: Request, conversation_id: str) -> Response:
        include = read_include_values(request)
        page_query = pagination.parse_page_query(request.query_params)
        conversation = stored_conversations.find_conversation(owner_id(request), conversation_id)
        own_items = stored_items.items_of(conversation)
        rows = pagination.find_page_rows(
            own_items, page_query, partial(stored_items.find_item, conversation), "id"
        )
        objects = [render_conversation_item(item, include) for item in rows]
        return Response(pagination.render_page(objects, page_query))


class OneConversationItem(ApiView):
    def get(self, request: Request, conversation_id: str, item_id: str) -> Response:
        include = read_include_values(request)
        conversation = stored_conversations.find_conversation(owner_id(request), conversation_id)
        item = stored_items.find_item(conversation, item_id)
        return Response(render_conversation_item(item, include))

    def delete(self, request: Request, conversation_id: str, item_id: str) -> Response:
        conversation = stored_conversations.find_conversation(owner_id(request), conversation_id)
        item = stored_items.find_item(conversation, item_id)
        retry_while_busy(partial(stored_items.delete_item, conversation, item))
        return Response(conversation.as_openai())


def read_new_entries(raw_items: list[Any]) -> list[Entry]:
    """Return the items that a caller sent, checked.

    Raises InvalidRequest.
    """
    item_inputs.check_items(raw_items)
    return input_to_items.entries_from_input(raw_items)


def retry_while_busy(operation: Callable[[], T]) -> T:
    """Call `operation` when no turn is running, trying again for a moment, and return its result.

    Raises ConversationBusy.
    """
    for pause_seconds in PAUSES_SECONDS:
        try:
            return operation()
        except ConversationBusy:
            connection.close()  # free for other requests during the pause
            time.sleep(pause_seconds)
    return operation()


def read_include_values(request: Request) -> frozenset[str]:
    """Return the extra fields that `include` asks for.

    Some clients write a list as `include[]` or `include[0]`. Raises InvalidRequest.
    """
    values: list[str] = []
    for name in request.query_params:
        if name.split("[")[0] == "include":
            values += map(str, request.query_params.getlist(name))
    return item_inputs.validate_include_values(values, INCLUDE_VALUES)


def render_conversation_item(item: Item, include: frozenset[str]) -> dict[str, object]:
    """Return the item in OpenAI's form, with the big fields only when they are asked for."""
    openai_item = item.as_openai()
    if item.type == "reasoning" and ENCRYPTED_CONTENT not in include:
        openai_item.pop("encrypted_content", None)
    if item.type == "message" and LOGPROBS not in include:
        openai_item["content"] = [without_logprobs(part) for part in item.data["content"]]
    return openai_item


def without_logprobs(part: JsonObject) -> JsonObject:
    """Return a part of a message with an empty list of log probabilities, where it has a list."""
    if part["type"] != "output_text":
        return part
    return part | {"logprobs": []}


def render_listed_conversation(row: Conversation) -> dict[str, object]:
    """Return a conversation as the list shows it: with its client's name, title and last use."""
    return row.as_openai() | {
        "name": row.name or None,
        "title": row.title or None,
        "last_used_at": int(row.used_at.timestamp()),
    }
