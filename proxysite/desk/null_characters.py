"""Refuse addresses of pages with the character NUL, which no text in PostgreSQL may have."""

from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from api.exceptions import get_request_id, render_error
from providers.exceptions import InvalidRequest
from proxysite.desk.error_pages import is_page_path, render_bad_request, wants_page


class NullCharacters:
    """The middleware that answers such a request with status 400."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self):
            return self.answer_async(request)
        return refuse_address(request) if has_null(request) else self.get_response(request)

    async def answer_async(self, request: HttpRequest) -> HttpResponseBase:
        if has_null(request):
            return refuse_address(request)
        answer: HttpResponseBase = await self.get_response(request)
        return answer


def has_null(request: HttpRequest) -> bool:
    """Return whether the address of a page has a NUL in its path or its query."""
    query = request.META.get("QUERY_STRING", "")
    has_one = "\x00" in request.path_info or "%00" in query or "\x00" in query
    return has_one and is_page_path(request.path_info)


def refuse_address(request: HttpRequest) -> HttpResponseBase:
    if wants_page(request):
        return render_bad_request(request)
    error = InvalidRequest("An address cannot contain the character NUL.")
    return render_error(error, get_request_id(request))
