"""The language and the time zone of the person who looks at a page.

The language is that of the cookie that the language switch sets, else the browser's. The time zone
is that of the cookie `timezone`, which `desk.js` sets to the browser's; without one it is UTC. Both
are for pages alone: texts of the API are English, its times UTC.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils import timezone, translation
from django.utils.cache import patch_vary_headers

from proxysite.desk.error_pages import is_page_path

ZONE_COOKIE = "timezone"


class ViewerPreferences:
    """The middleware that puts language and time zone in force for a page."""

    sync_capable = async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if iscoroutinefunction(self):
            return self.answer_async(request)
        if not is_page_path(request.path_info):
            return self.get_response(request)
        with use_preferences(request):
            return mark_as_translated(self.get_response(request))

    async def answer_async(self, request: HttpRequest) -> HttpResponseBase:
        if not is_page_path(request.path_info):
            answer: HttpResponseBase = await self.get_response(request)
            return answer
        with use_preferences(request):
            return mark_as_translated(await self.get_response(request))


def use_preferences(request: HttpRequest) -> AbstractContextManager[object]:
    """Put the person's language and time zone in force until the context ends."""
    stack = ExitStack()
    language = translation.get_language_from_request(request)
    request.LANGUAGE_CODE = language
    stack.enter_context(translation.override(language))
    stack.enter_context(timezone.override(find_time_zone(request)))
    return stack


def find_time_zone(request: HttpRequest) -> ZoneInfo:
    """Return the time zone of the cookie; the setting TIME_ZONE without a known one."""
    name = request.COOKIES.get(ZONE_COOKIE, "").replace("%2F", "/")
    return ZoneInfo(name if name in list_time_zones() else settings.TIME_ZONE)


@cache
def list_time_zones() -> set[str]:
    """Return the names of all time zones; they are read from the disk once."""
    return available_timezones()


def mark_as_translated(response: HttpResponseBase) -> HttpResponseBase:
    """Tell caches and readers that the page depends on the language."""
    patch_vary_headers(response, ("Accept-Language", "Cookie"))
    response.headers.setdefault("Content-Language", translation.get_language() or "en")
    return response
