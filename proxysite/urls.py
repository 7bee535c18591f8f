"""Every address. The relaying doors come first: the lean handler resolves them on each request."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import path, re_path
from django.views.decorators.csrf import csrf_exempt

from api import exceptions
from api.views import catalogue, health, relay
from providers.exceptions import InternalError, InvalidRequest, UnknownUrl

urlpatterns = [
    path("v1/chat/completions", relay.chat_completions),
    path("v1/completions", relay.completions),
    path("v1/embeddings", relay.embeddings),
    path("v1/models", catalogue.Models.as_view()),
    path("v1/models/<path:model>", catalogue.Model.as_view()),
    re_path(r"^v1(/.*)?$", csrf_exempt(health.unknown)),
    path("", health.home),
    path("health", health.Health.as_view()),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("admin/", admin.site.urls),
]

LEAN = frozenset(("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/readyz"))  # served without a thread


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    return exceptions.answer(UnknownUrl("There is nothing at this address."), exceptions.request_id(request))


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    return exceptions.answer(InvalidRequest("The request cannot be read."), exceptions.request_id(request))


def handler500(request: HttpRequest) -> HttpResponse:
    return exceptions.answer(InternalError("Something went wrong here."), exceptions.request_id(request))
