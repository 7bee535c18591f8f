"""The middleware that writes when the browser of a logged-in person was last seen."""

import logging
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.contrib.auth import SESSION_KEY
from django.db import DatabaseError
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from proxysite.access.login_session import is_written_lately, record_session

logger = logging.getLogger(__name__)


class LastSeen:
    """Writes each session at most once in SESSION_SEEN_SECONDS; other requests cost nothing."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self):
            return self.answer_async(request)
        response = self.get_response(request)
        if self.is_due(request):
            self.record(request)
        return response

    async def answer_async(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = await self.get_response(request)
        if self.is_due(request):
            await sync_to_async(self.record)(request)
        return response

    @staticmethod
    def is_due(request: HttpRequest) -> bool:
        """Return whether the session of a logged-in person should be written now."""
        session = getattr(request, "session", None)
        # the view has read the session, or it was nobody's page
        values = getattr(session, "_session_cache", None)
        if session is None or not values or SESSION_KEY not in values or not session.session_key:
            return False
        return not is_written_lately(session.session_key)

    @staticmethod
    def record(request: HttpRequest) -> None:
        user = request.user
        if not user.is_authenticated:
            return
        try:
            record_session(request, user)
        except DatabaseError as error:  # the answer is made; the next request tries again
            logger.warning("a session was not written: %s", type(error).__name__)
