"""The admin of providers: who may change the address of credentials, and who confirms it."""

from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import InlineModelAdmin
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from providers.admin.big_tables import NO_VALUE, record_in_history, render_badge
from providers.admin.deletion_admin import SlicedDeletion
from providers.admin.page_sections import PROVIDER_PAGE, Button, PageWithParts, SubPage
from providers.admin.provider_form import (
    CHANGE_TOKENS_PERMISSION,
    SUPERUSER_FIELDS,
    ProviderForm,
)
from providers.admin.provider_presets import PresetPage
from providers.admin.provider_switch import switch_provider
from providers.choices import Mode
from providers.models import ChatModel, Provider
from providers.network import destination

INLINE_MODELS = 50  # beyond it models have a page of their own: a form has a limit of fields


class ModelRowForm(forms.ModelForm):  # type: ignore[type-arg]
    """A model's line on the page of its provider; each input names itself for screen readers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget.attrs.setdefault("aria-label", str(field.label))


class ChatModelInline(admin.TabularInline):  # type: ignore[type-arg]
    model = ChatModel
    form = ModelRowForm
    fields = ("public_id", "upstream_name", "enabled", "priority", "weight", "context_window")
    extra = 0
    show_change_link = True


@admin.register(Provider)
class ProviderAdmin(
    PresetPage,
    PageWithParts,
    SlicedDeletion,
    admin.ModelAdmin,  # type: ignore[type-arg]
):
    form = ProviderForm
    page_parts = PROVIDER_PAGE
    list_display = ("name", "kind", "base_url", "state_badge", "mode_badge", "model_count")
    list_filter = ("enabled", "mode", "kind")
    search_fields = ("name", "base_url")
    fieldsets = (
        (None, {"fields": ("name", "kind", "base_url", "enabled")}),
        (gettext_lazy("How it is called"), {"fields": ("mode", "needs_token", "rotation")}),
        (
            gettext_lazy("What it can do"),
            {"fields": ("native_tools", "reports_usage", "dialect", "dialect_changes")},
        ),
        (gettext_lazy("Network"), {"fields": ("allow_private", "proxy_url", "headers")}),
        (
            gettext_lazy("Time limits"),
            {
                "fields": (
                    ("connect_seconds", "first_byte_seconds"),
                    ("gap_seconds", "total_seconds"),
                ),
                "classes": ("collapse",),
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Return the providers, each with `number_of_models`."""
        rows: QuerySet[Any] = (
            super().get_queryset(request).annotate(number_of_models=Count("models"))
        )
        return rows

    def get_inlines(
        self, request: HttpRequest, obj: Provider | None
    ) -> list[type[InlineModelAdmin]]:  # type: ignore[type-arg]
        has_few_models = obj is None or obj.models.count() <= INLINE_MODELS
        if has_few_models and request.user.is_superuser:
            return [ChatModelInline]
        return []

    # --- the form ---------------------------------------------------------------------------------
    def get_fieldsets(self, request: HttpRequest, obj: Provider | None = None) -> Any:
        """Return the fields; who changes nothing does not see what headers say, which may be keys.

        A change of the address needs a box to confirm it, for those who may change tokens.
        """
        if obj is not None and not self.can_change(request, obj):
            return [(title, hide_headers(options)) for title, options in self.fieldsets]
        if obj is None or not cast(User, request.user).has_perm(CHANGE_TOKENS_PERMISSION):
            return self.fieldsets
        (_, first), *others = self.fieldsets
        name, kind, base_url, enabled = first["fields"]
        return ((None, {"fields": (name, kind, base_url, "confirm_tokens", enabled)}), *others)

    def get_readonly_fields(self, request: HttpRequest, obj: Provider | None = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        is_viewed = obj is not None and not self.can_change(request, obj)
        return (*fields, "header_names") if is_viewed else fields

    @admin.display(description=gettext_lazy("headers"))
    def header_names(self, provider: Provider) -> str:
        return ", ".join(provider.headers) or NO_VALUE

    def can_change(self, request: HttpRequest, obj: Provider) -> bool:
        return self.has_change_permission(request, obj)

    def get_form(
        self,
        request: HttpRequest,
        obj: Provider | None = None,
        change: bool = False,
        **kwargs: Any,
    ) -> type[forms.ModelForm]:  # type: ignore[type-arg]
        """Return the form class with the user who fills it in.

        `allow_private` and the proxy open the gateway's own network, so only superusers may change
        them.
        """
        form_class = super().get_form(request, obj, change, **kwargs)
        if not request.user.is_superuser:
            for name in SUPERUSER_FIELDS & form_class.base_fields.keys():
                field = form_class.base_fields[name]
                field.disabled = True
                field.help_text = f"{field.help_text} {_('Only a superuser may change this.')}"
        form_class.user = cast(User, request.user)  # type: ignore[attr-defined]
        return form_class

    def save_model(
        self, request: HttpRequest, obj: Provider, form: ProviderForm, change: bool
    ) -> None:
        if form.cleaned_data.get("confirm_tokens") and obj.set_aside_reason:
            obj.confirm_destination()
            record_in_history(
                request,
                Provider.objects.filter(pk=obj.pk),
                f"Tokens may be sent to {obj.confirmed_destination}.",
            )
        super().save_model(request, obj, form, change)
        if obj.set_aside_reason:
            link = format_html(
                '<a href="{}">{}</a>',
                reverse("admin:providers_provider_confirm", args=[obj.pk]),
                _("confirm"),
            )
            text = format_html(
                "{} {} {}",
                obj.set_aside_reason,
                _("Until then it is set aside and not called."),
                link,
            )
            self.message_user(request, text, messages.WARNING)

    # --- confirm an address -----------------------------------------------------------------------
    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(self.confirm_address)
        return [
            path("<int:provider_id>/confirm/", view, name="providers_provider_confirm"),
            *super().get_urls(),
        ]

    def confirm_address(self, request: HttpRequest, provider_id: int) -> HttpResponse:
        """Ask whether tokens may be sent to the provider's new address; a POST confirms it."""
        if not cast(User, request.user).has_perm(CHANGE_TOKENS_PERMISSION):
            raise PermissionDenied
        provider = get_object_or_404(Provider, pk=provider_id)
        if request.method == "POST" and provider.set_aside_reason:
            return self.save_confirmation(request, provider)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Where tokens are sent"),
            "opts": self.opts,
            "provider": provider,
            "before": destination.render_origin(provider.confirmed_destination),
            "now": destination.render_origin(provider.destination),
        }
        return TemplateResponse(request, "admin/providers/provider/confirm.html", context)

    def save_confirmation(self, request: HttpRequest, provider: Provider) -> HttpResponse:
        """Save the confirmation of the address that the user saw; ask again if it changed."""
        confirmation_page = HttpResponseRedirect(
            reverse("admin:providers_provider_confirm", args=[provider.pk])
        )
        if request.POST.get("destination") != provider.destination:
            self.message_user(
                request, _("The address has changed since: look at it again."), messages.ERROR
            )
            return confirmation_page
        unchanged = Provider.objects.filter(
            pk=provider.pk, kind=provider.kind, base_url=provider.base_url
        )
        if not unchanged.update(confirmed_destination=provider.destination):
            return confirmation_page
        record_in_history(request, unchanged, f"Tokens may be sent to {provider.destination}.")
        text = _("The tokens of %(provider)s are in use again.") % {"provider": provider}
        self.message_user(request, text, messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:providers_provider_change", args=[provider.pk]))

    # --- columns ----------------------------------------------------------------------------------
    @admin.display(description=gettext_lazy("state"), ordering="enabled")
    def state_badge(self, provider: Provider) -> SafeString:
        if not provider.enabled:
            return render_badge("off", _("off"))
        if not provider.set_aside_reason:
            return render_badge("good", _("on"))
        address = reverse("admin:providers_provider_confirm", args=[provider.pk])
        badge = render_badge("bad", _("set aside"))
        return format_html('{} <a href="{}">{}</a>', badge, address, _("why"))

    @admin.display(description=gettext_lazy("mode"), ordering="mode")
    def mode_badge(self, provider: Provider) -> SafeString:
        colour = "good"
        if provider.mode == Mode.GUEST:
            colour = "wait"
        return render_badge(colour, provider.get_mode_display().partition(":")[0])

    @admin.display(description=gettext_lazy("models"), ordering="number_of_models")
    def model_count(self, provider: Any) -> int:
        return int(provider.number_of_models)


PROVIDER_PAGE.register_parts(
    SubPage("switch", switch_provider),
    Button(
        gettext_lazy("Pause"),
        "admin:providers_provider_switch",
        order=80,
        permission="providers.change_provider",
        is_post=True,
        is_shown=lambda provider: provider.enabled,
        values=lambda provider: {"enabled": 0},
        help_text=gettext_lazy("None of its models answers until you enable it again."),
    ),
    Button(
        gettext_lazy("Enable"),
        "admin:providers_provider_switch",
        order=5,
        permission="providers.change_provider",
        is_post=True,
        style="button-primary",
        is_shown=lambda provider: not provider.enabled,
        values=lambda provider: {"enabled": 1},
    ),
)


def hide_headers(options: Any) -> dict[str, Any]:
    """Return the options of a group of fields with the names of the headers in place of them."""
    names = ("header_names" if name == "headers" else name for name in options["fields"])
    return {**options, "fields": tuple(names)}
