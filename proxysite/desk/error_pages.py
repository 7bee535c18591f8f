"""Errors as pages: for people with a browser, at the addresses that are pages.

All other addresses answer errors as JSON. The pages need neither a session nor the database, so
they can say that the database is away.
"""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.loader import render_to_string
from django.utils.translation import get_language
from django.utils.translation import gettext as _

PAGE_PATHS = ("/admin/", "/portal/", "/playground/", "/accounts/", "/i18n/", "/api/docs/")


def is_page_path(path: str) -> bool:
    """Return whether an address belongs to the pages for people."""
    return path == "/" or path.startswith(PAGE_PATHS)


def wants_page(request: HttpRequest) -> bool:
    """Return whether an error is shown to a person: a page's address, asked for by a browser."""
    accepts_page = "text/html" in request.headers.get("accept", "")
    return accepts_page and is_page_path(request.path_info)


def render_error_page(request: HttpRequest, status: int, title: str, text: str) -> HttpResponse:
    """Return a page of our own that explains an error and leads on."""
    home = next((path for path in PAGE_PATHS if request.path_info.startswith(path)), "/")
    context = {
        "title": title,
        "text": text,
        "status": status,
        "home": home if home in ("/admin/", "/portal/", "/playground/") else "/",
        "language": get_language() or "en",
        "version": settings.VERSION,
    }
    return HttpResponse(render_to_string("errors/page.html", context), status=status)


def render_not_found(request: HttpRequest) -> HttpResponse:
    text = _("There is no page at this address, or what it showed was deleted.")
    return render_error_page(request, 404, _("Page not found"), text)


def render_forbidden(request: HttpRequest) -> HttpResponse:
    text = _("Your account may not do this. An administrator can give you a role that may.")
    return render_error_page(request, 403, _("Not allowed"), text)


def render_server_error(request: HttpRequest) -> HttpResponse:
    text = _("Something went wrong here. The log of the gateway says what it was.")
    return render_error_page(request, 500, _("Error"), text)


def render_bad_request(request: HttpRequest) -> HttpResponse:
    text = _("The request cannot be read.")
    return render_error_page(request, 400, _("Bad request"), text)


def answer_csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Answer a form without a valid CSRF token: it was open for too long, or is not ours."""
    text = _(
        "The form was not accepted, and nothing was changed. It may have been open since before "
        "you logged in, or your browser blocks cookies. Go back, reload the page, and try again. "
        "Behind a proxy that changes the host name, the setting CSRF_TRUSTED_ORIGINS must name "
        "the address of this page."
    )
    return render_error_page(request, 403, _("The form has expired"), text)
