"""Every address. The relaying doors come first: the lean handler resolves them on each request."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path
from django.views.decorators.csrf import csrf_exempt

from api import exceptions
from api.views import catalogue, files, health, pool, relay, renewal
from providers.exceptions import InternalError, InvalidRequest, UnknownUrl
from proxysite import dashboard

STAFF = [
    path("", dashboard.index),
    path("mode", dashboard.switch_mode, name="dashboard-mode"),
    path("import", dashboard.paste, name="dashboard-import"),
    path("status", pool.Status.as_view()),
    path("switch_mode", pool.SwitchMode.as_view()),
    path("tokens/stats", pool.Stats.as_view()),
    path("tokens/reset/<str:name>", pool.Reset.as_view()),
    path("tokens/reset-all", pool.ResetAll.as_view()),
    path("tokens/reload", pool.Reload.as_view()),
    path("tokens/check", pool.Check.as_view()),
    path("tokens/content", pool.Content.as_view()),
    path("tokens/update", pool.Update.as_view()),
    path("tokens/consecutive-failures", renewal.ConsecutiveFailures.as_view()),
    path("tokens/reset-consecutive", renewal.ResetConsecutive.as_view()),
    path("tokens/updater/status", renewal.UpdaterStatus.as_view()),
    path("tokens/updater/force-update", renewal.ForceUpdate.as_view()),
]

urlpatterns = [
    path("v1/chat/completions", relay.chat_completions),
    path("v1/chat/completions/cot", relay.chain_of_thought),
    path("v1/completions", relay.completions),
    path("v1/embeddings", relay.embeddings),
    path("v1/models", catalogue.Models.as_view()),
    path("v1/models/<path:model>", catalogue.Model.as_view()),
    path("v1/files", files.Files.as_view()),
    path("v1/files/<str:file_id>", files.File.as_view()),
    path("v1/files/<str:file_id>/content", files.Content.as_view()),
    re_path(r"^v1(/.*)?$", csrf_exempt(health.unknown)),
    path("", health.home),
    path("health", health.Health.as_view()),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("admin/", include(STAFF)),
    path("admin/", admin.site.urls),
]

LEAN = frozenset(
    ("/v1/chat/completions", "/v1/chat/completions/cot", "/v1/completions", "/v1/embeddings", "/readyz")
)  # served without a thread


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    return exceptions.answer(UnknownUrl("There is nothing at this address."), exceptions.request_id(request))


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    return exceptions.answer(InvalidRequest("The request cannot be read."), exceptions.request_id(request))


def handler500(request: HttpRequest) -> HttpResponse:
    return exceptions.answer(InternalError("Something went wrong here."), exceptions.request_id(request))
