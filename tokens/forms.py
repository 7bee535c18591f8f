"""The admin forms through which secrets come in.

Secrets are written only and never rendered, not even after a mistake in another field.
"""

from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext_lazy as _

from providers import registry, vault
from providers.models import Provider
from tokens.imports import credential_kinds, token_import
from tokens.models import Kind, State, UpstreamToken


class TokenForm(forms.ModelForm):  # type: ignore[type-arg]
    """The form of a token."""

    secret = forms.CharField(
        label=_("Token"),
        widget=forms.PasswordInput(
            render_value=False, attrs={"autocomplete": "new-password", "class": "vTextField"}
        ),
        max_length=token_import.MAX_TOKEN_LENGTH,
        help_text=_("Paste it here; it is sealed and never shown again. For many, import a file."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.fingerprint and "secret" in self.fields:
            field = self.fields["secret"]
            field.label = _("New token")
            field.required = False
            field.help_text = _(
                "Takes the place of the present one, as a fresh token; empty: keep it."
            )

    def clean_secret(self) -> str:
        secret: str = self.cleaned_data["secret"]
        problem = ""
        if secret:
            problem = token_import.find_token_problem(secret)
        if problem.startswith(("longer", "too")):
            raise ValidationError(_("It is %(problem)s."), params={"problem": problem})
        if problem:
            raise ValidationError(
                _("This is no token: it %(problem)s."), params={"problem": problem}
            )
        return secret

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        secret = cleaned.get("secret")
        provider = cleaned.get("provider") or getattr(self.instance, "provider", None)
        if secret and provider:
            self._refuse_known_secret(provider, secret)
        return cleaned

    def _refuse_known_secret(self, provider: Provider, secret: str) -> None:
        same_secret = UpstreamToken.objects.filter(
            provider=provider, fingerprint=vault.fingerprint_secret(secret)
        )
        if same_secret.exclude(pk=self.instance.pk).exists():
            mask = vault.mask_secret(secret)
            text = _("%(provider)s has this token already: %(token)s.")
            self.add_error("secret", text % {"provider": provider, "token": mask})


def replace_secret(token: UpstreamToken, secret: str, *, has_chosen_expiry: bool) -> None:
    """Give the row a new secret, as an import would, without saving it.

    Its kind, and its expiry unless a person set one (`has_chosen_expiry`), are read from the
    secret.
    """
    kind, expires_at = credential_kinds.recognize_credential(
        secret, registry.get_adapter_class(token.provider.kind)
    )
    token.seal_secret(secret)
    token.kind = kind
    token.sealed_refresh = ""
    token.state = State.ACTIVE
    token.strikes = 0
    token.rests_until = None
    token.reason = ""
    token.cause = ""
    if kind == Kind.REFRESH:
        token.turn_into_refresh_token()
    if not has_chosen_expiry:
        token.expires_at = expires_at


class AccountForm(forms.ModelForm):  # type: ignore[type-arg]
    """The form of an account."""

    password = forms.CharField(
        widget=forms.PasswordInput(
            render_value=False, attrs={"autocomplete": "new-password", "class": "vTextField"}
        ),
        max_length=token_import.MAX_TOKEN_LENGTH,
        strip=False,
        help_text=_("Of the account at the upstream; it is sealed and never shown again."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.sealed and "password" in self.fields:
            field = self.fields["password"]
            field.label = _("New password")
            field.required = False
            field.help_text = _("Empty: keep the present one.")
        if "provider" in self.fields:
            kinds = [
                kind
                for kind in registry.list_adapter_kinds()
                if registry.get_adapter_class(kind).can_sign_in
            ]
            provider_field = cast("forms.ModelChoiceField[Provider]", self.fields["provider"])
            provider_field.queryset = Provider.objects.filter(kind__in=kinds)
            provider_field.help_text = _("Those where accounts sign in.")

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"].lower()
        validate_email(email)
        return email
