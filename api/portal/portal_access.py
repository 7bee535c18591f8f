"""Access to the pages of the portal, and the parts that all its pages share."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from api.portal.own_keys.issuing_bounds import may_issue_keys

P = ParamSpec("P")
Page = Callable[Concatenate[HttpRequest, P], HttpResponseBase]
# the tabs of the portal: the name of the address, and the label
TABS = (
    ("portal-home", _("Overview")),
    ("portal-keys", _("API keys")),
    ("portal-usage", _("Usage")),
    ("portal-requests", _("Requests")),
    ("portal-conversations", _("Conversations")),
    ("portal-files", _("Files")),
    ("portal-models", _("Models")),
    ("portal-clients", _("Set up a client")),
    ("portal-account", _("Account")),
)


def open_page(*methods: str) -> Callable[[Page[P]], Page[P]]:
    """Decorate a page that needs no login: it answers these methods, and nothing without PORTAL."""

    def decorate(view: Page[P]) -> Page[P]:
        bounded = require_http_methods(methods)(view)

        @wraps(view)
        def answer(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not settings.PORTAL:
                raise Http404
            response = bounded(request, *args, **kwargs)
            response.headers.setdefault("Referrer-Policy", "same-origin")
            add_never_cache_headers(response)
            response.headers["Cache-Control"] = "no-store, private"
            return response

        return answer

    return decorate


def own_page(*methods: str) -> Callable[[Page[P]], Page[P]]:
    """Decorate a page of the logged-in user; others are sent to the login page."""

    def decorate(view: Page[P]) -> Page[P]:
        @wraps(view)
        def answer(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not request.user.is_authenticated:
                target = request.get_full_path() if request.method == "GET" else ""
                return redirect_to_login(target or reverse("portal-home"))
            return view(request, *args, **kwargs)

        return open_page(*methods)(answer)

    return decorate


def get_user(request: HttpRequest) -> User:
    """Return the logged-in user of an own page."""
    return cast(User, request.user)


def render_page(
    request: HttpRequest, template: str, status: int = 200, **context: Any
) -> HttpResponse:
    """Render a page of the portal with its tabs."""
    match = request.resolver_match
    context.setdefault("section", match.url_name if match else "")
    return render(
        request,
        f"portal/{template}.html",
        {
            "tabs": TABS if request.user.is_authenticated else (),
            "playground_address": find_playground(),
            "may_issue_keys": request.user.is_authenticated and may_issue_keys(get_user(request)),
            **context,
        },
        status=status,
    )


def find_playground() -> str:
    """Return the address of the playground, or an empty text where it is switched off."""
    return reverse("playground:page") if settings.PLAYGROUND else ""
