"""Every URL.

The relaying endpoints come first, because the lean handler resolves its requests here. Which views
it serves, their marks say (`proxysite/server/lean_routes.py`).
"""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.views.decorators.csrf import csrf_exempt

from api import address_hints, exceptions
from api.admin.pool_parts.routing_page import show_routing_page
from api.metrics.metrics_view import Metrics
from api.openapi import openapi_views
from api.views import (
    batches,
    chat,
    conversation_search,
    conversations,
    health,
    relayed,
    sessions,
    stored_completions,
    web_search,
)
from api.views.account import key_status, usage_view
from api.views.messages import create_message, message_tokens
from api.views.model_catalogue import model_list
from api.views.responses import compaction, create_response, input_tokens, stored_responses
from api.views.staff import token_pool, token_renewal
from api.views.stored_files import file_ingestion, files, uploads
from api.views.tokenizing import tokenize_views
from providers.admin import reauthentication
from providers.exceptions import Forbidden, InternalError, InvalidRequest
from proxysite.desk import error_pages, palette
from proxysite.people import lock_page
from proxysite.server import host_names
from proxysite.server.lean_routes import LeanRoutes

STAFF_URLS: list[URLPattern | URLResolver] = [
    path("", include("proxysite.desk.overview.overview_urls")),
    path("search", palette.search_desk, name="desk-search"),
    *reauthentication.URLS,
    path("", include("proxysite.desk.live.live_urls")),
    path("routing/", admin.site.admin_view(show_routing_page), name="routing"),
    path("status", token_pool.PoolStatus.as_view()),
    path("switch_mode", token_pool.SwitchMode.as_view()),
    path("locks/", lock_page.show_locks, name="system-locks"),
    path("locks/lift", lock_page.lift_one_lock, name="system-locks-lift"),
    path("tokens/stats", token_pool.PoolStats.as_view()),
    path("tokens/reset/<str:name>", token_pool.ResetToken.as_view()),
    path("tokens/reset-all", token_pool.ResetAllTokens.as_view()),
    path("tokens/reload", token_pool.ReloadTokenFile.as_view()),
    path("tokens/check", token_pool.CheckTokens.as_view()),
    path("tokens/content", token_pool.TokenList.as_view()),
    path("tokens/update", token_pool.ImportTokens.as_view()),
    path("tokens/consecutive-failures", token_renewal.ConsecutiveFailures.as_view()),
    path("tokens/reset-consecutive", token_renewal.ResetConsecutive.as_view()),
    path("tokens/updater/status", token_renewal.UpdaterStatus.as_view()),
    path("tokens/updater/force-update", token_renewal.ForceUpdate.as_view()),
]


def split_by_method(
    post_view: Callable[..., Any], other_view: Callable[..., Any]
) -> Callable[..., Any]:
    """Return a view that sends a POST to `post_view`, and other methods to `other_view`.

    The POST is served by the lean handler, the rest by Django's.
    """

    def choose_view(request: HttpRequest) -> Any:
        return post_view(request) if request.method == "POST" else other_view(request)

    choose_view.csrf_exempt = True  # type: ignore[attr-defined]
    choose_view.lean_methods = frozenset(("POST",))  # type: ignore[attr-defined]
    return choose_view


