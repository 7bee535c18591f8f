"""The views of the overview: the index page of the admin, and the part that refreshes itself.

A person sees the parts whose rows he may view.
"""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _

from api.models import AlertDelivery, Price, UsageRecord
from providers.models import Provider
from proxysite.desk.overview import (
    figures,
    overview_charts,
    pool_health,
    recent_changes,
    setup_guide,
    system_health,
    top_lists,
)
from proxysite.desk.overview.attention import (
    provider_attention,
    request_attention,
    system_attention,
    token_attention,
)
from proxysite.desk.overview.attention.attention_items import AttentionItem, group_items
from proxysite.desk.overview.pool_health import ProviderCard
from proxysite.desk.overview.ranges import CHOICES, DEFAULT_RANGE, Period, build_period
from proxysite.desk.page_access import has_admin_permission
from tokens.models import UpstreamToken

MOST_CARDS = 24


@admin.site.admin_view
def show_overview(request: HttpRequest) -> HttpResponse:
    """Show the overview of the range that the address names."""
    period = build_period(request.GET.get("range", DEFAULT_RANGE), timezone.now())
    return admin.site.index(request, {"title": _("Overview"), **build_page(request, period)})


def build_page(request: HttpRequest, period: Period) -> dict[str, Any]:
    """Return the parts of the page that this member of staff may see."""
    may_view_providers = has_admin_permission(request, Provider, "view")
    cards = pool_health.load_cards() if may_view_providers else []
    page: dict[str, Any] = {
        "period": period,
        "ranges": CHOICES,
        "guide": setup_guide.build_setup_guide(request),
        "attention": group_items(find_items(request, cards)),
        "may_switch": has_admin_permission(request, Provider, "change"),
        "may_confirm": has_admin_permission(request, UpstreamToken, "change"),
        "may_see_tokens": has_admin_permission(request, UpstreamToken, "view"),
        "sees_nothing": not any(
            has_admin_permission(request, model, "view")
            for model in (Provider, UpstreamToken, UsageRecord, AlertDelivery)
        ),
    }
    if may_view_providers:
        page |= {
            "cards": cards[:MOST_CARDS],
            "more_cards": max(0, len(cards) - MOST_CARDS),
            "health": system_health.list_health_lines(),
            "warnings": system_health.list_setting_warnings(),
        }
    if has_admin_permission(request, UsageRecord, "view"):
        page |= build_usage(period)
        page["failures"] = recent_changes.find_failure_lines()
    if page["may_see_tokens"]:
        page["transitions"] = recent_changes.find_transition_lines()
    return page


def build_usage(period: Period) -> dict[str, Any]:
    """Return figures, charts and lists of a period."""
    read = figures.read_figures(period)
    return {
        "stats": figures.list_stats(read),
        "has_requests": read.total.requests > 0,
        "charts": overview_charts.render_charts(read),
        "top_lists": top_lists.build_top_lists(period, may_wait=False),
    }


def find_items(request: HttpRequest, cards: list[ProviderCard]) -> Iterator[AttentionItem]:
    """Yield the items for attention that this person may see."""

    def may(model: Any, action: str) -> bool:
        return has_admin_permission(request, model, action)

    yield from provider_attention.find_provider_items(
        cards, may_change=may(Provider, "change"), may_confirm=may(UpstreamToken, "change")
    )
    if may(UpstreamToken, "view"):
        yield from token_attention.find_token_items(cards, may_change=may(UpstreamToken, "change"))
    if may(UsageRecord, "view"):
        yield from request_attention.find_request_items(may_price=may(Price, "add"))
    if may(AlertDelivery, "view"):
        yield from system_attention.find_alert_items(may_change=may(AlertDelivery, "change"))
    if may(Provider, "view"):
        yield from system_attention.find_system_items()


@admin.site.admin_view
def show_top_lists(request: HttpRequest) -> HttpResponse:
    """Show the lists of the busiest keys, users, models and providers of a range."""
    if not has_admin_permission(request, UsageRecord, "view"):
        raise PermissionDenied
    period = build_period(request.GET.get("range", DEFAULT_RANGE), timezone.now())
    context = {"top_lists": top_lists.build_top_lists(period)}
    return render(request, "admin/overview/top_lists.html", context)


@admin.site.admin_view
def show_first_request(request: HttpRequest) -> HttpResponse:
    """Show whether the first request has come: the part of the guide that refreshes itself."""
    guide = setup_guide.build_setup_guide(request)
    if not request.user.has_perm("providers.add_provider"):
        raise PermissionDenied
    first_request = setup_guide.find_first_request() if guide is None else guide.first_request
    return render(request, "admin/overview/first_request.html", {"first_request": first_request})
