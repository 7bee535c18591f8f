"""Every address, and which of them the lean handler serves. The relaying doors come first: it resolves them."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path
from django.views.decorators.csrf import csrf_exempt

from api import exceptions
from api.views import (
    catalogue,
    completions,
    conversations,
    files,
    health,
    ingestion,
    input_tokens,
    pool,
    relay,
    renewal,
    responses,
    search,
    search_web,
    sessions,
    stored_responses,
)
from providers.exceptions import InternalError, InvalidRequest, UnknownUrl
from proxysite import dashboard, hosts

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


def posted(relaying: Callable[..., Any], other: Callable[..., Any]) -> Callable[..., Any]:
    """One address of two doors: what is posted there is relayed, by the lean handler; all else is Django's."""

    def view(request: HttpRequest) -> Any:
        return relaying(request) if request.method == "POST" else other(request)

    view.csrf_exempt = True  # type: ignore[attr-defined]
    return view


urlpatterns = [
    path("v1/chat/completions", posted(relay.chat_completions, completions.StoredCompletions.as_view())),
    path("v1/chat/completions/cot", relay.chain_of_thought),
    re_path(r"^v1/chat/completions/(?P<completion_id>chatcmpl-[^/]*)$", completions.StoredCompletion.as_view()),
    re_path(r"^v1/chat/completions/(?P<completion_id>chatcmpl-[^/]*)/messages$", completions.Messages.as_view()),
    path("v1/chat/completions/<str:conversation>", relay.conversation),
    path("v1/responses", responses.responses),
    path("v1/responses/input_tokens", input_tokens.count),
    path("v1/responses/<str:response_id>", stored_responses.StoredResponse.as_view()),
    path("v1/responses/<str:response_id>/cancel", stored_responses.Cancel.as_view()),
    path("v1/responses/<str:response_id>/input_items", stored_responses.InputItems.as_view()),
    path("v1/completions", relay.completions),
    path("v1/embeddings", relay.embeddings),
    path("v1/web_search", search_web.web_search),
    path("v1/models", catalogue.Models.as_view()),
    path("v1/models/<path:model>", catalogue.Model.as_view()),
    path("v1/files", files.Files.as_view()),
    path("v1/files/upload", ingestion.Upload.as_view()),
    path("v1/files/ingest", ingestion.Ingest.as_view()),
    path("v1/files/<str:file_id>", files.File.as_view()),
    path("v1/files/<str:file_id>/status", ingestion.Status.as_view()),
    path("v1/files/<str:file_id>/content", files.Content.as_view()),
    path("v1/conversations", conversations.Conversations.as_view()),
    path("v1/conversations/search", search.Search.as_view()),
    path("v1/conversations/export", search.ExportAll.as_view()),
    path("v1/conversations/<str:conversation_id>/export", search.Export.as_view()),
    path("v1/conversations/<str:conversation_id>", conversations.OneConversation.as_view()),
    path("v1/conversations/<str:conversation_id>/items", conversations.Items.as_view()),
    path("v1/conversations/<str:conversation_id>/items/<str:item_id>", conversations.OneItem.as_view()),
    path("v1/sessions", sessions.Sessions.as_view()),
    path("v1/sessions/<path:session_id>", sessions.Session.as_view()),
    re_path(r"^v1(/.*)?$", csrf_exempt(health.unknown)),
    path("", health.home),
    path("health", health.Health.as_view()),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("admin/", include(STAFF)),
    path("admin/", admin.site.urls),
]

LEAN = frozenset(
    (
        "/v1/chat/completions",
        "/v1/chat/completions/cot",
        "/v1/completions",
        "/v1/responses",
        "/v1/responses/input_tokens",
        "/v1/embeddings",
        "/v1/web_search",
        "/readyz",
    )
)
SHARED = frozenset(("/v1/chat/completions",))
IN_CONVERSATION = "/v1/chat/completions/"
STORED_COMPLETION = IN_CONVERSATION + "chatcmpl-"


def served_lean(method: str, path: str) -> bool:
    """Whether the lean handler serves it, without a thread."""
    if path in LEAN:
        return method == "POST" or (method != "OPTIONS" and path not in SHARED)
    if method != "POST" or not path.startswith(IN_CONVERSATION):
        return False
    name = path.removeprefix(IN_CONVERSATION)
    return bool(name) and "/" not in name and not path.startswith(STORED_COMPLETION)


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    return exceptions.answer(UnknownUrl("There is nothing at this address."), exceptions.request_id(request))


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, DisallowedHost):
        return hosts.answer_unknown_host(request)
    return exceptions.answer(InvalidRequest("The request cannot be read."), exceptions.request_id(request))


def handler500(request: HttpRequest) -> HttpResponse:
    return exceptions.answer(InternalError("Something went wrong here."), exceptions.request_id(request))
