"""The admin of providers: who may change the address of credentials, and who confirms it."""

from contextlib import suppress
from typing import Any, cast

from django import forms
from django.conf import settings
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

from providers import registry
from providers.admin.big_tables import record_in_history, render_badge
from providers.admin.deletion_admin import SlicedDeletion
from providers.choices import Mode
from providers.dialects import PROFILES
from providers.models import ChatModel, Provider
from providers.network import destination
from providers.network.proxies import outbound_proxy

SUPERUSER_FIELDS = frozenset(("allow_private", "proxy_url"))
INLINE_MODELS = 50  # beyond it models have a page of their own: a form has a limit of fields
CHANGE_TOKENS_PERMISSION = "tokens.change_upstreamtoken"  # needed to decide where tokens are sent


def list_kind_choices() -> list[tuple[str, str]]:
    return [
        (kind, f"{registry.get_adapter_class(kind).label} – {kind}")
        for kind in registry.list_adapter_kinds()
    ]


class ProxyInput(forms.TextInput):
    """An input that never shows a password, not even after a mistake in another field."""

    def format_value(self, value: Any) -> str | None:
        """Return the proxy's URL without its password."""
        if not value:
            return None
        with suppress(ValueError):
            return outbound_proxy.split_password(value)[0]
        return None if "@" in value else str(value)


def list_dialect_choices() -> list[tuple[str, str]]:
    profiles = sorted(PROFILES.items(), key=lambda item: item[1].label.lower())
    named = [(name, f"{profile.label} – {name}") for name, profile in profiles]
    return [("", "found by its kind and address"), *named]


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg]
    """The form of a provider; anything that `user` (set by the admin) may not do is an error.

    The posted values are checked, whichever fields the page showed. `confirm_tokens` is ignored
    when the user may not change tokens.
    """

    user: User
    kind = forms.ChoiceField(
        choices=list_kind_choices,
        initial="openai_compatible",
        help_text="The dialect that it speaks.",
    )
    dialect = forms.ChoiceField(
        choices=list_dialect_choices,
        required=False,
        help_text="How it differs from OpenAI.",
    )
    confirm_tokens = forms.BooleanField(
        required=False,
        label="Its tokens may be sent there",
        help_text="Tick it when you change the address; without it the provider is set aside until "
        "somebody confirms.",
    )

    class Meta:
        labels = {"base_url": "Base URL"}
        widgets = {
            "base_url": forms.TextInput(attrs={"class": "vTextField"}),
            "proxy_url": ProxyInput(attrs={"class": "vTextField", "autocomplete": "off"}),
            "headers": forms.Textarea(attrs={"rows": 3, "cols": 60}),
            "dialect_changes": forms.Textarea(attrs={"rows": 2, "cols": 60}),
        }

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        present = self.instance
        address = destination.destination(cleaned.get("kind", ""), cleaned.get("base_url", ""))
        is_moved = address != present.destination
        if present.allow_private and is_moved and not self.user.is_superuser:
            text = "It may be on this machine or network: only a superuser may change its address."
            self.add_error("base_url", text)
        may_send_tokens = self.user.has_perm(CHANGE_TOKENS_PERMISSION)
        cleaned["confirm_tokens"] = may_send_tokens and bool(cleaned.get("confirm_tokens"))
        name = cleaned.get("name")
        gets_callers_tokens = bool(name) and name == settings.PASSTHROUGH_PROVIDER
        if gets_callers_tokens and name != present.name and not may_send_tokens:
            self.add_error(
                "name",
                "The provider of this name gets callers' tokens: you may not say which one it is.",
            )
        return cleaned


class ChatModelInline(admin.TabularInline):  # type: ignore[type-arg]
    model = ChatModel
    fields = ("public_id", "upstream_name", "enabled", "priority", "weight", "context_window")
    extra = 0
    show_change_link = True


@admin.register(Provider)
class ProviderAdmin(SlicedDeletion, admin.ModelAdmin):  # type: ignore[type-arg]
    form = ProviderForm
    list_display = ("name", "kind", "base_url", "state_badge", "mode_badge", "model_count")
    list_filter = ("enabled", "mode", "kind")
    search_fields = ("name", "base_url")
    fieldsets = (
        (None, {"fields": ("name", "kind", "base_url", "enabled")}),
        ("How it is called", {"fields": ("mode", "needs_token", "rotation")}),
        (
            "What it can do",
            {"fields": ("native_tools", "reports_usage", "dialect", "dialect_changes")},
        ),
        ("Network", {"fields": ("allow_private", "proxy_url", "headers")}),
        (
            "Time limits",
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
        if (
            obj is None
            or not cast(User, request.user).has_perm(CHANGE_TOKENS_PERMISSION)
            or not self.can_change(request, obj)
        ):
            return self.fieldsets
        (_, first), *others = self.fieldsets
        name, kind, base_url, enabled = first["fields"]
        return ((None, {"fields": (name, kind, base_url, "confirm_tokens", enabled)}), *others)

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
                form_class.base_fields[name].disabled = True
                form_class.base_fields[name].help_text += " Only a superuser may change this."
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
                '<a href="{}">confirm</a>',
                reverse("admin:providers_provider_confirm", args=[obj.pk]),
            )
            text = format_html(
                "{} Until then it is set aside and not called. {}", obj.set_aside_reason, link
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
            "title": "Where tokens are sent",
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
                request, "The address has changed since: look at it again.", messages.ERROR
            )
            return confirmation_page
        unchanged = Provider.objects.filter(
            pk=provider.pk, kind=provider.kind, base_url=provider.base_url
        )
        if not unchanged.update(confirmed_destination=provider.destination):
            return confirmation_page
        record_in_history(request, unchanged, f"Tokens may be sent to {provider.destination}.")
        self.message_user(request, f"The tokens of {provider} are in use again.", messages.SUCCESS)
        return HttpResponseRedirect(reverse("admin:index"))

    # --- columns ----------------------------------------------------------------------------------
    @admin.display(description="state", ordering="enabled")
    def state_badge(self, provider: Provider) -> SafeString:
        if not provider.enabled:
            return render_badge("off", "off")
        if not provider.set_aside_reason:
            return render_badge("good", "on")
        address = reverse("admin:providers_provider_confirm", args=[provider.pk])
        return format_html('{} <a href="{}">why</a>', render_badge("bad", "set aside"), address)

    @admin.display(description="mode", ordering="mode")
    def mode_badge(self, provider: Provider) -> SafeString:
        colour = "good"
        if provider.mode == Mode.GUEST:
            colour = "wait"
        return render_badge(colour, provider.mode)

    @admin.display(description="models", ordering="number_of_models")
    def model_count(self, provider: Any) -> int:
        return int(provider.number_of_models)
