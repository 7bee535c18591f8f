"""The forms of an import and of an export of tokens. Secrets are never rendered again."""

from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from providers.models import Provider
from tokens.exports.encrypted_bundle import MIN_PASSPHRASE_CHARS, BundleError
from tokens.exports.token_export import EXPORT_FORMS
from tokens.imports.import_text import ImportRefused, read_upload
from tokens.imports.text_decoding import UnreadableFile

MAX_PASSPHRASE_CHARS = 1_000


def make_passphrase_field(label: Any, **options: Any) -> forms.CharField:
    """Return a field for a passphrase that is never rendered again."""
    widget = forms.PasswordInput(render_value=False, attrs={"autocomplete": "new-password"})
    return forms.CharField(
        label=label,
        widget=widget,
        required=False,
        strip=False,
        max_length=MAX_PASSPHRASE_CHARS,
        **options,
    )


def find_default_provider(provider_id: str) -> Provider | None:
    """Return the provider of this id, or the only one that asks for tokens; None for neither."""
    if provider_id.isascii() and provider_id.isdecimal() and len(provider_id) < 19:
        return Provider.objects.filter(pk=int(provider_id)).first()
    rows = list(Provider.objects.filter(needs_token=True)[:2])
    return rows[0] if len(rows) == 1 else None


class ImportForm(forms.Form):
    """The provider, and a file or a pasted text."""

    provider = forms.ModelChoiceField(
        Provider.objects.order_by("name"), label=gettext_lazy("Provider")
    )
    file = forms.FileField(label=gettext_lazy("A file"), required=False, allow_empty_file=True)
    text = forms.CharField(
        label=gettext_lazy("Or paste it here"), widget=forms.Textarea, required=False, strip=False
    )
    passphrase = make_passphrase_field(gettext_lazy("Passphrase of an encrypted export"))
    anyway = forms.BooleanField(
        label=gettext_lazy("Also into a provider that asks for no token"), required=False
    )

    lines: list[str]  # of the file or the text
    source: str  # the name of the file

    @property
    def providers_with_tokens(self) -> list[Provider]:
        return list(Provider.objects.filter(needs_token=True).order_by("name"))

    @property
    def providers_without_tokens(self) -> list[Provider]:
        return list(Provider.objects.filter(needs_token=False).order_by("name"))

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        provider = cleaned.get("provider")
        if provider is not None and not provider.needs_token and not cleaned.get("anyway"):
            text = _("%(provider)s asks for no token. Choose another one, or tick the box below.")
            self.add_error("provider", text % {"provider": provider})
        upload = cleaned.get("file")
        text = cleaned.get("text", "")
        if upload and text.strip():
            raise ValidationError(_("Give a file or a pasted text, not both."))
        if not upload and not text.strip():
            raise ValidationError(_("Choose a file, or paste tokens."))
        self._read(upload, text)
        return cleaned

    def _read(self, upload: "UploadedFile[bytes] | None", text: str) -> None:
        """Read the lines of the file or the text. Raises ValidationError."""
        data = text.encode("utf-8", "replace")
        self.source = ""
        if upload:
            data = upload.read(settings.IMPORT_BYTES + 1)
            self.source = upload.name or ""
        try:
            self.lines = read_upload(data, self.cleaned_data.get("passphrase", ""))
        except (ImportRefused, BundleError, UnreadableFile) as error:
            raise ValidationError(str(error)) from None


class ExportForm(forms.Form):
    """The form of the export, and a passphrase if it is encrypted."""

    form = forms.ChoiceField(
        choices=[(name, form.label) for name, form in EXPORT_FORMS.items()], initial="bundle"
    )
    passphrase = make_passphrase_field(gettext_lazy("Passphrase"))
    repeated = make_passphrase_field(gettext_lazy("The same passphrase again"))

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("form") != "bundle":
            return cleaned
        passphrase = cleaned.get("passphrase", "")
        if len(passphrase) < MIN_PASSPHRASE_CHARS:
            text = _("It needs at least %(count)d characters.") % {"count": MIN_PASSPHRASE_CHARS}
            self.add_error("passphrase", text)
        elif passphrase != cleaned.get("repeated"):
            self.add_error("repeated", _("The two passphrases differ."))
        return cleaned
