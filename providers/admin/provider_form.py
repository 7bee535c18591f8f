"""The form of a provider: the right to change the address of credentials, and checks of fields."""

from contextlib import suppress
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from providers import registry
from providers.dialects import PROFILES
from providers.network import destination
from providers.network.proxies import outbound_proxy

SUPERUSER_FIELDS = frozenset(("allow_private", "proxy_url"))
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
    return [("", _("found by its kind and address")), *named]


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg]
    """The form of a provider; anything that `user` (set by the admin) may not do is an error.

    The posted values are checked, whichever fields the page showed. `confirm_tokens` is ignored
    when the user may not change tokens.
    """

    user: User
    kind = forms.ChoiceField(
        label=gettext_lazy("kind"),
        choices=list_kind_choices,
        initial="openai_compatible",
        help_text=gettext_lazy("The dialect that it speaks."),
    )
    dialect = forms.ChoiceField(
        label=gettext_lazy("dialect"),
        choices=list_dialect_choices,
        required=False,
        help_text=gettext_lazy("How it differs from OpenAI."),
    )
    confirm_tokens = forms.BooleanField(
        required=False,
        label=gettext_lazy("Its tokens may be sent there"),
        help_text=gettext_lazy(
            "Tick it when you change the address; without it the provider is set aside until "
            "somebody confirms."
        ),
    )

    class Meta:
        labels = {"base_url": gettext_lazy("Base URL")}
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
            text = _(
                "It may be on this machine or network: only a superuser may change its address."
            )
            self.add_error("base_url", text)
        may_send_tokens = self.user.has_perm(CHANGE_TOKENS_PERMISSION)
        cleaned["confirm_tokens"] = may_send_tokens and bool(cleaned.get("confirm_tokens"))
        name = cleaned.get("name")
        gets_callers_tokens = bool(name) and name == settings.PASSTHROUGH_PROVIDER
        if gets_callers_tokens and name != present.name and not may_send_tokens:
            self.add_error(
                "name",
                _(
                    "The provider of this name gets callers' tokens: you may not say which one "
                    "it is."
                ),
            )
        return cleaned
