"""The views of the admin's index page: the dashboard, and the two forms on it.

A person sees the parts whose rows they may view. The forms call the same functions as the staff
endpoints.
"""

from datetime import datetime, timedelta

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import Max, Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.timesince import timesince
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST
from django_celery_beat.models import PeriodicTask

from api.models import UsageRecord
from api.views.staff import token_pool
from api.views.staff.staff_access import InvalidStaffRequest
from providers.admin.big_tables import record_in_history
from providers.integers import parse_integer
from providers.models import Provider
from proxysite.desk.provider_cards import make_cards
from proxysite.desk.request_statistics import MOST_LINES, count_requests, find_recent_failures
from tokens.imports import token_import
from tokens.models import Transition, UpstreamToken

MOST_CARDS = 24
LAST_ID = 2**63 - 1
DATABASE_NAMES = {"sqlite": "SQLite, embedded", "postgresql": "PostgreSQL"}


def has_admin_permission(request: HttpRequest, model: type[Model], action: str) -> bool:
    """Return whether this member of staff may view, add or change rows of `model`."""
    is_allowed: bool = getattr(admin.site._registry[model], f"has_{action}_permission")(request)
    return is_allowed


# --- the parts of the page ------------------------------------------------------------------------
def build_board(request: HttpRequest) -> dict[str, object]:
    """Return the parts of the page that this member of staff may see."""
    board: dict[str, object] = {}
    if has_admin_permission(request, Provider, "view"):
        board |= build_provider_parts(request)
    if has_admin_permission(request, UsageRecord, "view"):
        board["spans"] = [
            count_requests("last hour", timedelta(hours=1)),
            count_requests("last 24 hours", timedelta(days=1)),
        ]
        board["failures"] = find_recent_failures()
    if has_admin_permission(request, UpstreamToken, "view"):
        changes = Transition.objects.select_related("token__provider").order_by("-at", "-pk")
        board["transitions"] = list(changes[:MOST_LINES])
    board["may_switch"] = has_admin_permission(request, Provider, "change")
    board["may_confirm"] = has_admin_permission(request, UpstreamToken, "change")
    return board


def build_provider_parts(request: HttpRequest) -> dict[str, object]:
    """Return the cards, the configuration, and the providers that tokens can be imported for."""
    cards = make_cards(list(Provider.objects.order_by("name")))
    parts: dict[str, object] = {
        "cards": cards[:MOST_CARDS],
        "more_cards": len(cards) - MOST_CARDS,
        "configuration": list_configuration(),
    }
    if has_admin_permission(request, UpstreamToken, "add"):
        parts["paste_into"] = [card.provider for card in cards if card.provider.needs_token]
        parts["paste_beside"] = [card.provider for card in cards if not card.provider.needs_token]
    return parts


def list_configuration() -> list[tuple[str, str]]:
    """Return the facts that an operator looks up most, as (name, value).

    Nearly all of them are set by the environment.
    """
    token_files = [
        getattr(settings, name, "")
        for name in ("GUEST_TOKENS_FILE", "USER_TOKENS_FILE", "TOKENS_FILE")
    ]
    return [
        ("Version", settings.VERSION),
        ("Database", DATABASE_NAMES.get(connection.vendor, "another")),
        ("Worker queue", "Redis" if settings.REDIS_URL else "embedded"),
        ("Periodic work", describe_periodic_work()),
        ("Strikes that disable a token", str(settings.MAX_TOKEN_FAILURES)),
        ("Attempts per request", str(settings.MAX_ATTEMPTS)),
        ("Tools for models that have none", "on" if settings.TOOL_SUPPORT else "off"),
        ("Token files", ", ".join(filter(None, token_files)) or "none"),
        ("Log level", settings.LOG_LEVEL.lower()),
    ]


def describe_periodic_work() -> str:
    """Return when the worker last began a periodic task."""
    latest: datetime | None = PeriodicTask.objects.aggregate(latest=Max("last_run_at"))["latest"]
    if latest is None:
        return "has not begun yet"
    return f"last begun {timesince(latest, depth=1)} ago"


# --- the views ------------------------------------------------------------------------------------
@admin.site.admin_view
def show_dashboard(request: HttpRequest) -> HttpResponse:
    return admin.site.index(request, {"title": "Dashboard", "board": build_board(request)})


def redirect_with_message(request: HttpRequest, level: int, message: str) -> HttpResponse:
    messages.add_message(request, level, message)
    return HttpResponseRedirect(reverse("admin:index"))


def find_chosen_provider(request: HttpRequest, model: type[Model], action: str) -> Provider:
    """Return the provider that the form names.

    Raises PermissionDenied unless the person may do this to rows of `model`; raises Http404.
    """
    if not has_admin_permission(request, model, action):
        raise PermissionDenied
    pk = parse_integer(request.POST.get("provider", ""), 1, LAST_ID)
    return get_object_or_404(Provider, pk=pk)


@admin.site.admin_view
@require_POST
def switch_mode(request: HttpRequest) -> HttpResponse:
    """Switch a provider to guest or user mode, and note it in the admin's log."""
    provider = find_chosen_provider(request, Provider, "change")
    mode = request.POST.get("mode")
    try:
        token_pool.update_provider_mode(provider, mode)
    except InvalidStaffRequest as error:
        return redirect_with_message(request, messages.ERROR, str(error))
    record_in_history(request, Provider.objects.filter(pk=provider.pk), f"Mode {mode}.")
    return redirect_with_message(
        request,
        messages.SUCCESS,
        f"The provider {provider} is asked in {mode} mode within a second.",
    )


@admin.site.admin_view
@require_POST
@sensitive_post_parameters("tokens")
def import_pasted_tokens(request: HttpRequest) -> HttpResponse:
    """Import tokens from the page's text field. The pasted text is never shown again."""
    provider = find_chosen_provider(request, UpstreamToken, "add")
    if not provider.needs_token and "anyway" not in request.POST:
        text = f"The provider {provider} asks for no token: nothing was imported."
        return redirect_with_message(
            request, messages.WARNING, f"{text} Choose another provider, or tick the box."
        )
    report = token_import.import_lines(
        provider, token_import.split_lines(request.POST.get("tokens", ""))
    )
    level = messages.WARNING
    if imported := report.verdict_counts[token_import.NEW]:
        level = messages.SUCCESS
        record_in_history(
            request, Provider.objects.filter(pk=provider.pk), f"Tokens imported: {imported}."
        )
    return redirect_with_message(
        request, level, f"Tokens for {provider}: {token_pool.describe_import(report)}"
    )
