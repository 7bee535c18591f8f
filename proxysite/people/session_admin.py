"""The page of sessions: who is logged in, since when, from where; end one or all of a user."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from providers.admin.big_tables import (
    NO_VALUE,
    BigTableAdmin,
    make_time_column,
    record_in_history,
    render_badge,
)
from proxysite.access.login_session import LoginSession, end_sessions


@admin.register(LoginSession)
class LoginSessionAdmin(BigTableAdmin):
    list_display = ("user", "since", "seen", "address", "browser_name", "is_mine")
    list_display_links = None
    list_select_related = ("user",)
    list_filter = ("user__is_staff",)
    sortable_by = ("seen",)
    search_fields = ("user__username",)
    search_help_text = gettext_lazy("A whole user name, or an address.")
    actions = ("end", "end_all_of_users")
    since = make_time_column("logged_in_at", gettext_lazy("since"))
    seen = make_time_column("last_seen_at", gettext_lazy("last seen"))

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[LoginSession]:
        own = Q(session_key=request.session.session_key or "")
        return LoginSession.objects.filter_alive().annotate(
            is_own=ExpressionWrapper(own, BooleanField())
        )

    def find_rows(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        return queryset.filter(user__username=term) | queryset.filter(address=term)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Return the actions without Django's deletion: a session is ended, not only hidden."""
        actions = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    @admin.action(description=gettext_lazy("End selected sessions"), permissions=["delete"])
    def end(self, request: HttpRequest, queryset: QuerySet[LoginSession]) -> None:
        rows = self.filter_endable(request, queryset)
        record_in_history(request, rows, _("Session ended."))
        self.report(request, end_sessions(rows))

    @admin.action(
        description=gettext_lazy("End all sessions of these users"), permissions=["delete"]
    )
    def end_all_of_users(self, request: HttpRequest, queryset: QuerySet[LoginSession]) -> None:
        chosen = self.filter_endable(request, queryset)
        rows = LoginSession.objects.filter(user__in=list(chosen.values_list("user", flat=True)))
        record_in_history(request, rows, _("Session ended."))
        self.report(request, end_sessions(rows))

    @staticmethod
    def filter_endable(
        request: HttpRequest, queryset: QuerySet[LoginSession]
    ) -> QuerySet[LoginSession]:
        """Return the sessions that this person may end: of superusers only superusers do."""
        rows = LoginSession.objects.filter(pk__in=list(queryset.values_list("pk", flat=True)))
        if not getattr(request.user, "is_superuser", False):
            rows = rows.filter(user__is_superuser=False)
        return rows

    @staticmethod
    def report(request: HttpRequest, count: int) -> None:
        text = ngettext("%(count)d session ended.", "%(count)d sessions ended.", count)
        messages.success(request, text % {"count": count})

    @admin.display(description=gettext_lazy("browser"))
    def browser_name(self, row: LoginSession) -> str:
        return name_browser(row.browser)

    @admin.display(description="")
    def is_mine(self, row: LoginSession) -> SafeString | str:
        if getattr(row, "is_own", False):
            return render_badge("good", _("this one"))
        return ""


BROWSERS = ("Edg/", "OPR/", "Firefox/", "Chrome/", "Safari/")
BROWSER_NAMES = {"Edg/": "Edge", "OPR/": "Opera"}
SYSTEMS = ("Windows", "Android", "iPhone", "iPad", "Mac OS X", "Linux")


def name_browser(user_agent: str) -> str:
    """Return the browser and the system that a User-Agent names, or its beginning."""
    browser = next((name for name in BROWSERS if name in user_agent), "")
    system = next((name for name in SYSTEMS if name in user_agent), "")
    names = [BROWSER_NAMES.get(browser, browser.rstrip("/")), system]
    return ", ".join(filter(None, names)) or user_agent[:60] or NO_VALUE
