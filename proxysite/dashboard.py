"""The index page of the admin: providers and their tokens, recent failures, and a form for tokens.

A person sees the parts whose rows they may view. Every count is bounded by an index: tokens are
counted in one query, requests in a range of their ids, which are in the order of time. The page
calls the same functions as the staff endpoints.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import Max, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.utils.timesince import timesince
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST
from django_celery_beat.models import PeriodicTask

from api.admin.attempts_table import OUTCOME_COLOURS, load_token_masks
from api.models import Status, UsageRecord
from api.views.staff import token_pool
from api.views.staff.staff_access import InvalidStaffRequest
from providers import registry
from providers.admin.big_tables import record_in_history
from providers.choices import Mode
from providers.integers import parse_integer
from providers.models import Provider
from tokens import provider_counts
from tokens.imports import token_import
from tokens.models import Transition, UpstreamToken
from tokens.outcomes.breaker_sharing import describe_open_breaker, find_open_breakers

MOST_CARDS = 24
LAST_ID = 2**63 - 1
MOST_LINES = 8  # lines of recent failures, and of recent changes
SEARCHED_REQUESTS = 200  # latest requests, for failures that another token made good
MOST_COUNTED = 50_000  # requests of a span; beyond it the page says “more”


def has_admin_permission(request: HttpRequest, model: type[Model], action: str) -> bool:
    """Return whether this member of staff may view, add or change rows of `model`."""
    found: bool = getattr(admin.site._registry[model], f"has_{action}_permission")(request)
    return found


# --- providers ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class ProviderCard:
    """One provider, as the page shows it."""

    provider: Provider
    label: str
    modes: tuple[str, ...]
    token_counts: provider_counts.StateCounts
    breaker: str = ""  # why the provider is not asked now; empty while it is asked

    @property
    def inactive_counts(self) -> list[tuple[str, int]]:
        """Return why tokens are inactive, as (word, count)."""
        return [
            (word, self.token_counts[word])
            for word in provider_counts.TOKEN_STATES[1:]
            if self.token_counts[word]
        ]

    @property
    def other_mode(self) -> str:
        """Return the mode that a person can switch to, or an empty string."""
        return next((mode for mode in self.modes if mode != self.provider.mode), "")

    @property
    def is_guest(self) -> bool:
        return self.provider.mode == Mode.GUEST


def make_card(
    provider: Provider, token_counts: provider_counts.StateCounts | None, breaker: str = ""
) -> ProviderCard:
    known = provider.kind in registry.list_adapter_kinds()
    adapter = registry.get_adapter_class(provider.kind) if known else None
    label, modes = (adapter.label, adapter.modes) if adapter else ("no adapter of this kind", ())
    return ProviderCard(
        provider, label, modes, token_counts or provider_counts.complete_counts({}), breaker
    )


def make_cards(providers: Iterable[Provider]) -> list[ProviderCard]:
    """Return the cards of providers: those with tokens first, then by name.

    Providers that are switched off come last.
    """
    standing = provider_counts.count_by_provider(UpstreamToken.objects.all())
    breakers = {state.provider_id: describe_open_breaker(state) for state in find_open_breakers()}
    found = [make_card(row, standing.get(row.pk), breakers.get(row.pk, "")) for row in providers]
    found.sort(
        key=lambda one: (not one.provider.enabled, not one.token_counts["total"], one.provider.name)
    )
    return found


# --- requests -------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class RequestCounts:
    """The number of requests in a span of time; a count of MOST_COUNTED may be more."""

    name: str
    requests: int
    errors: int
    is_capped: bool


def first_id_at(at: datetime) -> UUID:
    """Return the smallest id of a request at that time.

    The first 48 bits of an id are milliseconds (RFC 9562, version 7).
    """
    return UUID(int=int(at.timestamp() * 1000) << 80)


def count_records(records: QuerySet[UsageRecord]) -> int:
    return records.order_by("-id").values("pk")[:MOST_COUNTED].count()


def count_requests(name: str, length: timedelta) -> RequestCounts:
    records = UsageRecord.objects.filter(id__gte=first_id_at(timezone.now() - length))
    requests = count_records(records)
    failed = count_records(records.filter(~Q(status="complete")).exclude(status=Status.ABANDONED))
    return RequestCounts(name, requests, failed, requests == MOST_COUNTED)


@dataclass(frozen=True, slots=True)
class RecentFailure:
    """One upstream call that failed, or a request that failed before any call."""

    record: UsageRecord
    provider: str = ""
    token: str = ""  # masked
    outcome: str = ""
    reason: str = ""

    @property
    def was_answered(self) -> bool:
        """Return whether the caller got a whole answer all the same."""
        return self.record.status == Status.COMPLETE


def find_recent_failures() -> list[RecentFailure]:
    """Return the latest failures, at most MOST_LINES.

    They come from the latest requests that failed, and from the latest LOOKED_THROUGH requests:
    among these are failures that another token made good.
    """
    records = UsageRecord.objects.order_by("-id").only(
        "id", "started_at", "model", "status", "error_code", "attempts"
    )
    troubled = records.filter(~Q(status="complete"))[: MOST_LINES * 2]
    both = {record.pk: record for record in (*troubled, *records[:SEARCHED_REQUESTS])}
    found: list[RecentFailure] = []
    for record in sorted(both.values(), key=lambda record: record.pk, reverse=True):
        found += list_failed_attempts(record)
        if len(found) >= MOST_LINES:
            break
    masks = load_token_masks([{"token": one.token} for one in found])
    return [replace(one, token=masks.get(one.token, "")) for one in found[:MOST_LINES]]


def list_failed_attempts(record: UsageRecord) -> list[RecentFailure]:
    """Return the failures of one request, the last attempt first; tokens are given by their ids."""
    found = [
        RecentFailure(
            record,
            str(attempt.get("provider") or ""),
            str(attempt.get("token") or ""),
            str(attempt.get("outcome")),
            str(attempt.get("reason") or ""),
        )
        for attempt in reversed(record.attempts)
        if attempt.get("outcome") not in (*OUTCOME_COLOURS, "running")
    ]
    if not found and record.status not in (Status.COMPLETE, Status.ABANDONED):
        found = [RecentFailure(record, outcome=record.error_code or record.status)]
    return found


# --- configuration --------------------------------------------------------------------------------
def list_configuration() -> list[tuple[str, str]]:
    """Return the facts that an operator looks up most, as (name, value).

    Nearly all of them are set by the environment.
    """
    latest: datetime | None = PeriodicTask.objects.aggregate(latest=Max("last_run_at"))["latest"]
    files = [
        getattr(settings, name, "")
        for name in ("GUEST_TOKENS_FILE", "USER_TOKENS_FILE", "TOKENS_FILE")
    ]
    return [
        ("Version", settings.VERSION),
        (
            "Database",
            {"sqlite": "SQLite, embedded", "postgresql": "PostgreSQL"}.get(
                connection.vendor, "another"
            ),
        ),
        ("Worker queue", "Redis" if settings.REDIS_URL else "embedded"),
        (
            "Periodic work",
            f"last begun {timesince(latest, depth=1)} ago" if latest else "has not begun yet",
        ),
        ("Strikes that disable a token", str(settings.MAX_TOKEN_FAILURES)),
        ("Attempts per request", str(settings.MAX_ATTEMPTS)),
        ("Tools for models that have none", "on" if settings.TOOL_SUPPORT else "off"),
        ("Token files", ", ".join(filter(None, files)) or "none"),
        ("Log level", settings.LOG_LEVEL.lower()),
    ]


# --- the page -------------------------------------------------------------------------------------
def build_board(request: HttpRequest) -> dict[str, Any]:
    """Return the parts of the page that this member of staff may see."""
    found: dict[str, Any] = {}
    if has_admin_permission(request, Provider, "view"):
        providers = list(Provider.objects.order_by("name"))
        dealt = make_cards(providers)
        found |= {
            "cards": dealt[:MOST_CARDS],
            "more_cards": len(dealt) - MOST_CARDS,
            "configuration": list_configuration(),
        }
        if has_admin_permission(request, UpstreamToken, "add"):
            found["paste_into"] = [one.provider for one in dealt if one.provider.needs_token]
            found["paste_beside"] = [one.provider for one in dealt if not one.provider.needs_token]
    if has_admin_permission(request, UsageRecord, "view"):
        found["spans"] = [
            count_requests("last hour", timedelta(hours=1)),
            count_requests("last 24 hours", timedelta(days=1)),
        ]
        found["failures"] = find_recent_failures()
    if has_admin_permission(request, UpstreamToken, "view"):
        changes = Transition.objects.select_related("token__provider").order_by("-at", "-pk")
        found["transitions"] = list(changes[:MOST_LINES])
    found["may_switch"] = has_admin_permission(request, Provider, "change")
    found["may_confirm"] = has_admin_permission(request, UpstreamToken, "change")
    return found


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
        request, messages.SUCCESS, f"The provider {provider} is asked in {mode} mode now."
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
    new = report.verdict_counts[token_import.NEW]
    if new:
        record_in_history(
            request, Provider.objects.filter(pk=provider.pk), f"Tokens imported: {new}."
        )
    return redirect_with_message(
        request,
        messages.SUCCESS if new else messages.WARNING,
        f"Tokens for {provider}: {token_pool.describe_import(report)}",
    )