urlpatterns = [
    path(
        "v1/chat/completions",
        split_by_method(chat.chat_completions, stored_completions.StoredCompletions.as_view()),
    ),
    path("v1/chat/completions/cot", chat.chain_of_thought),
    re_path(
        r"^v1/chat/completions/(?P<completion_id>chatcmpl-[^/]*)$",
        stored_completions.StoredCompletion.as_view(),
    ),
    re_path(
        r"^v1/chat/completions/(?P<completion_id>chatcmpl-[^/]*)/messages$",
        stored_completions.StoredCompletionMessages.as_view(),
    ),
    path("v1/chat/completions/<str:conversation>", chat.conversation_completions),
    path("v1/responses", create_response.responses),
    path("v1/responses/input_tokens", input_tokens.count_input_tokens),
    path("v1/responses/compact", compaction.create_compaction_once),
    path("v1/responses/<str:response_id>", stored_responses.StoredResponse.as_view()),
    path("v1/responses/<str:response_id>/cancel", stored_responses.CancelResponse.as_view()),
    path("v1/responses/<str:response_id>/input_items", stored_responses.InputItems.as_view()),
    path("v1/messages", create_message.messages),
    path("v1/messages/count_tokens", message_tokens.count_message_tokens),
    path("v1/completions", chat.completions),
    path("v1/embeddings", chat.embeddings),
    path("tokenize", tokenize_views.tokenize),
    path("v1/tokenize", tokenize_views.tokenize),
    path("detokenize", tokenize_views.detokenize),
    path("v1/detokenize", tokenize_views.detokenize),
    path("v1/images/generations", relayed.image_generations),
    path("v1/images/edits", relayed.image_edits),
    path("v1/images/variations", relayed.image_variations),
    path("v1/audio/speech", relayed.speech),
    path("v1/audio/transcriptions", relayed.transcriptions),
    path("v1/audio/translations", relayed.translations),
    path("v1/moderations", relayed.moderations),
    path("v1/rerank", relayed.rerank),
    path("v2/rerank", relayed.rerank),  # Cohere's address
    path("rerank", relayed.rerank),  # Jina's and vLLM's, where a base URL has no version
    path("v1/web_search", web_search.web_search),
    path("v1/usage", usage_view.Usage.as_view()),
    path("v1/requests/<str:request_id>", usage_view.OneRequest.as_view()),
    path("v1/key", key_status.show_key),
    path("v1/models", model_list.ModelList.as_view()),
    path("v1/models/<path:model>", model_list.ModelDetail.as_view()),
    path("v1/files", files.Files.as_view()),
    path("v1/files/upload", file_ingestion.FileUpload.as_view()),
    path("v1/files/ingest", file_ingestion.FileIngestion.as_view()),
    path("v1/uploads", uploads.Uploads.as_view()),
    path("v1/uploads/<str:upload_id>/parts", uploads.UploadParts.as_view()),
    path("v1/uploads/<str:upload_id>/complete", uploads.UploadComplete.as_view()),
    path("v1/uploads/<str:upload_id>/cancel", uploads.UploadCancel.as_view()),
    path("v1/files/<str:file_id>", files.File.as_view()),
    path("v1/files/<str:file_id>/status", file_ingestion.IngestionStatus.as_view()),
    path("v1/files/<str:file_id>/content", files.FileContent.as_view()),
    path("v1/batches", batches.Batches.as_view()),
    path("v1/batches/<str:batch_id>", batches.OneBatch.as_view()),
    path("v1/batches/<str:batch_id>/cancel", batches.CancelBatch.as_view()),
    path("v1/conversations", conversations.Conversations.as_view()),
    path("v1/conversations/search", conversation_search.ConversationSearch.as_view()),
    path("v1/conversations/export", conversation_search.ConversationsExport.as_view()),
    path(
        "v1/conversations/<str:conversation_id>/export",
        conversation_search.ConversationExport.as_view(),
    ),
    path("v1/conversations/<str:conversation_id>", conversations.OneConversation.as_view()),
    path("v1/conversations/<str:conversation_id>/items", conversations.ConversationItems.as_view()),
    path(
        "v1/conversations/<str:conversation_id>/items/<str:item_id>",
        conversations.OneConversationItem.as_view(),
    ),
    path("v1/sessions", sessions.Sessions.as_view()),
    path("v1/sessions/<path:session_id>", sessions.Session.as_view()),
    re_path(
        r"^v1(/.*)?$", csrf_exempt(health.answer_unknown_url), name=address_hints.UNKNOWN_URL_NAME
    ),
    path("", health.render_home_page, name="home"),
    path("favicon.ico", health.answer_favicon),
    path("api/docs/", openapi_views.show_docs, name="api-docs"),
    path("api/schema/", openapi_views.answer_schema, name="api-schema"),
    path("health", health.Health.as_view()),
    path("metrics", Metrics.as_view(), name="metrics"),
    path("healthz", health.answer_healthz),
    path("readyz", health.answer_readyz),
    path("i18n/", include("django.conf.urls.i18n")),
    path("playground/", include("api.playground.urls")),
    path("portal/", include("api.portal.portal_urls")),
    path("admin/", include(STAFF_URLS)),
    path("admin/", admin.site.urls),
]

if settings.SIGN_IN.is_enabled:
    urlpatterns.append(path("accounts/", include("proxysite.access.sign_in.sign_in_urls")))

LEAN_ROUTES = LeanRoutes(urlpatterns)


def handler404(request: HttpRequest, exception: Exception) -> HttpResponse:
    if error_pages.wants_page(request):
        return error_pages.render_not_found(request)
    error = address_hints.explain_unknown_address(str(request.method), request.path)
    return exceptions.render_error(error, exceptions.get_request_id(request))


def handler400(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, DisallowedHost):
        return host_names.answer_unknown_host(request)
    if error_pages.wants_page(request):
        return error_pages.render_bad_request(request)
    return exceptions.render_error(
        InvalidRequest("The request cannot be read."), exceptions.get_request_id(request)
    )


def handler403(request: HttpRequest, exception: Exception) -> HttpResponse:
    if error_pages.wants_page(request):
        return error_pages.render_forbidden(request)
    return exceptions.render_error(
        Forbidden("Your account may not do this."), exceptions.get_request_id(request)
    )


def handler500(request: HttpRequest) -> HttpResponse:
    if error_pages.wants_page(request):
        return error_pages.render_server_error(request)
    return exceptions.render_error(
        InternalError("Something went wrong here."), exceptions.get_request_id(request)
    )
