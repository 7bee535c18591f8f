"""Access to the live board: for staff who may view usage records, from a page of this site."""

import io
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.http.request import HttpRequest

from providers.database.database_threads import QUICK, await_in_time
from proxysite.server.caller_identity import load_session_user, read_cookie
from proxysite.server.request_bodies import Scope

WATCH_PERMISSION = "api.view_usagerecord"
POOL_PERMISSION = "tokens.view_upstreamtoken"  # also for tasks, most of which are about tokens


@dataclass(frozen=True, slots=True)
class Access:
    """The part of the board that a person may see; `with_pool`: tokens, breakers and tasks too."""

    with_pool: bool


async def find_access(scope: Scope) -> Access | None:
    """Return the access of the owner of this WebSocket's session; None without any.

    Raises DatabaseUnavailable, InternalError.
    """
    session_key = read_cookie(scope, settings.SESSION_COOKIE_NAME)
    if not session_key:
        return None
    return await await_in_time(QUICK.run_work(read_access, session_key))


def read_access(session_key: str) -> Access | None:
    """Return the access of the session's owner, None without any; for a database thread."""
    user = load_session_user(session_key)
    if user is None or not user.is_staff or not user.has_perm(WATCH_PERMISSION):
        return None
    if is_second_step_missing(session_key, user):
        return None
    return Access(user.has_perm(POOL_PERMISSION))


def is_second_step_missing(session_key: str, user: Any) -> bool:
    """Return whether the session must pass the second step of the login first."""
    if not settings.SIGN_IN.has_two_factor:
        return False
    from proxysite.access.sign_in.second_step import find_missing_step  # a package that is optional

    return bool(find_missing_step(SessionStore(session_key), user))


def is_same_origin(scope: Scope) -> bool:
    """Return whether a page of this site opens the WebSocket, under an allowed host name.

    Browsers send cookies with the WebSockets of any site, and no CSRF token; `Origin` tells. Behind
    a proxy that changes the host name, CSRF_TRUSTED_ORIGINS has the origin of the pages.
    """
    origins = [value for name, value in scope["headers"] if name == b"origin"]
    if len(origins) != 1:
        return False
    request = ASGIRequest({**scope, "type": "http", "method": "GET"}, io.BytesIO())
    origin = origins[0].decode("latin-1")
    try:
        return origin == own_origin(request) or origin in settings.CSRF_TRUSTED_ORIGINS
    except DisallowedHost:
        return False


def own_origin(request: HttpRequest) -> str:
    """Return the origin of this site's pages. Raises DisallowedHost."""
    scheme = "https" if request.is_secure() else "http"
    return f"{scheme}://{request.get_host()}"
