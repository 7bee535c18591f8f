"""/metrics, for Prometheus: with METRICS_TOKEN as a bearer, or by staff who may view requests."""

import hmac
from typing import Any

from django.conf import settings
from django.http import HttpResponse
from rest_framework.request import Request

from api.views.staff.staff_access import StaffView, find_running_gateway
from providers.exceptions import InvalidKey

HOW_TO_READ = (
    "Show METRICS_TOKEN, or the API key of a member of staff, as “Authorization: Bearer …”, or "
    "sign in at /admin/."
)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def has_metrics_token(request: Request) -> bool:
    """Return whether the request shows METRICS_TOKEN."""
    expected = settings.METRICS_TOKEN
    scheme, _, shown = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    if not expected or scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(shown.strip().encode(), expected.encode())


class Metrics(StaffView):
    """/metrics.

    METRICS_TOKEN needs no database, so that a gateway whose database is away can be watched.
    """

    viewed_models = ("api.usagerecord",)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check the access, unless the request shows METRICS_TOKEN."""
        if has_metrics_token(request):
            return
        try:
            super().initial(request, *args, **kwargs)
        except InvalidKey:
            raise InvalidKey(HOW_TO_READ) from None

    def get(self, request: Request) -> HttpResponse:
        from api.metrics.exposition import render_metrics  # takes 2 MB, only where it is used

        gateway = find_running_gateway(request)
        return HttpResponse(render_metrics(gateway), content_type=CONTENT_TYPE)
