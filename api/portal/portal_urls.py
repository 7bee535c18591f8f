"""The addresses of the portal."""

from django.urls import path

from api.portal.guides import guide_pages
from api.portal.own_content import conversation_pages, file_pages
from api.portal.own_keys import key_pages
from api.portal.own_usage import request_pages, usage_pages
from api.portal.signing_in import joining, login_pages, password_reset

urlpatterns = [
    path("", usage_pages.show_home, name="portal-home"),
    path("login/", login_pages.log_in, name="portal-login"),
    path("logout/", login_pages.log_out, name="portal-logout"),
    path("account/", login_pages.show_account, name="portal-account"),
    path("password/", login_pages.change_password, name="portal-password"),
    path("password/reset/", password_reset.ask_for_reset, name="portal-password-reset"),
    path(
        "password/reset/<str:uidb64>/<str:token>/",
        password_reset.set_new_password,
        name="password_reset_confirm",
    ),
    path("join/<str:token>/", joining.join, name="portal-join"),
    path("sign-up/", joining.sign_up, name="portal-sign-up"),
    path("keys/", key_pages.list_keys, name="portal-keys"),
    path("keys/new/", key_pages.issue_key, name="portal-key-new"),
    path("keys/<int:key_id>/", key_pages.show_key, name="portal-key"),
    path("keys/<int:key_id>/rotate/", key_pages.rotate_key, name="portal-key-rotate"),
    path("keys/<int:key_id>/revoke/", key_pages.revoke_key, name="portal-key-revoke"),
    path("usage/", usage_pages.show_usage, name="portal-usage"),
    path("requests/", request_pages.list_requests, name="portal-requests"),
    path("requests.csv", request_pages.export_requests, name="portal-requests-csv"),
    path("requests/<str:request_id>/", request_pages.show_request, name="portal-request"),
    path("conversations/", conversation_pages.list_conversations, name="portal-conversations"),
    path(
        "conversations/export/",
        conversation_pages.export_conversations,
        name="portal-conversations-export",
    ),
    path(
        "conversations/delete/",
        conversation_pages.delete_conversations,
        name="portal-conversations-delete",
    ),
    path(
        "conversations/<str:conversation_id>/",
        conversation_pages.show_conversation,
        name="portal-conversation",
    ),
    path(
        "conversations/<str:conversation_id>/export/",
        conversation_pages.export_conversation,
        name="portal-conversation-export",
    ),
    path(
        "conversations/<str:conversation_id>/delete/",
        conversation_pages.delete_conversation,
        name="portal-conversation-delete",
    ),
    path("files/", file_pages.list_files, name="portal-files"),
    path("files/delete/", file_pages.delete_files, name="portal-files-delete"),
    path("files/<str:file_id>/", file_pages.download_file, name="portal-file"),
    path("files/<str:file_id>/delete/", file_pages.delete_file, name="portal-file-delete"),
    path("models/", guide_pages.list_models, name="portal-models"),
    path("clients/", guide_pages.show_clients, name="portal-clients"),
]
