"""/v1/conversations/search and export: find one's own conversations by words, and download them.

Neither endpoint is OpenAI's; lists and errors have OpenAI's shapes. The content of an export is
described in `conversations/stored/conversation_export.py`.
"""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponseBase, StreamingHttpResponse
from rest_framework.request import Request
from rest_framework.response import Response

from api import pagination
from api.views.base import ApiView, SingleFormatNegotiation, owner_id
from conversations.models import Conversation, Item
from conversations.search import item_search
from conversations.search.item_search import ItemHit
from conversations.stored import (
    conversation_export,
    stored_conversations,
    stored_items,
    unknown_ids,
)
from providers.exceptions import InvalidRequest


class ConversationSearch(ApiView):
    def get(self, request: Request) -> Response:
        asked = request.query_params
        query = asked.get("q", "")
        given_limit = asked.get("limit", pagination.DEFAULT_LIMIT)
        limit = pagination.read_integer(given_limit, "limit", 1, pagination.LONGEST_PAGE)
        if not query.strip():
            raise InvalidRequest(
                "Say what to search for.", param="q", code="missing_required_parameter"
            )
        if len(query) > item_search.QUERY_CHARS:
            raise InvalidRequest(f"q has at most {item_search.QUERY_CHARS} characters.", param="q")
        user_id = owner_id(request)
        last_id = asked.get("before")
        before = find_item_row_id(user_id, last_id) if last_id else None
        hits = item_search.search_items(user_id, query, limit + 1, before)
        window = pagination.PageQuery("", limit, descending=True)
        return Response(pagination.render_page([render_search_hit(hit) for hit in hits], window))


class ConversationsExport(ApiView):
    content_negotiation_class = SingleFormatNegotiation

    def get(self, request: Request) -> HttpResponseBase:
        found = Conversation.objects.of_user(owner_id(request))
        return build_export_response(found, read_export_format(request), "conversations")


class ConversationExport(ApiView):
    content_negotiation_class = SingleFormatNegotiation

    def get(self, request: Request, conversation_id: str) -> HttpResponseBase:
        form = read_export_format(request)
        own = Conversation.objects.of_user(owner_id(request))  # includes threads of responses
        found = own.filter(pk=conversation_id)
        if (
            not stored_conversations.CONVERSATION_ID.fullmatch(conversation_id)
            or not found.exists()
        ):
            raise unknown_ids.unknown_conversation(conversation_id)
        return build_export_response(found, form, conversation_id)


def render_search_hit(hit: ItemHit) -> dict[str, Any]:
    return {
        "id": hit.item.public_id,
        "object": "conversation.hit",
        "conversation_id": hit.conversation.pk,
        "name": hit.conversation.name or None,  # the client's own name for it
        "title": hit.conversation.title or None,
        "turn_id": hit.item.turn_id.hex,  # also in the ids of its response or completion
        "type": hit.item.type,
        "role": hit.item.role or None,
        "status": hit.item.status,
        "created_at": int(hit.item.created_at.timestamp()),
        "snippet": hit.snippet,
    }


def build_export_response(
    conversations: QuerySet[Conversation],
    export_format: conversation_export.ExportFormat,
    name: str,
) -> HttpResponseBase:
    headers = {"content-disposition": f'attachment; filename="{name}.{export_format.suffix}"'}
    pieces = conversation_export.stream_export(conversations, export_format)
    return StreamingHttpResponse(pieces, content_type=export_format.content_type, headers=headers)


def read_export_format(request: Request) -> conversation_export.ExportFormat:
    form = conversation_export.EXPORT_FORMATS.get(request.query_params.get("format", "jsonl"))
    if form is None:
        raise InvalidRequest(
            f"format is one of: {', '.join(conversation_export.EXPORT_FORMATS)}.", param="format"
        )
    return form


def find_item_row_id(user_id: int, public_id: str) -> int:
    """Return the row id of a user's own item.

    Raises UnknownUrl, with the same text for another user's item as for a missing one.
    """
    own_items = Item.objects.filter(conversation__in=Conversation.objects.of_user(user_id))
    return stored_items.find_item_among(own_items.only("pk"), public_id, "before").pk
