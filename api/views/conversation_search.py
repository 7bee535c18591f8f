"""/v1/conversations/search and export: find one's own conversations by words, and download them.

Neither endpoint is OpenAI's; lists and errors have OpenAI's shapes. The content of an export is
described in `conversations/stored/conversation_export.py`.
"""

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
from providers.protocol.json_types import JsonObject


class ConversationSearch(ApiView):
    def get(self, request: Request) -> Response:
        parameters = request.query_params
        query = parameters.get("q", "")
        limit = pagination.read_integer(
            parameters.get("limit", pagination.DEFAULT_LIMIT), "limit", 1, pagination.LONGEST_PAGE
        )
        if not query.strip():
            raise InvalidRequest(
                "Say what to search for.", param="q", code="missing_required_parameter"
            )
        if len(query) > item_search.QUERY_CHARS:
            raise InvalidRequest(f"q has at most {item_search.QUERY_CHARS} characters.", param="q")
        user_id = owner_id(request)
        before_row_id = None
        if item_id := parameters.get("before"):
            before_row_id = find_item_row_id(user_id, item_id)
        hits = item_search.search_items(user_id, query, limit + 1, before_row_id)
        page_query = pagination.PageQuery("", limit, descending=True)
        objects = [render_search_hit(hit) for hit in hits]
        return Response(pagination.render_page(objects, page_query))


class ConversationsExport(ApiView):
    content_negotiation_class = SingleFormatNegotiation

    def get(self, request: Request) -> HttpResponseBase:
        conversations = Conversation.objects.of_user(owner_id(request))
        return build_export_response(conversations, read_export_format(request), "conversations")


class ConversationExport(ApiView):
    content_negotiation_class = SingleFormatNegotiation

    def get(self, request: Request, conversation_id: str) -> HttpResponseBase:
        export_format = read_export_format(request)
        own = Conversation.objects.of_user(owner_id(request))  # includes threads of responses
        rows = own.filter(pk=conversation_id)
        if not stored_conversations.CONVERSATION_ID.fullmatch(conversation_id) or not rows.exists():
            raise unknown_ids.unknown_conversation(conversation_id)
        return build_export_response(rows, export_format, conversation_id)


def render_search_hit(hit: ItemHit) -> JsonObject:
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
    name = request.query_params.get("format", "jsonl")
    export_format = conversation_export.EXPORT_FORMATS.get(name)
    if export_format is None:
        raise InvalidRequest(
            f"format is one of: {', '.join(conversation_export.EXPORT_FORMATS)}.", param="format"
        )
    return export_format


def find_item_row_id(user_id: int, public_id: str) -> int:
    """Return the row id of a user's own item.

    Raises UnknownUrl, with the same text for another user's item as for a missing one.
    """
    own_items = Item.objects.filter(conversation__in=Conversation.objects.of_user(user_id))
    return stored_items.find_item_among(own_items.only("pk"), public_id, "before").pk
