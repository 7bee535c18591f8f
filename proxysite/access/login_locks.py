"""Logins that fail too often are refused for a while: three locks, shared by all processes through
the database.

name and address   LOGIN_FAILURE_LIMIT failures: that name is locked for that address.
address            LOGIN_ADDRESS_LIMIT failures, whatever the names: no more guesses from there.
name               LOGIN_NAME_LIMIT failures from anywhere: one try each LOGIN_NAME_PAUSE_SECONDS.

The last two never concern an address from which the same user has logged in before
(LOGIN_KNOWN_DAYS): with them alone anybody could keep an administrator out, from everywhere, by
guessing wrongly on purpose. From a new address he has to be lucky while an attack goes on;
`manage.py axes_reset_username NAME` ends the locks.

A refused try is not counted and costs no hashing. Each login, failed login and refusal is a line of
the log `audit`.
"""

import json
import logging
import math
from datetime import datetime, timedelta
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_client_username, get_cool_off
from axes.models import AccessAttempt, AccessLog
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Max, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from providers.network.client_address import client_address

logger = logging.getLogger("audit")
LONGEST_NAME = 255  # characters


def read_username(request: Any, credentials: dict[str, Any] | None = None) -> str:
    """Return the name that somebody logs in with, no longer than a row of axes takes."""
    name = (credentials or request.POST).get("username") or ""
    return str(name)[:LONGEST_NAME]


class LoginLocks(AxesDatabaseHandler):  # type: ignore[misc]
    """axes' handler with our three locks, which notes what happens."""

    def get_failures(self, request: Any, credentials: dict[str, Any] | None = None) -> int:
        """The failures that count against this try; LOGIN_FAILURE_LIMIT of them lock. Sets
        `request.login_wait`.
        """
        name = get_client_username(request, credentials) or ""
        failures, wait = find_lock(name, request.axes_ip_address)
        request.login_wait = wait
        limit: int = settings.AXES_FAILURE_LIMIT
        return limit if wait else min(failures, limit - 1)

    def user_login_failed(
        self, sender: Any, credentials: dict[str, Any], request: Any = None, **kwargs: Any
    ) -> None:
        super().user_login_failed(sender, credentials, request, **kwargs)
        if request is None:
            return
        name = shown_name(credentials)
        address = client_address(request)
        if request.axes_locked_out:
            logger.warning("login locked for %d s: %s from %s", request.login_wait, name, address)
        else:
            logger.warning("login failed: %s from %s", name, address)

    def user_logged_in(self, sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
        super().user_logged_in(sender, request, user, **kwargs)
        logger.info(
            "login ok: %s from %s", json.dumps(user.get_username()), client_address(request)
        )

    def user_logged_out(self, sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
        super().user_logged_out(sender, request, user, **kwargs)
        if user is not None:
            logger.info(
                "logout: %s from %s", json.dumps(user.get_username()), client_address(request)
            )


def shown_name(credentials: dict[str, Any]) -> str:
    """The name for the log, if somebody has it: people type passwords into the field above, too."""
    name = str(credentials.get("username", ""))
    known = get_user_model().objects.filter(username=name).exists()
    return json.dumps(name) if known else "an unknown name"


def find_lock(name: str, address: str | None) -> tuple[int, int]:
    """The failures of this name from this address, and the seconds that a lock still lasts (0:
    none).
    """
    now = timezone.now()
    lasts = get_cool_off() or timedelta()
    by_name = Q(username=name)
    by_address = Q(ip_address=address)
    counted: dict[str, Any] = {}
    for key, which in (("both", by_name & by_address), ("address", by_address), ("name", by_name)):
        counted[key] = Sum("failures_since_start", filter=which)
        counted[f"{key}_at"] = Max("attempt_time", filter=which)
    recent = AccessAttempt.objects.filter(by_name | by_address, attempt_time__gt=now - lasts)
    found = recent.aggregate(**counted)

    def left(key: str, limit: int, seconds: float) -> float:
        at: datetime | None = found[f"{key}_at"]
        many = at is not None and (found[key] or 0) >= limit
        return seconds - (now - at).total_seconds() if many and at is not None else 0

    wait = left("both", settings.AXES_FAILURE_LIMIT, lasts.total_seconds())
    others = max(
        left("address", settings.LOGIN_ADDRESS_LIMIT, lasts.total_seconds()),
        left("name", settings.LOGIN_NAME_LIMIT, settings.LOGIN_NAME_PAUSE_SECONDS),
    )
    if others > 0 and not is_known(name, address, now):
        wait = max(wait, others)
    return found["both"] or 0, max(0, math.ceil(wait))


def is_known(name: str, address: str | None, now: datetime) -> bool:
    """Whether this user has logged in from this address before."""
    since = now - timedelta(days=settings.LOGIN_KNOWN_DAYS)
    return bool(
        AccessLog.objects.filter(username=name, ip_address=address, attempt_time__gt=since).exists()
    )


def answer_locked(request: HttpRequest, *more: Any) -> HttpResponse:
    """The page of a login that is refused, with the seconds to wait."""
    wait = max(1, getattr(request, "login_wait", 0) or 0)
    context = {
        **admin.site.each_context(request),
        "title": "Too many failed logins",
        "seconds": wait,
    }
    context["minutes"] = math.ceil(wait / 60)
    page = TemplateResponse(request, "admin/login_refused.html", context, status=429)
    page.headers["Retry-After"] = str(wait)
    return page.render()


def forget_old() -> None:
    """Delete what no lock looks at any more: failures that are over, logins that make no address
    known.
    """
    now = timezone.now()
    AccessAttempt.objects.filter(
        attempt_time__lt=now - (get_cool_off() or timedelta()) - timedelta(days=1)
    ).delete()
    AccessLog.objects.filter(
        attempt_time__lt=now - timedelta(days=settings.LOGIN_KNOWN_DAYS)
    ).delete()
