"""The Content-Security-Policy of every answer of Django's handler.

A page may load scripts, styles, pictures and fonts of this site only, nothing inline, and may not
be framed. An answer that is no page (JSON, files, texts) may load nothing. Two constant texts need
no library. The relaying endpoints send no policy: no browser renders their answers.
"""

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

POLICY_HEADER = "Content-Security-Policy"
COMMON_DIRECTIVES = "; base-uri 'none'; frame-ancestors 'none'"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src "
    "'self';"
    " connect-src 'self'; form-action 'self'"
) + COMMON_DIRECTIVES
NO_PAGE_POLICY = "default-src 'none'; form-action 'none'" + COMMON_DIRECTIVES + "; sandbox"


class ContentSecurity:
    """The middleware that sets the Content-Security-Policy."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self):
            return self.answer_async(request)
        return add_policy(self.get_response(request))

    async def answer_async(self, request: HttpRequest) -> HttpResponseBase:
        return add_policy(await self.get_response(request))


def add_policy(response: HttpResponseBase) -> HttpResponseBase:
    is_page = response.headers.get("Content-Type", "").startswith("text/html")
    response.headers[POLICY_HEADER] = PAGE_POLICY if is_page else NO_PAGE_POLICY
    return response
