"""Let a person enter the password again before a page gives out secrets.

A view asks `is_recently_authenticated(request)` and otherwise returns
`redirect_to_confirmation(request)`. The confirmed time is in the session and holds for
REAUTHENTICATION_SECONDS. The page's address has “password” in it: so its POST waits at the gate for
requests that hash passwords, and it goes through `authenticate`, so the locks against guessed
passwords count it. A person without a password here, who logs in elsewhere, must have logged in
that recently.
"""

import logging
import time
from typing import cast

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

logger = logging.getLogger("audit")
CONFIRMED_KEY = "password_confirmed_at"  # session key: seconds since 1970
URL_NAME = "confirm-password"


def is_recently_authenticated(request: HttpRequest) -> bool:
    """Return whether the person entered the password within REAUTHENTICATION_SECONDS."""
    confirmed_at = request.session.get(CONFIRMED_KEY, 0)
    if is_recent(time.time() - confirmed_at):
        return True
    user = cast(User, request.user)
    if user.has_usable_password() or user.last_login is None:
        return False
    return is_recent((timezone.now() - user.last_login).total_seconds())


def is_recent(age_seconds: float) -> bool:
    """Return whether something so long ago is recent; a time in the future is not."""
    limit: int = settings.REAUTHENTICATION_SECONDS
    return 0 <= age_seconds <= limit


def redirect_to_confirmation(request: HttpRequest, back_to: str = "") -> HttpResponse:
    """Redirect to the page that asks for the password, and from there back to this address."""
    query = urlencode({"next": back_to or request.get_full_path()})
    return HttpResponseRedirect(f"{reverse(URL_NAME)}?{query}")


@admin.site.admin_view
@never_cache
@require_http_methods(["GET", "POST"])
@sensitive_post_parameters("password")
def confirm_password(request: HttpRequest) -> HttpResponse:
    """Ask for the password; a correct one is noted in the session."""
    back_to = read_next_address(request)
    error = ""
    if request.method == "POST":
        if is_own_password(request, request.POST.get("password", "")):
            request.session[CONFIRMED_KEY] = time.time()
            logger.info("password confirmed: user %s", request.user.pk)
            return HttpResponseRedirect(back_to)
        error = _("This is not your password.")
    context = {
        **admin.site.each_context(request),
        "title": _("Enter your password"),
        "next": back_to,
        "error": error,
        "minutes": max(settings.REAUTHENTICATION_SECONDS // 60, 1),
        "has_password": cast(User, request.user).has_usable_password(),
    }
    return TemplateResponse(request, "admin/confirm_password.html", context)


def is_own_password(request: HttpRequest, password: str) -> bool:
    """Return whether this is the password of the person who is logged in.

    A failure is counted as a failed login is.
    """
    user = cast(User, request.user)
    if not password:
        return False
    found = authenticate(request, username=user.get_username(), password=password)
    return found is not None and found.pk == user.pk


def read_next_address(request: HttpRequest) -> str:
    """Return the address of this site to go on to; the index for any other."""
    address = request.POST.get("next", "") or request.GET.get("next", "")
    is_own = url_has_allowed_host_and_scheme(
        address, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return address if is_own else reverse("admin:index")


URLS = [path("confirm-password/", confirm_password, name=URL_NAME)]
