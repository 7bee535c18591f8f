"""The page of the playground, the key of its session, and stored turns to run again."""

import json
from collections.abc import Callable
from functools import wraps
from typing import cast
from uuid import UUID

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_GET, require_POST

from api.playground import rights, session_keys, stored_turns
from conversations.admin import reading_notes
from conversations.models import Conversation
from providers.integers import parse_integer

USAGE_PERMISSION = "api.view_usagerecord"
PORTAL_PAGE = "portal-home"
USERS_LOGIN_PAGE = "portal-login"
STAFF_LOGIN_PAGE = "admin:login"
SOME_ID = UUID(int=0)  # stands in an address for the id that the page's script fills in
LARGEST_ID = 2**63 - 1
View = Callable[..., HttpResponseBase]


def needs_playground(view: View) -> View:
    """Let only signed-in users use a view, and nobody where PLAYGROUND is off.

    A page leads to the login; an endpoint of the page's script answers 403.
    """

    @wraps(view)
    def answer(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if not settings.PLAYGROUND:
            raise Http404
        if request.user.is_authenticated and request.user.is_active:
            return view(request, *args, **kwargs)
        if request.path == reverse("playground:page"):
            return redirect_to_login(request.get_full_path(), find_login_page())
        return render_json_error(_("You are not signed in any more."), 403)

    return never_cache(answer)


def find_login_page() -> str:
    """Return the address of the login page for all users, or of that for staff."""
    return reverse(USERS_LOGIN_PAGE if settings.PORTAL else STAFF_LOGIN_PAGE)


def find_portal() -> str:
    """Return the address of the user's own pages, or an empty text where there is no portal."""
    return reverse(PORTAL_PAGE) if settings.PORTAL else ""


@needs_playground
@require_GET
def show_playground(request: HttpRequest) -> HttpResponse:
    """Show the page; it is useless without its script, which asks for the session's key."""
    user = cast(User, request.user)
    try:
        rights.find_rights(user)
    except rights.NoPlaygroundRights:
        context = {"portal_url": find_portal()}
        return render(request, "playground/refused.html", context, status=403)
    return render(request, "playground/page.html", build_page_context(request, user))


def build_page_context(request: HttpRequest, user: User) -> dict[str, object]:
    """Return the values for the page."""
    source_keys = list(rights.list_source_keys(user))
    has_own_rights = rights.has_own_rights(user)
    return {
        "base_url": request.build_absolute_uri("/v1"),
        "source_keys": source_keys,
        "has_own_rights": has_own_rights,
        "asks_for_source": len(source_keys) + has_own_rights > 1,
        "record_url": build_record_url(user),
        "turn_url": build_turn_url(request),
    }


def build_record_url(user: User) -> str:
    """Return the address of a usage record with the id 0…0, for those who may read records."""
    if not (user.is_staff and user.has_perm(USAGE_PERMISSION)):
        return ""
    return reverse("admin:api_usagerecord_change", args=[SOME_ID])


def build_turn_url(request: HttpRequest) -> str:
    """Return the address of the stored turn that the page's address names, or an empty text."""
    try:
        turn_id = UUID(hex=request.GET.get("turn", ""))
    except ValueError:
        return ""
    return reverse("playground:turn", args=[turn_id])


@needs_playground
@require_POST
@sensitive_variables()
def create_session_key(request: HttpRequest) -> HttpResponseBase:
    """Answer with the key of the session; it is created, or lives longer.

    The field `source` is the id of the own key whose rights it gets; empty: the widest rights.
    """
    source_id = parse_integer(request.POST.get("source", ""), 1, LARGEST_ID)
    try:
        key_rights = rights.find_rights(cast(User, request.user), source_id)
    except rights.NoPlaygroundRights:
        text = _("You have no valid API key, so there is nothing that the playground may use.")
        return render_json_error(text, 403)
    key = session_keys.open_session_key(request, key_rights)
    return JsonResponse({"key": key.text, "expires_at": key.expires_at.timestamp()})


@needs_playground
@require_GET
def show_stored_turn(request: HttpRequest, turn_id: UUID) -> HttpResponseBase:
    """Answer with a stored turn as a chat request, for its owner and for staff who may read it."""
    user = cast(User, request.user)
    turn = stored_turns.find_turn(user, turn_id)
    if turn is None:
        return render_json_error(_("There is no such turn, or you may not read it."), 404)
    reading_notes.record_reading(request, Conversation.objects.filter(pk=turn.conversation_id))
    report = stored_turns.build_turn_report(turn, is_own=turn.user_id == user.pk)
    return JsonResponse(report)


def render_json_error(text: str, status: int) -> HttpResponse:
    """Return an error for the page's script, in the shape that errors under /v1 have."""
    body = json.dumps({"error": {"message": text}})
    return HttpResponse(body, content_type="application/json", status=status)
