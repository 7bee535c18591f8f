"""The form field for the end of an API key, which takes words."""

from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from api.key_rights.expiry_words import UnknownMoment, parse_expiry, render_expiry

HELP_TEXT = _(
    "For example: in 30 days, end of month, 2031-12-31 (the end of that day), 2031-12-31 18:00; "
    "empty: never."
)


class ExpiryField(forms.CharField):
    """A time in words; the value is an aware time, or None for never."""

    widget = forms.TextInput(attrs={"list": "expiry-words", "autocomplete": "off"})

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(required=False, max_length=60, help_text=HELP_TEXT, **kwargs)

    def prepare_value(self, value: Any) -> Any:
        """Return the text in the box: that of a time, or the text that a person has typed."""
        return render_expiry(value) if isinstance(value, datetime) else value

    def clean(self, value: Any) -> Any:
        try:
            return parse_expiry(super().clean(value) or "")
        except UnknownMoment as error:
            raise ValidationError(str(error)) from None

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Return whether another time was typed; times are compared as the page shows them."""
        before = render_expiry(initial) if isinstance(initial, datetime) else (initial or "")
        return str(data or "").strip() != before


class KeptExpiryField(ExpiryField):
    """The field on the page of a key: an end that has passed may stay as it is."""

    kept: datetime | None = None

    def clean(self, value: Any) -> Any:
        if self.kept is not None and not self.has_changed(self.kept, value):
            return self.kept
        return super().clean(value)
