"""The second step after the password: a code of an authenticator app, or a recovery code.

With TWO_FACTOR=optional a user who has set up an app is asked for its code. With `required` members
of staff must set one up. Until the step is done, a session opens no page but those of the step.
"""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import (
    format_hotp_value,
    hotp_value,
    yield_hotp_counters_from_time,
)
from allauth.mfa.utils import decrypt
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.crypto import constant_time_compare
from django.utils.deprecation import MiddlewareMixin

from proxysite.configuration.sign_in_settings import OFF, REQUIRED
from proxysite.desk.error_pages import is_page_path

DONE_KEY = "second_step_done"  # session key: the id of the user who has done the step
OPEN_PATHS = ("/accounts/", "/i18n/", "/admin/logout/", "/portal/logout/", "/admin/jsi18n/")
SECONDS_PER_HOUR = 3_600


class StepLocked(Exception):
    """Too many wrong codes; `seconds` until the next try."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def mark_as_done(request: HttpRequest, user: Any) -> None:
    """Write to the session that this user has done the step, or came in another safe way."""
    request.session[DONE_KEY] = user.pk


def find_app(user: Any) -> Authenticator | None:
    """Return the authenticator app of a user, or None."""
    return Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).first()


def find_missing_step(session: Any, user: Any) -> str:
    """Return the name of the page that a session must pass first, or an empty string.

    Also for WebSockets, which no middleware sees.
    """
    if settings.SIGN_IN.two_factor == OFF or not user.is_authenticated:
        return ""
    if session.get(DONE_KEY) == user.pk:
        return ""
    if find_app(user) is not None:
        return "second-step"
    if settings.SIGN_IN.two_factor == REQUIRED and user.is_staff:
        return "two-factor"
    return ""


class SecondStepMiddleware(MiddlewareMixin):
    """Sends a session to the step that it has not done yet."""

    get_response: Callable[[HttpRequest], HttpResponse]

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        path = request.path_info
        if not is_page_path(path) or path == "/" or path.startswith(OPEN_PATHS):
            return None
        page = find_missing_step(request.session, request.user)
        if not page:
            return None
        query = urlencode({"next": request.get_full_path() if request.method == "GET" else "/"})
        return HttpResponseRedirect(f"{reverse(page)}?{query}")


# --- codes ----------------------------------------------------------------------------------------
@transaction.atomic
def check_code(user: Any, code: str) -> bool:
    """Return whether this is a code of the user's app, or a recovery code; each works once.

    Writes the use of a code, and counts wrong codes. Raises StepLocked after too many of them.
    """
    get_user_model().objects.select_for_update().get(pk=user.pk)  # one try at a time
    app = find_app(user)
    if app is None:
        return False
    raise_if_locked(app)
    is_right = use_app_code(app, code) or use_recovery_code(user, code)
    app.data["failures"] = 0 if is_right else app.data.get("failures", 0) + 1
    app.data["failed_at"] = 0 if is_right else int(time.time())
    app.save(update_fields=["data"])
    if is_right:
        app.record_usage()
    return is_right


def raise_if_locked(app: Authenticator) -> None:
    """Raise StepLocked when LOGIN_FAILURE_LIMIT codes were wrong within LOGIN_LOCK_HOURS."""
    lock_seconds = settings.AXES_COOLOFF_TIME * SECONDS_PER_HOUR
    left = app.data.get("failed_at", 0) + lock_seconds - time.time()
    if left <= 0:
        app.data["failures"] = 0
    elif app.data.get("failures", 0) >= settings.AXES_FAILURE_LIMIT:
        raise StepLocked(int(left) + 1)


def use_app_code(app: Authenticator, code: str) -> bool:
    """Return whether the code is one of the app's that was not used; writes its counter."""
    secret = decrypt(app.data["secret"])
    digits = code.replace(" ", "")
    for counter in yield_hotp_counters_from_time():
        if counter <= app.data.get("last_counter", 0):
            continue
        if constant_time_compare(format_hotp_value(hotp_value(secret, counter)), digits):
            app.data["last_counter"] = counter
            return True
    return False


def use_recovery_code(user: Any, code: str) -> bool:
    row = Authenticator.objects.filter(user=user, type=Authenticator.Type.RECOVERY_CODES).first()
    return row is not None and bool(RecoveryCodes(row).validate_code(code.replace(" ", "")))
