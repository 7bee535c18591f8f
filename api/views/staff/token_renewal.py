"""The staff endpoints of renewal: failures in a row, and the renewal of a provider's whole pool.

The addresses and keys are those of a K2Think proxy whose accounts signed in by themselves. Each
process counts failures in a row for itself: with several workers the numbers are those of the
process that answers.
"""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from celery import current_app
from django.conf import settings
from django.db.models import Min
from django.http import HttpRequest
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response

from api.views.staff.staff_access import Mistake, StaffDoor, running, success, the_provider
from providers.admin.big_tables import audit
from providers.choices import Mode
from providers.database.leases import is_held
from providers.models import Provider
from tokens import tasks
from tokens.maintenance.check_now import leave
from tokens.models import Refresh, UpstreamAccount, UpstreamToken
from tokens.pool.failure_counts import IN_A_ROW
from tokens.querysets import TokenQuerySet


def moment(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def renews(provider: Provider) -> bool:
    """Return whether the provider has a token with a refresh token, or an account that signs in."""
    if not provider.enabled or provider.mode == Mode.GUEST:
        return False
    accounts = UpstreamAccount.objects.filter(provider=provider, enabled=True)
    return UpstreamToken.objects.filter(provider=provider).renewable().exists() or accounts.exists()


class ConsecutiveFailures(StaffDoor):
    """Show this process's failures since the provider last answered well.

    `consecutive_failures` counts the provider's own failures, `consecutive_upstream_errors`
    rejected tokens.
    """

    def get(self, request: Request) -> Response:
        provider = the_provider(request)
        auth, other, last_at = running(request).pool.consecutive(provider.pk)
        tokens = UpstreamToken.objects.filter(provider=provider)
        data = {
            "consecutive_failures": other,
            "threshold": IN_A_ROW,
            "consecutive_upstream_errors": auth,
            "upstream_error_threshold": IN_A_ROW,
            "last_upstream_error_time": moment(last_at),
            "token_pool_size": tokens.count(),
            "auto_refresh_enabled": renews(provider),
            "last_check": moment(timezone.now()),
        }
        return Response({"status": "success", "data": data})


class ResetConsecutive(StaffDoor):
    def post(self, request: Request) -> Response:
        provider = the_provider(request)
        pool = running(request).pool
        auth, other, _ = pool.consecutive(provider.pk)
        pool.reset_consecutive(provider.pk)
        data = {"previous_count": auth + other, "current_count": 0}
        return success(f"{provider}: the failures in a row are forgotten.", data=data)


def interval() -> int | None:
    """Return the seconds between two runs that look for tokens that expire soon, or None."""
    entries = current_app.conf.beat_schedule.values()
    return next(
        (int(entry["schedule"]) for entry in entries if entry["task"] == tasks.renew_soon.name),
        None,
    )


def next_at(tokens: TokenQuerySet) -> datetime | None:
    """Return when the first of these tokens is renewed, as far as their expiry is known."""
    first: datetime | None = tokens.renewable().aggregate(first=Min("expires_at"))["first"]
    return first - timedelta(seconds=settings.RENEW_BEFORE_SECONDS) if first else None


def updater(provider: Provider) -> dict[str, Any]:
    """Return the state of the renewal of the provider's pool, with the keys of the proxy."""
    tokens = UpstreamToken.objects.filter(provider=provider)
    run = Refresh.objects.filter(provider=provider).first() or Refresh(provider=provider)
    accounts: str = settings.ACCOUNTS_FILE
    return {
        "is_running": renews(provider),
        "is_updating": Refresh.objects.filter(is_held("running_until"), provider=provider).exists(),
        "update_interval": interval(),
        "last_update": moment(run.ended_at),
        "update_count": run.runs,
        "error_count": run.errors,
        "last_error": run.last_error or None,
        "cached_tokens_count": tokens.usable().count(),
        "next_update": moment(next_at(tokens)),
        "accounts_file_exists": bool(accounts) and Path(accounts).is_file(),
    }


class UpdaterStatus(StaffDoor):
    def get(self, request: Request) -> Response:
        data = updater(the_provider(request))
        return Response({"status": "success" if data["is_running"] else "disabled", "data": data})


class ForceUpdate(StaffDoor):
    """Let the worker renew the provider's pool now."""

    def post(self, request: Request) -> Response:
        provider = the_provider(request)
        if not updater(provider)["is_running"]:
            raise Mistake(
                f"{provider} has no token that can be renewed: none has an account or a refresh "
                "token."
            )
        leave(tasks.refresh_pool, provider.pk, force=True)
        audit(
            cast(HttpRequest, request),
            Provider.objects.filter(pk=provider.pk),
            "Renewal of all tokens.",
        )
        return success(f"The worker renews the tokens of {provider} now.")
