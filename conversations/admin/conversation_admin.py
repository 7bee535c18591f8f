"""The admin of conversations, for reading, exporting and deleting; nothing can be changed.

The page of a conversation shows its last turns (`TURNS_SHOWN`); a link leads to older ones. The
texts come from strangers, so templates and `format_html` escape them; very long ones are cut by the
database.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

import orjson
from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.db.models import Q, QuerySet
from django.db.models.functions import Left, Length
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from conversations import retention
from conversations.models import RUNNING_STATUSES, Conversation, Item, Turn, TurnStatus
from conversations.search import item_search
from conversations.stored import conversation_export
from providers.admin.big_tables import (
    NO_VALUE,
    BigTableAdmin,
    make_time_column,
    record_in_history,
    render_badge,
)
from providers.integers import parse_integer

TURNS_SHOWN = 50
LAST_NUMBER = 999_999_999  # of a turn
SHOWN_CHARS = 20_000  # of one item
TITLE_CHARS = 60  # in the list
MAX_HITS = 200  # items that a search for words finds at most
WORDS_PREFIX = "text:"
TURN_PREFIXES = ("resp_", "chatcmpl-", "req_")
COLOURS = {TurnStatus.COMPLETED: "good", TurnStatus.INCOMPLETE: "wait", TurnStatus.FAILED: "bad"}


@admin.register(Conversation)
class ConversationAdmin(BigTableAdmin):
    list_display = ("short_title", "user", "kind_word", "turn_count", "last_used", "expires")
    list_select_related = ("user",)
    list_filter = ("kind",)
    sortable_by = ()
    search_fields = ("id",)
    search_help_text = (
        "A whole id (conv_…, resp_…, chatcmpl-…, req_…), a user's name, or “text:” and words said"
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

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def find_rows(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        if term.startswith(WORDS_PREFIX):
            hits = item_search.search_items(None, term.removeprefix(WORDS_PREFIX), MAX_HITS)
            return queryset.filter(pk__in={hit.conversation.pk for hit in hits})
        if (turn := parse_turn_id(term)) is not None:
            return queryset.filter(pk__in=Turn.objects.filter(pk=turn).values("conversation_id"))
        return queryset.filter(Q(pk=term) | Q(user__username=term))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        before = request.GET.get("before", "")
        said = Transcript(unquote(object_id), before) if self.has_view_permission(request) else None
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), "transcript": said}
        )

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        retention.delete_conversations(Conversation.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        retention.delete_conversations(Conversation.objects.filter(pk__in=queryset.values("pk")))

    def get_history_name(self, row: Conversation) -> str:
        """Return the conversation's id for the admin's history.

        The title does not appear there, because it is part of the content.
        """
        return row.pk

    @admin.action(description="Export selected conversations as JSON lines", permissions=["view"])
    def export(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase:
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
        return row.last

    @admin.display(description="branches off")
    def branch_origin(self, row: Conversation) -> str:
        return (
            f"after turn {row.base.number} of {row.base.conversation_id}" if row.base else NO_VALUE
        )

    @admin.display(description="documents")
    def document_titles(self, row: Conversation) -> str:
        return (
            ", ".join(str(document) for document in row.documents.only("id", "title")[:20])
            or NO_VALUE
        )


def parse_turn_id(term: str) -> UUID | None:
    for prefix in TURN_PREFIXES:
        if term.startswith(prefix):
            try:
                return UUID(hex=term.removeprefix(prefix))
            except ValueError:
                return None
    return None


# --- what was said --------------------------------------------------------------------------------
class Transcript:
    """Some turns of a conversation for the template, in their order.

    With `before`, they are the turns before the turn of that number.
    """

    def __init__(self, conversation_id: str, before: str) -> None:
        turns = Turn.objects.filter(conversation=conversation_id).order_by("-number")
        before_number = parse_integer(before, 0, LAST_NUMBER)
        if before_number is not None:
            turns = turns.filter(number__lt=before_number)
        found = list(turns[: TURNS_SHOWN + 1])
        # None when there are no older turns
        self.oldest_number = found[TURNS_SHOWN - 1].number if len(found) > TURNS_SHOWN else None
        self.is_newest = not before
        shown = found[TURNS_SHOWN - 1 :: -1] if len(found) > TURNS_SHOWN else found[::-1]
        said = list_items_by_turn(shown)
        self.turns = [describe_turn(turn, said[turn.pk]) for turn in shown]


def list_items_by_turn(turns: Iterable[Turn]) -> Mapping[UUID, list[dict[str, Any]]]:
    """Return the turns' items for the template; items without text show their data."""
    found = Item.objects.filter(turn__in=[turn.pk for turn in turns]).order_by("pk")
    cut = found.annotate(chars=Length("text"), said=Left("text", SHOWN_CHARS)).defer("text", "data")
    bare = dict(found.filter(text="").values_list("pk", "data"))
    said = defaultdict(list)
    for item in cut:
        text = item.said or indent_json(bare.get(item.pk))[:SHOWN_CHARS]
        said[item.turn_id].append(
            {
                "type": item.type,
                "label": item.role if item.type == "message" else item.type.replace("_", " "),
                "text": text,
                "more": max(0, item.chars - SHOWN_CHARS),
                "status": render_status_badge(item.status)
                if item.status != TurnStatus.COMPLETED
                else "",
                "side": "output" if item.output else "input",
            }
        )
    return said


def describe_turn(turn: Turn, items: list[dict[str, Any]]) -> dict[str, Any]:
    usage = turn.usage or {}
    extras = {**turn.extras, **turn.thought}
    spent = turn.finished_at - turn.created_at if turn.finished_at else None
    return {
        "turn": turn,
        "request": f"req_{turn.pk.hex}",
        "at": timezone.localtime(turn.created_at),
        "status": render_status_badge(turn.status) if turn.status != TurnStatus.COMPLETED else "",
        "seconds": spent.total_seconds() if spent is not None and turn.model else None,
        "tokens": f"{usage.get('prompt_tokens')} / {usage.get('completion_tokens')}"
        if usage
        else "",
        "error": turn.error or {},
        "items": items,
        "framework": extras.pop("framework", ""),
        "steps": list_step_objects(extras.pop("steps", None)),
        "candidates": [
            str(draft)[:SHOWN_CHARS] for draft in wrap_in_list(extras.pop("candidates", None))
        ],
        "extras": indent_json(extras)[:SHOWN_CHARS] if extras else "",
    }


def list_step_objects(steps: Any) -> list[dict[str, Any]]:
    """Return the steps as objects with title, content and seconds; anything else as it is."""
    return [
        step if isinstance(step, dict) else {"title": "", "content": step}
        for step in wrap_in_list(steps)
    ]


def wrap_in_list(value: Any) -> list[Any]:
    """Return the value as a list, whatever it is."""
    return value if isinstance(value, list) else [value] if value else []


def render_status_badge(status: str) -> SafeString:
    colour = "wait" if status in RUNNING_STATUSES else COLOURS.get(TurnStatus(status), "off")
    return render_badge(colour, TurnStatus(status).label)


def indent_json(data: Any) -> str:
    return orjson.dumps(data, option=orjson.OPT_INDENT_2).decode() if data else ""
