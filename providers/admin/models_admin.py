"""The admin of models and aliases; that of providers is in `provider_admin.py`.

`Revision` is not registered: database triggers write its counters, and a manual edit would make
processes miss a change.
"""

from collections.abc import Iterable
from typing import Any, cast

from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from providers.admin import provider_admin  # noqa: F401 - it registers providers
from providers.admin.big_tables import NO_VALUE
from providers.admin.page_sections import MODEL_PAGE, PageWithParts
from providers.choices import NO_SERVER_TOOLS, Capability, ServerTool
from providers.models import ChatModel, ModelAlias

admin.site.site_url = None  # the site's root is JSON for programs, so no link leads there


# --- models ---------------------------------------------------------------------------------------
class ChatModelForm(forms.ModelForm):  # type: ignore[type-arg]
    capabilities = forms.MultipleChoiceField(
        label=gettext_lazy("capabilities"),
        choices=Capability.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy(
            "Tick what the model can do. If nothing is ticked, the upstream decides."
        ),
    )

    server_tools = forms.MultipleChoiceField(
        label=gettext_lazy("tools of the gateway"),
        choices=[*ServerTool.choices, (NO_SERVER_TOOLS, gettext_lazy("none of them"))],
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy(
            "Tools that the gateway runs for this model. If nothing is ticked, those of the "
            "setting SERVER_TOOLS."
        ),
    )

    class Meta:
        widgets = {"options": forms.Textarea(attrs={"rows": 3, "cols": 60})}

    def clean_capabilities(self) -> list[str]:
        return list(self.cleaned_data["capabilities"])

    def clean_server_tools(self) -> list[str]:
        return list(self.cleaned_data["server_tools"])


@admin.register(ChatModel)
class ChatModelAdmin(PageWithParts, admin.ModelAdmin):  # type: ignore[type-arg]
    form = ChatModelForm
    page_parts = MODEL_PAGE
    list_display = (
        "public_id",
        "copy_button",
        "provider_and_name",
        "enabled",
        "priority",
        "window",
        "capability_names",
    )
    list_select_related = ("provider",)
    list_filter = ("enabled", "provider", "thinking", "search")
    search_fields = ("public_id", "upstream_name")
    show_full_result_count = False
    fieldsets = (
        (None, {"fields": ("public_id", "provider", "upstream_name", "enabled")}),
        (
            gettext_lazy("Among models of one public id"),
            {
                "fields": ("priority", "weight"),
                "description": gettext_lazy("Several providers may answer for one public id."),
            },
        ),
        (
            gettext_lazy("What it can do"),
            {
                "fields": (
                    "capabilities",
                    "context_window",
                    "max_output_tokens",
                    "long_prompts",
                )
            },
        ),
        (
            gettext_lazy("Thinking and search"),
            {"fields": ("thinking_format", "thinking", "search", "server_tools")},
        ),
        (gettext_lazy("For its adapter"), {"fields": ("options",), "classes": ("collapse",)}),
    )

    @admin.display(description=gettext_lazy("capabilities"))
    def capability_names(self, model: ChatModel) -> str:
        return ", ".join(model.known_capabilities) or _("not checked")

    @admin.display(description=gettext_lazy("context"), ordering="context_window")
    def window(self, model: ChatModel) -> str:
        """Return the context window in tokens."""
        if model.context_window is None:
            return NO_VALUE
        return f"{model.context_window:,}"

    @admin.display(description=gettext_lazy("provider"), ordering="provider__name")
    def provider_and_name(self, model: ChatModel) -> SafeString | str:
        """Return the provider and, if it differs from the public id, its name of the model."""
        if model.upstream_name == model.public_id:
            return str(model.provider)
        return format_html(
            '{}<span class="quiet below">{}</span>', model.provider, model.upstream_name
        )

    @admin.display(description=gettext_lazy("copy"))
    def copy_button(self, model: ChatModel) -> SafeString:
        """Return a button that copies the public id."""
        return format_html(
            '<span class="visually-hidden" id="model-{}">{}</span>'
            '<button type="button" class="button button-small button-quiet" data-copy="#model-{}"'
            ' aria-label="{}">{}</button>',
            model.pk,
            model.public_id,
            model.pk,
            _("Copy %(name)s") % {"name": model.public_id},
            _("Copy"),
        )


class ModelAliasForm(forms.ModelForm):  # type: ignore[type-arg]
    public_id = forms.ChoiceField(
        label=gettext_lazy("Public id"), help_text=gettext_lazy("The model meant.")
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "public_id" in self.fields:  # absent for users who may only view
            field = cast("forms.ChoiceField", self.fields["public_id"])
            field.choices = self.list_public_id_choices()

    def list_public_id_choices(self) -> Iterable[tuple[str, str]]:
        """Return every public id, and the alias's present one even when no model has it now."""
        names = {*ChatModel.objects.all().list_public_ids(), self.instance.public_id} - {""}
        return [("", "---------"), *((name, name) for name in sorted(names))]

    def clean_alias(self) -> str:
        alias: str = self.cleaned_data["alias"]
        if ChatModel.objects.filter(public_id=alias).exists():
            raise ValidationError(_("There is a model of this name, which would be found first."))
        return alias


@admin.register(ModelAlias)
class ModelAliasAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = ModelAliasForm
    fieldsets = (
        (None, {"fields": ("alias", "public_id")}),
        (gettext_lazy("What it changes"), {"fields": ("thinking", "search")}),
    )
    list_display = ("alias", "public_id", "thinking", "search", "has_model")
    search_fields = ("alias", "public_id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ModelAlias]:
        """Return the aliases, each with `is_served`: whether a model answers for it."""
        served = ChatModel.objects.filter_served().filter(public_id=OuterRef("public_id"))
        rows: QuerySet[ModelAlias] = super().get_queryset(request)
        return rows.annotate(is_served=Exists(served))

    @admin.display(boolean=True, description=gettext_lazy("model there"))
    def has_model(self, alias: Any) -> bool:
        return bool(alias.is_served)
