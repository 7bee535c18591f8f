"""/health, /healthz, /readyz and the home page."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from rest_framework.request import Request
from rest_framework.response import Response

from api import exceptions
from api.authentication import KeyAuthentication, StaffAuthentication
from api.relay.gateway import LeanRequest
from api.views.base import Door
from api.views.staff.staff_access import TOKENS, may_view
from providers.exceptions import UnknownUrl
from tokens.models import UpstreamToken

PARTS = ("worker", "beat")  # of Celery, inside `serve`


class Health(Door):
    """Open; for staff that may view tokens, by key or session, also how many tokens there are and
    can be used.

    `worker` and `beat` are "ok" or "failed", where they run inside `serve`; they are begun again by
    themselves.
    """

    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []

    def perform_authentication(self, request: Request) -> None:
        """Left to `may_count`: DRF's own would forget the session's user."""

    def get(self, request: Request) -> Response:
        answer: dict[str, Any] = {"status": "ok", "version": settings.VERSION}
        if settings.EMBEDDED_WORKER:
            answer |= {part: "failed" if failed(part).exists() else "ok" for part in PARTS}
        if self.may_count(request):
            answer["tokens"] = UpstreamToken.objects.all().counts()
        return Response(answer)

    @staticmethod
    def may_count(request: Request) -> bool:
        """Whether the caller is staff that may view tokens. Raises InvalidKey on a key that is not
        valid.
        """
        if {"HTTP_AUTHORIZATION", "HTTP_X_API_KEY"} & request.META.keys():
            user, caller = KeyAuthentication().authenticate(request)
            return not caller.models and may_view(user, TOKENS)
        found = StaffAuthentication().authenticate(request)
        return found is not None and may_view(found[0], TOKENS)


def failed(part: str) -> Path:
    """A file that is there from when this part of Celery ended until it works again, for all
    processes to see.
    """
    path: Path = settings.HOME.path(f"{part}.failed")
    return path


def healthz(request: HttpRequest) -> HttpResponse:
    """The process lives."""
    return HttpResponse(b"ok\n", content_type="text/plain")


async def readyz(request: LeanRequest) -> HttpResponse:
    """The process can take requests: it can record them. On the lean handler, where no query can
    hang.
    """
    if reason := request.gateway.ledger.reason:
        return HttpResponse(
            f"not ready: {reason}\n".encode(), content_type="text/plain", status=503
        )
    return HttpResponse(b"ready\n", content_type="text/plain")


def home(request: HttpRequest) -> HttpResponse:
    """Say what this is and where its endpoints are: a page for browsers, JSON for programs."""
    if "text/html" in request.headers.get("accept", ""):
        base_url = request.build_absolute_uri("/v1")
        return render(request, "home.html", {"version": settings.VERSION, "base_url": base_url})
    return JsonResponse(
        {
            "service": "proxysite",
            "status": "ok",
            "version": settings.VERSION,
            "endpoints": {
                "chat": "/v1/chat/completions",
                "completions": "/v1/completions",
                "embeddings": "/v1/embeddings",
                "models": "/v1/models",
                "health": "/health",
                "admin": "/admin/",
            },
        }
    )


def unknown(request: HttpRequest, path: str = "") -> HttpResponse:
    """Everything under /v1/ that is no door."""
    error = UnknownUrl(f"Unknown request URL: {request.method} {request.path}.")
    return exceptions.answer(error, exceptions.request_id(request))
