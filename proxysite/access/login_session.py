"""The logins: their users, since when, from where, and when the browser was last seen."""

import time
from collections import OrderedDict
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import models
from django.http import HttpRequest
from django.utils import timezone

from providers.network.client_address import find_caller_address

LONGEST_BROWSER = 200  # characters of the User-Agent that are kept
MOST_REMEMBERED = 10_000  # sessions whose last write a process remembers
_written_at: OrderedDict[str, float] = OrderedDict()  # by session, of the monotonic clock


def is_written_lately(session_key: str) -> bool:
    """Return whether this process has written the session within SESSION_SEEN_SECONDS."""
    written_at = _written_at.get(session_key)
    now = time.monotonic()
    return written_at is not None and now - written_at < settings.SESSION_SEEN_SECONDS


def mark_as_written(session_key: str) -> None:
    _written_at[session_key] = time.monotonic()
    _written_at.move_to_end(session_key)
    if len(_written_at) > MOST_REMEMBERED:
        _written_at.popitem(last=False)


class LoginSessionQuerySet(models.QuerySet["LoginSession"]):
    def filter_alive(self) -> "LoginSessionQuerySet":
        """Return the logins whose session has not ended."""
        alive = Session.objects.filter(expire_date__gt=timezone.now())
        return self.filter(session_key__in=alive.values("session_key"))


class LoginSession(models.Model):
    """A login of a user in one browser."""

    session_key = models.CharField(max_length=40, unique=True, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="login_sessions"
    )
    logged_in_at = models.DateTimeField("since", default=timezone.now, editable=False)
    last_seen_at = models.DateTimeField("last seen", default=timezone.now, editable=False)
    address = models.CharField("from", max_length=64, blank=True, editable=False)
    browser = models.CharField("browser", max_length=LONGEST_BROWSER, blank=True, editable=False)

    objects = LoginSessionQuerySet.as_manager()

    class Meta:
        ordering = ["-last_seen_at"]
        verbose_name = "session"
        verbose_name_plural = "sessions"
        indexes = [models.Index(fields=["-last_seen_at"], name="session_seen")]

    def __str__(self) -> str:
        return f"{self.user} from {self.address or 'unknown'}"


def record_session(request: HttpRequest, user: Any) -> None:
    """Write that this browser was seen now; a session that is new here gets its row."""
    if request.session.session_key is None:
        request.session.save()
    address = find_caller_address(request)
    columns = {
        "user_id": user.pk,
        "last_seen_at": timezone.now(),
        "address": "" if address is None else str(address),
        "browser": request.headers.get("user-agent", "")[:LONGEST_BROWSER],
    }
    key = str(request.session.session_key)
    mark_as_written(key)
    if not LoginSession.objects.filter(session_key=key).update(**columns):
        row = LoginSession(session_key=key, **columns)
        LoginSession.objects.bulk_create([row], ignore_conflicts=True)


def record_login(sender: object, request: HttpRequest | None, user: Any, **kwargs: Any) -> None:
    """Write a login, as a receiver of Django's signal."""
    if request is not None and hasattr(request, "session"):
        record_session(request, user)


def end_sessions(rows: models.QuerySet[LoginSession]) -> int:
    """End these logins and return how many there were; the next click asks for the password."""
    keys = list(rows.values_list("session_key", flat=True))
    Session.objects.filter(session_key__in=keys).delete()
    LoginSession.objects.filter(session_key__in=keys).delete()
    return len(keys)


def end_sessions_of_user(user_id: int) -> int:
    """End every session of a user and return how many there were."""
    count = end_sessions(LoginSession.objects.filter(user_id=user_id))
    # sessions that began before this table, and were not used since
    known = LoginSession.objects.values("session_key")
    alive = Session.objects.filter(expire_date__gt=timezone.now()).exclude(session_key__in=known)
    for session in alive.iterator(chunk_size=500):
        if session.get_decoded().get("_auth_user_id") == str(user_id):
            session.delete()
            count += 1
    return count


def delete_ended_sessions() -> None:
    """Delete the rows of logins whose session has ended a while ago."""
    alive = LoginSession.objects.filter_alive().values("pk")
    before = timezone.now() - timedelta(hours=1)
    LoginSession.objects.filter(last_seen_at__lt=before).exclude(pk__in=alive).delete()
