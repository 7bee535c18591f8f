"""The user's own conversations: list, search, read, export and delete."""

from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _

from api.portal.own_content.content_deletion import delete_own_conversations
from api.portal.own_content.paging import read_own_page
from api.portal.own_content.typed_confirmation import ConfirmationForm
from api.portal.portal_access import get_user, own_page, render_page
from api.views.conversation_search import build_export_response
from conversations.admin.thread.thread_page import Thread
from conversations.models import Conversation, Item
from conversations.search import item_search
from conversations.stored import conversation_export, stored_conversations

CONVERSATIONS_SHOWN = 50
HITS_SHOWN = 30


def find_own(request: HttpRequest, conversation_id: str) -> "QuerySet[Conversation]":
    """Return the user's conversation as a queryset of one row; others are unknown."""
    if not stored_conversations.CONVERSATION_ID.fullmatch(conversation_id):
        raise Http404
    rows = Conversation.objects.of_user(get_user(request).pk).filter(pk=conversation_id)
    if not rows.exists():
        raise Http404
    return rows


@own_page("GET")
def list_conversations(request: HttpRequest) -> HttpResponseBase:
    """Show the conversations that were used last, or the hits of a search."""
    words = request.GET.get("q", "").strip()
    if words:
        return render_hits(request, words[: item_search.QUERY_CHARS])
    own = Conversation.objects.of_user(get_user(request).pk)
    page = read_own_page(own, request.GET.get("before", ""), "used_at", CONVERSATIONS_SHOWN)
    return render_page(
        request,
        "conversations",
        conversations=page.rows,
        next_before=page.next_before,
        is_later_page=page.is_later_page,
    )


def render_hits(request: HttpRequest, words: str) -> HttpResponseBase:
    """Show the items that have all words, found by the code of /v1/conversations/search."""
    user_id = get_user(request).pk
    before_row_id = None
    if item_id := request.GET.get("before", ""):
        own_items = Item.objects.filter(conversation__in=Conversation.objects.of_user(user_id))
        before_row_id = own_items.filter(public_id=item_id).values_list("pk", flat=True).first()
    hits = item_search.search_items(user_id, words, HITS_SHOWN + 1, before_row_id)
    return render_page(
        request,
        "conversations",
        words=words,
        hits=hits[:HITS_SHOWN],
        next_before=hits[HITS_SHOWN - 1].item.public_id if len(hits) > HITS_SHOWN else "",
    )


@own_page("GET")
def show_conversation(request: HttpRequest, conversation_id: str) -> HttpResponseBase:
    """Show some turns of a conversation as plain text: the last ones, or those of the address."""
    conversation = find_own(request, conversation_id).get()
    return render_page(
        request,
        "conversation",
        conversation=conversation,
        thread=Thread(conversation, request, with_items=True),
        section="portal-conversations",
    )


def read_format(request: HttpRequest) -> conversation_export.ExportFormat:
    formats = conversation_export.EXPORT_FORMATS
    chosen = formats.get(request.GET.get("format", "jsonl"))
    if chosen is None:
        raise Http404
    return chosen


@own_page("GET")
def export_conversation(request: HttpRequest, conversation_id: str) -> HttpResponseBase:
    rows = find_own(request, conversation_id)
    return build_export_response(rows, read_format(request), conversation_id)


@own_page("GET")
def export_conversations(request: HttpRequest) -> HttpResponseBase:
    rows = Conversation.objects.of_user(get_user(request).pk)
    return build_export_response(rows, read_format(request), "conversations")


@own_page("GET", "POST")
def delete_conversation(request: HttpRequest, conversation_id: str) -> HttpResponseBase:
    """Ask whether to delete the conversation, or delete it."""
    rows = find_own(request, conversation_id)
    if request.method == "POST":
        tell_about_deletion(request, delete_own_conversations(get_user(request), rows))
        return HttpResponseRedirect(reverse("portal-conversations"))
    conversation = rows.get()
    return render_page(
        request,
        "conversation_delete",
        conversation=conversation,
        turn_count=conversation.turns.count(),
        section="portal-conversations",
    )


@own_page("GET", "POST")
def delete_conversations(request: HttpRequest) -> HttpResponseBase:
    """Delete all conversations of the user, when the user has typed the own name."""
    user = get_user(request)
    rows = Conversation.objects.of_user(user.pk)
    form = ConfirmationForm(user, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        if rows.exists():
            tell_about_deletion(request, delete_own_conversations(user, rows))
        return HttpResponseRedirect(reverse("portal-conversations"))
    return render_page(
        request,
        "delete_all",
        form=form,
        count=rows.count(),
        kind="conversations",
        back=reverse("portal-conversations"),
        section="portal-conversations",
    )


def tell_about_deletion(request: HttpRequest, is_done: bool) -> None:
    if is_done:
        messages.success(request, _("Deleted."))
    else:
        text = _(
            "This takes longer: the rows are out of use already, and are removed in the background."
        )
        messages.warning(request, text)
