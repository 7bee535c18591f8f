"""The admin of conversations, for reading, exporting and deleting; nothing can be changed."""

from typing import Any, cast

from django.contrib import admin
from django.contrib.admin.models import DELETION
from django.contrib.admin.utils import unquote
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.urls import path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from conversations.admin import conversation_search, export_answers, reading_notes
from conversations.admin.content_rights import may_read_content
from conversations.admin.conversation_columns import sum_turns
from conversations.admin.conversation_filters import ALL_FILTERS, read_filter_values
from conversations.admin.conversation_list import (
    HITS_ATTRIBUTE,
    ConversationList,
    get_hit,
    get_turn_sums,
)
from conversations.admin.export_answers import ExportForm
from conversations.admin.thread.thread_page import Thread
from conversations.admin.user_deletion import UserDeletion
from conversations.models import Conversation
from providers.admin.big_tables import (
    MOST_NAMED,
    NO_VALUE,
    BigTableAdmin,
    DeletionSummary,
    RowsToDelete,
    count_objects,
    make_time_column,
    record_in_history,
)
from providers.admin.deletion_admin import SlicedDeletion
from providers.admin.filtered_rows import find_filtered_rows
from providers.admin.page_times import render_time

TITLE_CHARS = 60  # in the list
MAX_DOCUMENTS = 20  # shown on the page of a conversation


