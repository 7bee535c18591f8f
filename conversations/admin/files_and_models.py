"""The admin of stored files, without their content, and of virtual models."""

from typing import Any, cast

import msgspec
from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext_lazy as _

from conversations import strategies
from conversations.models import StoredFile
from conversations.profiles import profile_reader
from providers.admin.big_tables import BigTableAdmin, make_time_column
from providers.models import ChatModel, VirtualModel

EMPTY_CHOICE = ("", "---------")


@admin.register(StoredFile)
class StoredFileAdmin(BigTableAdmin):
    list_display = ("filename", "user", "purpose", "size", "status", "created")
    list_select_related = ("user",)
    list_filter = ("status", "purpose")
    sortable_by = ()
    search_fields = ("id",)
    search_help_text = _("A whole id (file-…) or a user's name")
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
    created = make_time_column("created_at", _("created"))
    expires = make_time_column("expires_at", _("expires"))

    def get_history_name(self, row: StoredFile) -> str:
        return str(row.pk)  # the admin's log outlives the files, so it has no filenames

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: StoredFile | None = None) -> bool:
        return False

    def find_rows(self, queryset: QuerySet[StoredFile], term: str) -> QuerySet[StoredFile]:
        return queryset.filter(Q(pk=term) | Q(user__username=term))

    @admin.display(description=_("size"), ordering="size_bytes")
    def size(self, file: StoredFile) -> str:
        return filesizeformat(file.size_bytes)


class VirtualModelForm(forms.ModelForm):  # type: ignore[type-arg]
    strategy = forms.ChoiceField(
        label=_("strategy"), help_text=_("How an answer is produced, for example stepwise.")
    )
    base = forms.ChoiceField(
        label=_("base"), help_text=_("The model that its upstream calls go to.")
    )

    class Meta:
        widgets = {"options": forms.Textarea(attrs={"rows": 6, "cols": 60})}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        options_type = profile_reader.OPTIONS_BY_STRATEGY.get(cleaned.get("strategy", ""))
        if options_type is not None and "options" in cleaned:
            try:
                msgspec.convert(cleaned["options"], options_type)
            except msgspec.ValidationError as error:
                self.add_error("options", f"{error}.")
        return cleaned

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = {
            "strategy": strategies.list_strategies(),
            "base": ChatModel.objects.all().list_public_ids(),
        }
        for name, values in choices.items():
            if name in self.fields:  # absent for users who may only view
                names = sorted({*values, getattr(self.instance, name)} - {""})
                field = cast("forms.ChoiceField", self.fields[name])
                field.choices = [EMPTY_CHOICE, *zip(names, names, strict=True)]


@admin.register(VirtualModel)
class VirtualModelAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = VirtualModelForm
    list_display = ("public_id", "base", "strategy", "enabled")
    list_filter = ("strategy", "enabled")
    search_fields = ("public_id", "base")
