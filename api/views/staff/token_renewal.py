"""The staff endpoints of renewal: failures in a row, and the renewal of a provider's whole pool.

The addresses and keys are those of a K2Think proxy whose accounts signed in by themselves. Each
process counts failures in a row for itself: with several workers the numbers are those of the
process that answers.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

from celery import current_app
from django.conf import settings
from django.db.models import Min
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from api.views.staff.staff_access import (
    InvalidStaffRequest,
    StaffView,
    find_requested_provider,
    find_running_gateway,
    render_success,
)
from providers.admin.big_tables import record_in_history
from providers.choices import Mode
from providers.database.leases import is_held
from providers.models import Provider
from providers.protocol.json_types import JsonObject
from tokens import tasks
from tokens.maintenance.check_now import queue_task
from tokens.models import Refresh, UpstreamAccount, UpstreamToken
from tokens.pool.failure_counts import FAILURES_BEFORE_RENEWAL
from tokens.querysets import TokenQuerySet


def format_optional_time(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


def can_renew_tokens(provider: Provider) -> bool:
    """Return whether the provider has a token with a refresh token, or an account that signs in."""
    if not provider.enabled or provider.mode == Mode.GUEST:
        return False
    accounts = UpstreamAccount.objects.filter(provider=provider, enabled=True)
    return (
        UpstreamToken.objects.filter(provider=provider).filter_renewable().exists()
        or accounts.exists()
    )


class ConsecutiveFailures(StaffView):
    """Show this process's failures since the provider last answered well.

    `consecutive_failures` counts the provider's own failures, `consecutive_upstream_errors`
    rejected tokens.
    """

    def get(self, request: Request) -> Response:
        provider = find_requested_provider(request)
        pool = find_running_gateway(request).pool
        rejections, failures, last_at = pool.count_consecutive_failures(provider.pk)
        tokens = UpstreamToken.objects.filter(provider=provider)
        data = {
            "consecutive_failures": failures,
            "threshold": FAILURES_BEFORE_RENEWAL,
            "consecutive_upstream_errors": rejections,
            "upstream_error_threshold": FAILURES_BEFORE_RENEWAL,
            "last_upstream_error_time": format_optional_time(last_at),
            "token_pool_size": tokens.count(),
            "auto_refresh_enabled": can_renew_tokens(provider),
            "last_check": format_optional_time(timezone.now()),
        }
        return Response({"status": "success", "data": data})


class ResetConsecutive(StaffView):
    def post(self, request: Request) -> Response:
        provider = find_requested_provider(request)
        pool = find_running_gateway(request).pool
        rejections, failures, _ = pool.count_consecutive_failures(provider.pk)
        pool.reset_consecutive_failures(provider.pk)
        data = {"previous_count": rejections + failures, "current_count": 0}
        return render_success(f"{provider}: the failures in a row count from 0 again.", data=data)


def find_renewal_interval() -> int | None:
    """Return the seconds between two runs that look for tokens that expire soon, or None."""
    for entry in current_app.conf.beat_schedule.values():
        if entry["task"] == tasks.renew_soon.name:
            return int(entry["schedule"])
    return None


def find_next_renewal(tokens: TokenQuerySet) -> datetime | None:
    """Return when the first of these tokens is renewed, as far as their expiry is known."""
    first: datetime | None = tokens.filter_renewable().aggregate(first=Min("expires_at"))["first"]
    if first is None:
        return None
    return first - timedelta(seconds=settings.RENEW_BEFORE_SECONDS)


def build_updater_status(provider: Provider) -> JsonObject:
    """Return the state of the renewal of the provider's pool, with the keys of the proxy."""
    tokens = UpstreamToken.objects.filter(provider=provider)
    run = Refresh.objects.filter(provider=provider).first() or Refresh(provider=provider)
    accounts: str = settings.ACCOUNTS_FILE
    return {
        "is_running": can_renew_tokens(provider),
        "is_updating": Refresh.objects.filter(is_held("running_until"), provider=provider).exists(),
        "update_interval": find_renewal_interval(),
        "last_update": format_optional_time(run.ended_at),
        "update_count": run.runs,
        "error_count": run.errors,
        "last_error": run.last_error or None,
        "cached_tokens_count": tokens.filter_usable().count(),
        "next_update": format_optional_time(find_next_renewal(tokens)),
        "accounts_file_exists": bool(accounts) and Path(accounts).is_file(),
    }


class UpdaterStatus(StaffView):
    def get(self, request: Request) -> Response:
        data = build_updater_status(find_requested_provider(request))
        return Response({"status": "success" if data["is_running"] else "disabled", "data": data})


class ForceUpdate(StaffView):
    """Let the worker renew the provider's pool now."""

    def post(self, request: Request) -> Response:
        provider = find_requested_provider(request)
        if not build_updater_status(provider)["is_running"]:
            raise InvalidStaffRequest(
                f"{provider} has no token that can be renewed: none has an account or a refresh "
                "token."
            )
        queue_task(tasks.refresh_pool, provider.pk, force=True)
        record_in_history(
            cast(HttpRequest, request),
            Provider.objects.filter(pk=provider.pk),
            "Renewal of all tokens.",
        )
        return render_success(f"The worker renews the tokens of {provider} now.")
