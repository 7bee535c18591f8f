"""Delete all conversations of one user from the admin, with their counts ahead."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from conversations.models import Conversation, Document, Item, Turn
from providers.admin.big_tables import MOST_COUNTED, count_bounded
from providers.integers import parse_integer

LARGEST_ID = 2**63 - 1
LIST_URL = "admin:conversations_conversation_changelist"


class UserDeletion:
    """A mixin for the admin of conversations: the page that deletes all of one user."""

    admin_site: admin.AdminSite
    opts: Any

    def delete_all_of_user(self, request: HttpRequest) -> HttpResponse:
        """Ask whether all conversations of `?user=ID` may be deleted; a POST deletes them.

        Without such a user it leads to the list.
        """
        if not self.has_delete_permission(request):  # type: ignore[attr-defined]
            raise PermissionDenied
        user_id = parse_integer(request.GET.get("user", ""), 1, LARGEST_ID) or 0
        user = User.objects.filter(pk=user_id).first()
        if user is None:
            return HttpResponseRedirect(reverse(LIST_URL))
        rows = Conversation.objects.filter(user=user)
        if request.method == "POST":
            return self.delete_and_redirect(request, user, rows)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Delete all conversations of %(user)s") % {"user": user},
            "opts": self.opts,
            "owner": user,
            "counts": count_contents(user, rows),
        }
        return TemplateResponse(request, "admin/conversations/delete_all.html", context)

    def delete_and_redirect(
        self, request: HttpRequest, user: User, rows: QuerySet[Any]
    ) -> HttpResponse:
        """Delete the conversations if the user's name was typed; else ask again."""
        if request.POST.get("name") != user.get_username():
            messages.error(request, _("Type the user's name to delete the conversations."))
            return HttpResponseRedirect(request.get_full_path())
        count = rows.count()
        if count:
            self.log_deletions(request, rows)  # type: ignore[attr-defined]
            self.delete_or_leave_rest(request, rows)  # type: ignore[attr-defined]
        text = ngettext(
            "%(count)s conversation deleted.", "%(count)s conversations deleted.", count
        )
        messages.success(request, text % {"count": count})
        return HttpResponseRedirect(reverse(LIST_URL))

    def find_chosen_user(self, request: HttpRequest) -> User | None:
        """Return the user whose conversations the list shows, if its address names exactly one."""
        if user_id := parse_integer(request.GET.get("user__id__exact", ""), 1, LARGEST_ID):
            return User.objects.filter(pk=user_id).first()
        name = request.GET.get("user", "").strip()
        return User.objects.filter(username=name).first() if name else None


def count_contents(user: User, rows: QuerySet[Any]) -> list[tuple[str, str]]:
    """Return the counts of rows that a deletion of a user's conversations removes, with names."""
    ids = rows.values("pk")
    contents: list[tuple[str, QuerySet[Any]]] = [
        (_("conversations"), rows),
        (_("turns"), Turn.objects.filter(conversation__in=ids)),
        (_("messages, calls and results"), Item.objects.filter(conversation__in=ids)),
        (_("long texts"), Document.objects.filter(user=user, file=None, conversation__in=ids)),
    ]
    return [(name, render_count(count_bounded(queryset))) for name, queryset in contents]


def render_count(count: int) -> str:
    """Return a count; beyond MOST_COUNTED it is not exact."""
    if count > MOST_COUNTED:
        return _("more than %(count)s") % {"count": f"{MOST_COUNTED:,}"}
    return f"{count:,}"
