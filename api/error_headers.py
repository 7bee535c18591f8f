"""The headers of errors: when to retry, whether to retry, and how to sign in."""

from django.http import HttpResponse

from providers.exceptions import (
    GatewayError,
    InvalidKey,
    MethodNotAllowed,
    RequestTimeout,
    UnsupportedMediaType,
    UpgradeRequired,
)

PASSING_STATUSES = (409, 425)  # a conflict, or a request that came too early: it may pass
# OpenAI's packages do not obey a longer time, but give the request up.
LONGEST_RETRY_AFTER_SECONDS = 120.0


class ErrorAnswer(HttpResponse):
    """The answer for an error; its code is kept here too, because not every form of errors has it.

    `error_code` is empty for an error without one.
    """

    error_code = ""


def error_headers(error: GatewayError) -> dict[str, str]:
    """Return the headers of an error: when to retry, whether to retry, and how to sign in."""
    headers = {"cache-control": "no-store"}
    if error.is_final and error.shown_status not in PASSING_STATUSES:
        headers["x-should-retry"] = "false"
    elif error.retry_after_seconds is not None:
        seconds = min(max(error.retry_after_seconds, 0.001), LONGEST_RETRY_AFTER_SECONDS)
        headers["retry-after"] = str(max(1, round(seconds + 0.499)))
        headers["retry-after-ms"] = str(round(seconds * 1000))
    if isinstance(error, InvalidKey):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, MethodNotAllowed):
        headers["allow"] = error.allowed_methods
    if isinstance(error, UnsupportedMediaType) and error.param == "content-encoding":
        headers["accept-encoding"] = "gzip, deflate"
    if isinstance(error, UpgradeRequired):
        headers |= {"upgrade": "HTTP/1.1", "connection": "close, upgrade"}
    if isinstance(error, RequestTimeout):
        headers["connection"] = "close"  # the rest of the body may still come
    return headers
