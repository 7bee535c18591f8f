"""The admin of stored files: what there is and whose, never what stands in it."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from conversations.models import StoredFile
from providers.admin import BigTableAdmin, moment


@admin.register(StoredFile)
class StoredFileAdmin(BigTableAdmin):
    list_display = ("filename", "user", "purpose", "size", "status", "created")
    list_select_related = ("user",)
    list_filter = ("status", "purpose")
    sortable_by = ()
    search_fields = ("id",)
    search_help_text = "A whole id (file-…) or a user's name"
    fields = (
        "id",
        "filename",
        "user",
        "purpose",
        "content_type",
        "size",
        "sha256",
        "status",
        "reason",
        "created",
        "expires",
    )
    created = moment("created_at", "created")
    expires = moment("expires_at", "expires")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def found(self, queryset: QuerySet[Any], term: str) -> QuerySet[Any]:
        return queryset.filter(Q(pk=term) | Q(user__username=term))

    @admin.display(description="size", ordering="size_bytes")
    def size(self, file: StoredFile) -> str:
        return filesizeformat(file.size_bytes)
