"""The template context of the frame around every page: version, languages, time zone and more."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone


def describe_shell(request: HttpRequest) -> dict[str, Any]:
    """Return the template variable `shell`: a context processor."""
    now = timezone.localtime()
    offset = now.strftime("%z")
    return {
        "shell": {
            "version": settings.VERSION,
            "languages": settings.LANGUAGES,
            "time_zone": timezone.get_current_timezone_name(),
            "utc_offset": f"{offset[:3]}:{offset[3:]}",
            "has_portal": settings.PORTAL,
            "environment_label": settings.ENVIRONMENT_LABEL,
            "single_sign_on": settings.SIGN_IN.name if settings.SIGN_IN.issuer else "",
            "has_two_factor": settings.SIGN_IN.has_two_factor,
        }
    }
