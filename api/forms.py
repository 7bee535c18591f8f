"""The form of API keys in the admin."""

from collections.abc import Callable, Iterable
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError

from api import keys
from api.one_time_forms import generate_form_number
from providers.protocol.json_types import JsonObject


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    # set by the admin: says if the form of this number has issued its key
    is_used: Callable[[str], bool]
    form_number = forms.CharField(
        required=False, max_length=64, widget=forms.HiddenInput, initial=generate_form_number
    )
    allowed_models = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="The key may use the ticked models; with none ticked it may use every model.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            del self.fields["form_number"]
        if "allowed_models" in self.fields:  # absent for users who may only view
            field = cast("forms.MultipleChoiceField", self.fields["allowed_models"])
            field.choices = self.list_model_choices()

    def list_model_choices(self) -> Iterable[tuple[str, str]]:
        """Return every allowable model, and those of the key that no longer exist."""
        names = keys.find_allowable_models().union(self.instance.allowed_models)
        return [(name, name) for name in sorted(names)]

    def clean_allowed_models(self) -> list[str]:
        return list(self.cleaned_data["allowed_models"])

    def clean(self) -> JsonObject:
        cleaned: JsonObject = super().clean() or self.cleaned_data
        problem = keys.find_default_model_problem(
            cleaned.get("default_model", ""), cleaned.get("allowed_models") or []
        )
        if problem and "default_model" in self.changed_data:
            self.add_error("default_model", problem)
        if "form_number" in self.fields and self.is_used(cleaned.get("form_number", "")):
            text = "This form has issued its key already, and a key is shown once: open a new form."
            self.add_error(None, ValidationError(text))
        return cleaned
