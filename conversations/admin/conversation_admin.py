"""The admin of conversations, for reading, exporting and deleting; nothing can be changed."""

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils.text import Truncator

from conversations import retention
from conversations.admin.transcript import Transcript
from conversations.models import Conversation, Turn
from conversations.search import item_search
from conversations.stored import conversation_export
from providers.admin.big_tables import (
    NO_VALUE,
    BigTableAdmin,
    make_time_column,
    record_in_history,
)

TITLE_CHARS = 60  # in the list
MAX_DOCUMENTS = 20  # shown on the page of a conversation
MAX_HITS = 200  # items that a search for words finds at most
WORDS_PREFIX = "text:"
TURN_PREFIXES = ("resp_", "chatcmpl-", "req_")


@admin.register(Conversation)
class ConversationAdmin(BigTableAdmin):
    list_display = ("short_title", "user", "kind_word", "turn_count", "last_used", "expires")
    list_select_related = ("user",)
    list_filter = ("kind",)
    sortable_by = ()
    search_fields = ("id",)
    search_help_text = (
        "A whole id (conv_…, resp_…, chatcmpl-…, req_…), a user's name, or “text:” and words of it"
    )
    actions = ("export",)
    fieldsets = (
        (None, {"fields": ("id", "user", ("kind", "name"), ("created", "last_used", "expires"))}),
        (
            "More",
            {"fields": ("metadata", "branch_origin", "document_titles"), "classes": ("collapse",)},
        ),
    )
    change_form_template = "admin/conversations/conversation/change_form.html"
    created = make_time_column("created_at", "created")
    last_used = make_time_column("used_at", "last used")
    expires = make_time_column("expires_at", "expires")

    class Media:
        css = {"all": ("conversations/admin.css",)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        return False

    def find_rows(self, queryset: QuerySet[Conversation], term: str) -> QuerySet[Conversation]:
        if term.startswith(WORDS_PREFIX):
            hits = item_search.search_items(None, term.removeprefix(WORDS_PREFIX), MAX_HITS)
            return queryset.filter(pk__in={hit.conversation.pk for hit in hits})
        if (turn := parse_turn_id(term)) is not None:
            return queryset.filter(pk__in=Turn.objects.filter(pk=turn).values("conversation_id"))
        return queryset.filter(Q(pk=term) | Q(user__username=term))

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {**(extra_context or {}), "transcript": None}
        if self.has_view_permission(request):
            before = request.GET.get("before", "")
            context["transcript"] = Transcript(unquote(object_id), before)
        return super().change_view(request, object_id, form_url, context)

    def delete_model(self, request: HttpRequest, obj: Conversation) -> None:
        retention.delete_conversations(Conversation.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> None:
        retention.delete_conversations(Conversation.objects.filter(pk__in=queryset.values("pk")))

    def get_history_name(self, row: Conversation) -> str:
        """Return the conversation's id for the admin's history.

        The title does not appear there, because it is part of the content.
        """
        return row.pk

    @admin.action(description="Export selected conversations as JSON lines", permissions=["view"])
    def export(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> HttpResponseBase:
        record_in_history(request, queryset, "Exported.", get_name=self.get_history_name)
        chosen = Conversation.objects.filter(pk__in=list(queryset.values_list("pk", flat=True)))
        form = conversation_export.EXPORT_FORMATS["jsonl"]
        headers = {
            "content-disposition": 'attachment; filename="conversations.jsonl"',
            "cache-control": "no-store",
        }
        return StreamingHttpResponse(
            conversation_export.stream_export(chosen, form),
            content_type=form.content_type,
            headers=headers,
        )

    @admin.display(description="title")
    def short_title(self, row: Conversation) -> str:
        return Truncator(str(row)).chars(TITLE_CHARS)

    @admin.display(description="kind")
    def kind_word(self, row: Conversation) -> str:
        return row.kind

    @admin.display(description="turns")
    def turn_count(self, row: Conversation) -> int:
        return row.last_number

    @admin.display(description="branches off")
    def branch_origin(self, row: Conversation) -> str:
        if row.base_turn is None:
            return NO_VALUE
        return f"after turn {row.base_turn.number} of {row.base_turn.conversation_id}"

    @admin.display(description="documents")
    def document_titles(self, row: Conversation) -> str:
        documents = row.documents.only("id", "title")[:MAX_DOCUMENTS]
        return ", ".join(map(str, documents)) or NO_VALUE


def parse_turn_id(term: str) -> UUID | None:
    """Return the id of the turn that an id of a response, a completion or a request names."""
    prefix = next((prefix for prefix in TURN_PREFIXES if term.startswith(prefix)), None)
    if prefix is None:
        return None
    try:
        return UUID(hex=term.removeprefix(prefix))
    except ValueError:
        return None