@admin.register(Conversation)
class ConversationAdmin(UserDeletion, SlicedDeletion, BigTableAdmin):
    list_display = (
        "short_title",
        "user",
        "model_names",
        "turn_count",
        "token_count",
        "cost_text",
        "last_used",
    )
    list_select_related = ("user",)
    list_filter = ALL_FILTERS
    sortable_by = ()
    search_fields = ("id",)
    actions = ("export_jsonl", "export_markdown")
    fieldsets = ((None, {"fields": ("id", "user")}),)
    change_form_template = "admin/conversations/conversation/change_form.html"
    change_list_template = "admin/conversations/conversation/change_list.html"
    last_used = make_time_column("used_at", gettext_lazy("last used"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Conversation | None = None) -> bool:
        return False

    def has_read_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may read the content of conversations."""
        return self.has_view_permission(request) and may_read_content(request)

    def get_urls(self) -> list[Any]:
        wrap = self.admin_site.admin_view
        name = "conversations_conversation"
        return [
            path("export/", wrap(self.export_filtered), name=f"{name}_export"),
            path("delete-all/", wrap(self.delete_all_of_user), name=f"{name}_delete_all"),
            path("<path:object_id>/export/", wrap(self.export_one), name=f"{name}_export_one"),
            *super().get_urls(),
        ]

    # --- the list ---------------------------------------------------------------------------------
    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the conversations without expired ones, which wait for their removal."""
        rows = super().get_queryset(request)
        return rows.filter(Q(expires_at=None) | Q(expires_at__gt=Now()))

    def get_changelist(self, request: HttpRequest, **kwargs: object) -> type[ConversationList]:
        return ConversationList

    def get_list_display(self, request: HttpRequest) -> Any:
        """Return the columns; the title is content, so only readers of content see it."""
        if self.has_read_permission(request):
            return self.list_display
        return ("id", *self.list_display[1:])

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Return the rows that a text finds: ids and users, and for readers of content words."""
        term = search_term.strip()[: conversation_search.LONGEST_TERM]
        if not term:
            return queryset, False
        hits: conversation_search.Hits = {}
        if self.has_read_permission(request):
            hits = conversation_search.find_hits(term)
        setattr(request, HITS_ATTRIBUTE, hits)
        return conversation_search.filter_conversations(queryset, term, hits), False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {
            **(extra_context or {}),
            "title": _("Conversations"),
            "filters": read_filter_values(request),
            "may_read": self.has_read_permission(request),
            "may_delete": self.has_delete_permission(request),
            "chosen_user": self.find_chosen_user(request),
            "query_text": request.GET.urlencode(),
        }
        response: HttpResponse = super().changelist_view(request, context)
        return response

    @admin.display(description=gettext_lazy("title"))
    def short_title(self, row: Conversation) -> SafeString | str:
        title = Truncator(str(row)).chars(TITLE_CHARS)
        hit = get_hit(row)
        if hit is None:
            return title
        return format_html('{}<span class="hit-snippet quiet">{}</span>', title, hit.snippet)

    @admin.display(description=gettext_lazy("models"))
    def model_names(self, row: Conversation) -> str:
        return get_turn_sums(row).model_names

    @admin.display(description=gettext_lazy("turns"))
    def turn_count(self, row: Conversation) -> int:
        return row.last_number

    @admin.display(description=gettext_lazy("tokens"))
    def token_count(self, row: Conversation) -> str:
        return get_turn_sums(row).token_text

    @admin.display(description=gettext_lazy("cost"))
    def cost_text(self, row: Conversation) -> str:
        return get_turn_sums(row).cost_text

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        """Return the conversation; without its title for those who may not read content."""
        row = super().get_object(request, object_id, from_field)
        if row is not None and not self.has_read_permission(request):
            row.title = ""
        return row

    # --- one conversation -------------------------------------------------------------------------
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {**(extra_context or {})}
        conversation = self.get_object(request, unquote(object_id))
        if conversation is not None and self.has_view_permission(request, conversation):
            context |= self.build_page_context(request, conversation)
        return super().change_view(request, object_id, form_url, context)

    def build_page_context(self, request: HttpRequest, row: Conversation) -> dict[str, Any]:
        """Return the values for the page; a reading of content is noted in the history."""
        may_read = self.has_read_permission(request)
        rows = Conversation.objects.filter(pk=row.pk)
        if may_read:
            reading_notes.record_reading(request, rows)
        return {
            "title": str(row) if may_read else row.pk,
            "subtitle": None,
            "may_read": may_read,
            "thread": Thread(row, request, with_items=may_read),
            "sums": sum_turns([row], cast(User, request.user))[row.pk],
            "times": {
                "created": render_time(row.created_at),
                "used": render_time(row.used_at),
                "expires": render_time(row.expires_at),
            },
            "documents": list(row.documents.only("id", "title")[:MAX_DOCUMENTS]),
            "branch_origin": describe_origin(row),
        }

    # --- export -----------------------------------------------------------------------------------
    @admin.action(
        description=gettext_lazy("Export as JSON lines"),
        permissions=["read"],
    )
    def export_jsonl(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase:
        return self.export_rows(request, queryset, ExportForm.JSONL)

    @admin.action(
        description=gettext_lazy("Export as Markdown"),
        permissions=["read"],
    )
    def export_markdown(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase:
        return self.export_rows(request, queryset, ExportForm.MARKDOWN)

    def export_filtered(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a POST with the conversations that the filters of the address find."""
        if not self.has_read_permission(request):
            raise PermissionDenied
        form = export_answers.read_form(request)
        return self.export_rows(request, find_filtered_rows(self, request), form)

    def export_one(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Answer a POST with one conversation."""
        if not self.has_read_permission(request):
            raise PermissionDenied
        form = export_answers.read_form(request)
        rows = self.get_queryset(request).filter(pk=unquote(object_id))
        if not rows.exists():
            raise Http404
        return self.export_rows(request, rows, form)

    def export_rows(
        self, request: HttpRequest, rows: QuerySet[Any], form: ExportForm
    ) -> HttpResponseBase:
        """Note the export in the history, and answer with the file."""
        return export_answers.export_conversations(request, rows, form, self.get_history_name)

    # --- deletion ---------------------------------------------------------------------------------
    def get_deleted_objects(self, objs: RowsToDelete, request: HttpRequest) -> DeletionSummary:
        """Return the summary, without titles for those who may not read content."""
        names, *others = super().get_deleted_objects(objs, request)
        if not self.has_read_permission(request):
            named = min(count_objects(objs), MOST_NAMED)
            names = [str(row.pk) for row in objs[:named]] + names[named:]
        return names, *others  # type: ignore[return-value]

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        return record_in_history(request, queryset, "", DELETION, self.get_history_name)

    def get_history_name(self, row: Conversation) -> str:
        """Return the conversation's id for the admin's history.

        The title does not appear there, because it is part of the content.
        """
        return row.pk


def describe_origin(row: Conversation) -> str:
    """Return the turn after which a conversation branches off."""
    if row.base_turn is None:
        return NO_VALUE
    return _("after turn %(number)s of %(conversation)s") % {
        "number": row.base_turn.number,
        "conversation": row.base_turn.conversation_id,
    }
