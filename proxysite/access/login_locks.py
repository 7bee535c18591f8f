"""Locks against guessed passwords, shared by all processes through the database.

A login that meets a lock is refused for a while. There are three:

    name and address   after LOGIN_FAILURE_LIMIT failures of a name from an address, this pair is
                       locked
    address            after LOGIN_ADDRESS_LIMIT failures from an address, whatever the names, the
                       address is locked
    name               after LOGIN_NAME_LIMIT failures of a name from anywhere, one try is allowed
                       each LOGIN_NAME_PAUSE_SECONDS

The last two do not apply to an address from which the same user has logged in within
LOGIN_KNOWN_DAYS. Otherwise anybody could keep an administrator out by guessing wrongly on purpose.
From a new address the administrator has to be lucky while an attack goes on. The locks are ended by
`manage.py axes_reset_username NAME`.

A refused try is not counted and hashes no password. Each login, failed login and refusal is a line
in the log `audit`.
"""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from axes.handlers.database import AxesDatabaseHandler
from axes.helpers import get_client_username, get_cool_off
from axes.models import AccessAttempt, AccessLog
from django.conf import settings
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import AbstractBaseUser
from django.db.models import Max, Q, Sum
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext

from providers.network.client_address import render_caller_address

logger = logging.getLogger("audit")
LONGEST_NAME = 255  # characters
SECRET_PATHS = ("/portal/join/", "/portal/password/reset/")  # a secret follows in the address
Credentials = Mapping[str, object]


def read_username(request: HttpRequest, credentials: Credentials | None = None) -> str:
    """Return the name that a login gives, cut to the length that a row of django-axes takes."""
    name = (credentials or request.POST).get("username") or ""
    return str(name)[:LONGEST_NAME]


class LoginLocks(AxesDatabaseHandler):  # type: ignore[misc]
    """The handler of django-axes with our three locks, which logs logins, failures and refusals."""

    def get_failures(self, request: Any, credentials: Credentials | None = None) -> int:
        """Return the failures that count against this try; LOGIN_FAILURE_LIMIT of them lock.

        Sets `request.login_wait`: the seconds that a lock still lasts, 0 without a lock.
        """
        name = get_client_username(request, credentials) or ""
        failures, wait = find_lock(name, request.axes_ip_address)
        request.login_wait = wait
        limit: int = settings.AXES_FAILURE_LIMIT
        return limit if wait else min(failures, limit - 1)

    def user_login_failed(
        self, sender: object, credentials: Credentials, request: Any = None, **kwargs: object
    ) -> None:
        super().user_login_failed(sender, credentials, request, **kwargs)
        if request is None:
            return
        name = format_login_name(credentials)
        address = render_caller_address(request)
        if request.axes_locked_out:
            logger.warning("login locked for %d s: %s from %s", request.login_wait, name, address)
        else:
            logger.warning("login failed: %s from %s", name, address)

    def user_logged_in(
        self, sender: object, request: HttpRequest, user: AbstractBaseUser, **kwargs: object
    ) -> None:
        request.axes_path_info = blank_secrets(request.path_info)  # type: ignore[attr-defined]
        super().user_logged_in(sender, request, user, **kwargs)
        logger.info(
            "login ok: %s from %s", json.dumps(user.get_username()), render_caller_address(request)
        )

    def user_logged_out(
        self, sender: object, request: HttpRequest, user: AbstractBaseUser | None, **kwargs: object
    ) -> None:
        super().user_logged_out(sender, request, user, **kwargs)
        if user is not None:
            logger.info(
                "logout: %s from %s",
                json.dumps(user.get_username()),
                render_caller_address(request),
            )


def blank_secrets(path: str) -> str:
    """Return the path of a login without the secret of an invitation or a new password."""
    beginning = next((secret for secret in SECRET_PATHS if path.startswith(secret)), None)
    return path if beginning is None else f"{beginning}…"


