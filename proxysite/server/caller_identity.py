"""The caller of a request to Django's handler, known before a large body is received.

The views authenticate again and decide about the caller's rights. Here it only matters whether
there is a valid API key (looked up in the cache of the relaying endpoints) or the session of a
signed-in user (looked up in the session store).
"""

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.http.cookie import parse_cookie
from django.utils.crypto import constant_time_compare

from api.authentication import BARE_KEY_HEADERS, BEARER_HEADER, Caller
from api.relay.gateway import Gateway
from providers.database.database_threads import QUICK, await_in_time
from providers.exceptions import GatewayError
from proxysite.server.body_budget import Owner
from proxysite.server.request_bodies import Scope

# the names of these headers in ASGI's scope, and in Django's META
KEY_HEADERS = {
    name.removeprefix("HTTP_").replace("_", "-").lower().encode(): name
    for name in (BEARER_HEADER, *BARE_KEY_HEADERS)
}


class RequestCaller:
    """The caller of one request; `key_error` says why the given API key is not valid."""

    def __init__(self, gateway: Gateway, scope: Scope) -> None:
        self._gateway = gateway
        self._scope = scope
        self.caller: Caller | None = None
        self.key_error: GatewayError | None = None

    @property
    def key_id(self) -> int | None:
        """Return the id of the caller's API key; None without a valid one."""
        return None if self.caller is None else self.caller.key_id

    async def identify_caller(self) -> None:
        """Look up the API key, if one is given, and set `caller` or `key_error`.

        A caller who brings tokens of an upstream has no API key.
        """
        credentials = read_key_headers(self._scope)
        if not credentials:
            return
        try:
            caller = await self._gateway.keyring.identify_caller(credentials)
        except GatewayError as problem:
            self.key_error = problem
        else:
            if caller.key_id is not None:
                self.caller = caller

    async def find_owner(self) -> Owner | None:
        """Return the owner to whom a large body is counted; None without an API key or a session.

        Raises DatabaseUnavailable.
        """
        if self.caller is not None:
            return self.caller.key_id
        session_key = read_cookie(self._scope, settings.SESSION_COOKIE_NAME)
        if not session_key:
            return None
        user_id = await await_in_time(QUICK.run_work(find_session_user, session_key))
        return None if user_id is None else f"user {user_id}"


def read_key_headers(scope: Scope) -> dict[str, str]:
    """Return the headers that may carry an API key, named as in Django's META."""
    values: dict[str, list[str]] = {}
    for name, value in scope["headers"]:
        if meta_name := KEY_HEADERS.get(name):
            values.setdefault(meta_name, []).append(value.decode("latin-1"))
    return {meta_name: ",".join(texts) for meta_name, texts in values.items()}


def read_cookie(scope: Scope, name: str) -> str:
    """Return the value of a cookie, or an empty text."""
    text = "; ".join(
        value.decode("latin-1") for field, value in scope["headers"] if field == b"cookie"
    )
    return parse_cookie(text).get(name, "")


def find_session_user(session_key: str) -> int | None:
    """Return the id of the user who has signed in with this session, or None.

    Runs in a database thread.
    """
    user = load_session_user(session_key)
    return None if user is None else int(user.pk)


def load_session_user(session_key: str) -> User | None:
    """Return the active user who has signed in with this session, or None.

    Runs in a database thread. Makes the same checks as `django.contrib.auth.get_user`, which would
    also change the session.
    """
    session = SessionStore(session_key).load()
    if session.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return None
    user = User.objects.filter(pk=session.get(SESSION_KEY) or 0, is_active=True).first()
    if user is None:
        return None
    session_hash = session.get(HASH_SESSION_KEY, "")
    if not constant_time_compare(session_hash, user.get_session_auth_hash()):
        return None
    return user
