"""/health, /healthz, /readyz and the home page."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from rest_framework.request import Request
from rest_framework.response import Response

from api import exceptions
from api.address_hints import explain_unknown_address
from api.authentication import KeyAuthentication, StaffAuthentication, has_credential
from api.relay.lean_request import LeanRequest
from api.views.base import ApiView
from api.views.staff.staff_access import TOKEN_MODEL, can_view_models
from providers.protocol.json_types import JsonObject
from tokens.models import UpstreamToken

FEATURES = (
    "chat completions",
    "streaming",
    "thinking",
    "tool calling",
    "image and file input",
    "conversations",
    "responses",
    "embeddings",
    "failover between tokens",
)
CELERY_PARTS = ("worker", "beat")  # parts of Celery that run inside `serve`


class Health(ApiView):
    """/health: open to everybody, with token counts for staff that may view tokens.

    Staff show an API key or a session. `worker` and `beat` are "ok" or "failed", where they run
    inside `serve`; they are restarted automatically.
    """

    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []

    def perform_authentication(self, request: Request) -> None:
        """Do nothing, as DRF's own step would forget the session's user; see `can_view_counts`."""

    def get(self, request: Request) -> Response:
        answer: JsonObject = {"status": "ok", "version": settings.VERSION}
        if settings.EMBEDDED_WORKER:
            for part in CELERY_PARTS:
                has_failed = failure_marker_path(part).exists()
                answer[part] = "failed" if has_failed else "ok"
        if self.can_view_counts(request):
            answer["tokens"] = UpstreamToken.objects.all().count_by_activity()
        return Response(answer)

    @staticmethod
    def can_view_counts(request: Request) -> bool:
        """Return whether the caller is staff that may view tokens.

        Raises InvalidKey on a key that is not valid.
        """
        if has_credential(request.META):
            user, caller = KeyAuthentication().authenticate(request)
            return not caller.allowed_models and can_view_models(user, TOKEN_MODEL)
        user_and_auth = StaffAuthentication().authenticate(request)
        return user_and_auth is not None and can_view_models(user_and_auth[0], TOKEN_MODEL)


def failure_marker_path(part: str) -> Path:
    """Return the path of the file that exists while this part of Celery has failed.

    All processes can see it.
    """
    path: Path = settings.HOME.make_path(f"{part}.failed")
    return path


def answer_healthz(request: HttpRequest) -> HttpResponse:
    """Answer that the process lives."""
    return HttpResponse(b"ok\n", content_type="text/plain")


@exceptions.mark_lean
async def answer_readyz(request: LeanRequest) -> HttpResponse:
    """Answer whether the process can take requests, which means that it can record them.

    The lean handler runs it, where no query can hang.
    """
    if reason := request.gateway.ledger.refusal_reason:
        return HttpResponse(
            f"not ready: {reason}\n".encode(), content_type="text/plain", status=503
        )
    return HttpResponse(b"ready\n", content_type="text/plain")


def answer_favicon(request: HttpRequest) -> HttpResponse:
    """Answer a browser that asks for an icon: there is none, and that is no error."""
    response = HttpResponse(b"", content_type="image/x-icon")
    response["cache-control"] = "public, max-age=86400"
    return response


def render_home_page(request: HttpRequest) -> HttpResponse:
    """Say what this is and where its endpoints are: a page for browsers, JSON for programs."""
    if "text/html" in request.headers.get("accept", ""):
        base_url = request.build_absolute_uri("/v1")
        return render(request, "home.html", {"version": settings.VERSION, "base_url": base_url})
    return JsonResponse(
        {
            "service": "proxysite",
            "status": "ok",
            "version": settings.VERSION,
            "message": "An OpenAI-compatible gateway to many upstreams.",
            "features": list(FEATURES),
            "endpoints": {
                "chat": "/v1/chat/completions",
                "messages": "/v1/messages",
                "completions": "/v1/completions",
                "embeddings": "/v1/embeddings",
                "models": "/v1/models",
                "health": "/health",
                "admin": "/admin/",
            },
        }
    )


def answer_unknown_url(request: HttpRequest, path: str = "") -> HttpResponse:
    """Answer a request to an address under /v1/ that is not an endpoint."""
    error = explain_unknown_address(str(request.method), request.path)
    return exceptions.render_error(error, exceptions.get_request_id(request), request.path)