def format_login_name(credentials: Credentials) -> str:
    """Return the name for the log if a user has it, else "an unknown name".

    People type passwords into the name field, too.
    """
    name = str(credentials.get("username", ""))
    known = get_user_model().objects.filter(username=name).exists()
    return json.dumps(name) if known else "an unknown name"


def find_lock(name: str, address: str | None) -> tuple[int, int]:
    """Return the failures of a name from an address, and the seconds that a lock still lasts.

    The seconds are 0 when nothing is locked.
    """
    now = timezone.now()
    lock_length = get_cool_off() or timedelta()
    both, by_address, by_name = count_failures(name, address, now - lock_length)
    name_pause = timedelta(seconds=settings.LOGIN_NAME_PAUSE_SECONDS)
    wait = both.find_remaining_seconds(settings.AXES_FAILURE_LIMIT, lock_length, now)
    wait_of_strangers = max(
        by_address.find_remaining_seconds(settings.LOGIN_ADDRESS_LIMIT, lock_length, now),
        by_name.find_remaining_seconds(settings.LOGIN_NAME_LIMIT, name_pause, now),
    )
    if wait_of_strangers > 0 and not is_known_address(name, address, now):
        wait = max(wait, wait_of_strangers)
    return both.count, max(0, math.ceil(wait))


@dataclass(frozen=True, slots=True)
class FailureCount:
    """The number of failed logins, and the time of the last; None when there was none."""

    count: int
    last_at: datetime | None

    def find_remaining_seconds(self, limit: int, length: timedelta, now: datetime) -> float:
        """Return how long a lock of this length still lasts that `limit` failures begin."""
        if self.last_at is None or self.count < limit:
            return 0
        return (length - (now - self.last_at)).total_seconds()


def count_failures(name: str, address: str | None, since: datetime) -> list[FailureCount]:
    """Return three counts: of the name from the address, of the address, and of the name."""
    by_name = Q(username=name)
    by_address = Q(ip_address=address)
    columns: dict[str, Sum | Max] = {}
    conditions = {"both": by_name & by_address, "address": by_address, "name": by_name}
    for key, condition in conditions.items():
        columns[key] = Sum("failures_since_start", filter=condition)
        columns[f"{key}_at"] = Max("attempt_time", filter=condition)
    recent = AccessAttempt.objects.filter(by_name | by_address, attempt_time__gt=since)
    row = recent.aggregate(**columns)
    return [FailureCount(row[key] or 0, row[f"{key}_at"]) for key in conditions]


def is_known_address(name: str, address: str | None, now: datetime) -> bool:
    """Return whether this user has logged in from this address within LOGIN_KNOWN_DAYS."""
    since = now - timedelta(days=settings.LOGIN_KNOWN_DAYS)
    return bool(
        AccessLog.objects.filter(username=name, ip_address=address, attempt_time__gt=since).exists()
    )


def answer_locked(request: HttpRequest, *more: object) -> HttpResponse:
    """Return the page of a refused login: status 429, with the seconds to wait."""
    wait = max(1, getattr(request, "login_wait", 0) or 0)
    context = {
        **admin.site.each_context(request),
        "title": gettext("Too many failed logins"),
        "seconds": wait,
    }
    context["minutes"] = math.ceil(wait / 60)
    template = "admin/login_refused.html"
    if request.path_info.startswith("/portal/"):
        template = "portal/login_refused.html"
    page = TemplateResponse(request, template, context, status=429)
    page.headers["Retry-After"] = str(wait)
    return page.render()


def delete_old_logins() -> None:
    """Delete the rows that no lock reads any more.

    These are failures whose locks ended a day ago, and logins older than LOGIN_KNOWN_DAYS.
    """
    now = timezone.now()
    AccessAttempt.objects.filter(
        attempt_time__lt=now - (get_cool_off() or timedelta()) - timedelta(days=1)
    ).delete()
    AccessLog.objects.filter(
        attempt_time__lt=now - timedelta(days=settings.LOGIN_KNOWN_DAYS)
    ).delete()
