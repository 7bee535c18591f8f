"""Every URL, and which of them the lean handler serves.

The relaying endpoints come first, because the lean handler resolves its requests here.
"""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.urls import include, path, re_path
from django.views.decorators.csrf import csrf_exempt

from api import exceptions
from api.views import (
    chat,
    conversation_search,
    conversations,
    file_ingestion,
    files,
    health,
    input_tokens,
    model_list,
    responses,
    sessions,
    stored_completions,
    stored_responses,
    web_search,
)
from api.views.staff import token_pool, token_renewal
from providers.exceptions import InternalError, InvalidRequest, UnknownUrl
from proxysite import dashboard
from proxysite.server import host_names

STAFF = [
    path("", dashboard.index),
    path("mode", dashboard.switch_mode, name="dashboard-mode"),
    path("import", dashboard.paste, name="dashboard-import"),
    path("status", token_pool.Status.as_view()),
    path("switch_mode", token_pool.SwitchMode.as_view()),
    path("tokens/stats", token_pool.Stats.as_view()),
    path("tokens/reset/<str:name>", token_pool.Reset.as_view()),
    path("tokens/reset-all", token_pool.ResetAll.as_view()),
    path("tokens/reload", token_pool.Reload.as_view()),
    path("tokens/check", token_pool.Check.as_view()),
    path("tokens/content", token_pool.Content.as_view()),
    path("tokens/update", token_pool.Update.as_view()),
    path("tokens/consecutive-failures", token_renewal.ConsecutiveFailures.as_view()),
    path("tokens/reset-consecutive", token_renewal.ResetConsecutive.as_view()),
    path("tokens/updater/status", token_renewal.UpdaterStatus.as_view()),
    path("tokens/updater/force-update", token_renewal.ForceUpdate.as_view()),
]


def posted(relaying: Callable[..., Any], other: Callable[..., Any]) -> Callable[..., Any]:
    """Return a view that sends a POST to `relaying`, and any other method to `other`.

    The POST is relayed by the lean handler, the rest is served by Django's.
    """

    def view(request: HttpRequest) -> Any:
        return relaying(request) if request.method == "POST" else other(request)

    view.csrf_exempt = True  # type: ignore[attr-defined]
    return view


urlpatterns = [
    path(
        "v1/chat/completions",
        posted(chat.chat_completions, stored_completions.StoredCompletions.as_view()),
    ),
    path("v1/chat/completions/cot", chat.chain_of_thought),
    re_path(
        r"^v1/chat/completions/(?P<completion_id>chatcmpl-[^/]*)$",
        stored_completions.StoredCompletion.as_view(),
    ),
    re_path(
        r"^v1/chat/completions/(?P<completion_id>chatcmpl-[^/]*)/messages$",
        stored_completions.Messages.as_view(),
    ),
    path("v1/chat/completions/<str:conversation>", chat.conversation),
    path("v1/responses", responses.responses),
    path("v1/responses/input_tokens", input_tokens.count),
    path("v1/responses/<str:response_id>", stored_responses.StoredResponse.as_view()),
    path("v1/responses/<str:response_id>/cancel", stored_responses.Cancel.as_view()),
    path("v1/responses/<str:response_id>/input_items", stored_responses.InputItems.as_view()),
    path("v1/completions", chat.completions),
    path("v1/embeddings", chat.embeddings),
    path("v1/web_search", web_search.web_search),
    path("v1/models", model_list.Models.as_view()),
    path("v1/models/<path:model>", model_list.Model.as_view()),
    path("v1/files", files.Files.as_view()),
    path("v1/files/upload", file_ingestion.Upload.as_view()),
    path("v1/files/ingest", file_ingestion.Ingest.as_view()),
    path("v1/files/<str:file_id>", files.File.as_view()),
    path("v1/files/<str:file_id>/status", file_ingestion.Status.as_view()),
    path("v1/files/<str:file_id>/content", files.Content.as_view()),
    path("v1/conversations", conversations.Conversations.as_view()),
    path("v1/conversations/search", conversation_search.Search.as_view()),
    path("v1/conversations/export", conversation_search.ExportAll.as_view()),
    path("v1/conversations/<str:conversation_id>/export", conversation_search.Export.as_view()),
    path("v1/conversations/<str:conversation_id>", conversations.OneConversation.as_view()),
    path("v1/conversations/<str:conversation_id>/items", conversations.Items.as_view()),
    path(
        "v1/conversations/<str:conversation_id>/items/<str:item_id>",
        conversations.OneItem.as_view(),
    ),
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
    """Return whether the lean handler serves the request, without a thread."""
    if path in LEAN:
        return method == "POST" or (method != "OPTIONS" and path not in SHARED)
    if method != "POST" or not path.startswith(IN_CONVERSATION):
        return False
    name = path.removeprefix(IN_CONVERSATION)
    return bool(name) and "/" not in name and not path.startswith(STORED_COMPLETION)


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    return exceptions.answer(
        UnknownUrl("There is nothing at this address."), exceptions.request_id(request)
    )


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, DisallowedHost):
        return host_names.answer_unknown_host(request)
    return exceptions.answer(
        InvalidRequest("The request cannot be read."), exceptions.request_id(request)
    )


def handler500(request: HttpRequest) -> HttpResponse:
    return exceptions.answer(
        InternalError("Something went wrong here."), exceptions.request_id(request)
    )
