"""The form of API keys in the admin."""

from collections.abc import Callable, Iterable
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError

from api import keys
from api.keys import WILDCARD
from api.one_time_forms import generate_form_number
from providers.protocol.json_types import JsonObject


class LinesField(forms.CharField):
    """A list of texts, one in a line."""

    widget = forms.Textarea(attrs={"rows": 2, "cols": 40})

    def prepare_value(self, value: Any) -> Any:
        """Return the text in the box: that of a list, or what a person has typed."""
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """Return the lines without empty ones."""
        text = super().to_python(value) or ""
        return [line.strip() for line in text.splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(data) != (initial or []))


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    # set by the admin: says if the form of this number has issued its key
    is_used: Callable[[str], bool]
    form_number = forms.CharField(
        required=False, max_length=64, widget=forms.HiddenInput, initial=generate_form_number
    )
    allowed_models = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="The key may use the ticked models; with none ticked, and no pattern below, it "
        "may use every model.",
    )
    model_patterns = LinesField(
        required=False,
        help_text="More models, one pattern in a line: <code>*</code> stands for any characters, "
        "as in <code>gpt-5*</code>. Models that are added later count too.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            del self.fields["form_number"]
        if "allowed_models" in self.fields:  # absent for users who may only view
            field = cast("forms.MultipleChoiceField", self.fields["allowed_models"])
            field.choices = self.list_model_choices()
            allowed = self.instance.allowed_models
            self.initial["allowed_models"] = [name for name in allowed if WILDCARD not in name]
            self.initial["model_patterns"] = [name for name in allowed if WILDCARD in name]

    def list_model_choices(self) -> Iterable[tuple[str, str]]:
        """Return every allowable model, and those of the key that no longer exist."""
        names = keys.find_allowable_models().union(self.instance.allowed_models)
        return [(name, name) for name in sorted(names) if WILDCARD not in name]

    def clean_model_patterns(self) -> list[str]:
        """Return the patterns; those that the key has already stay, though their models went."""
        patterns: list[str] = self.cleaned_data["model_patterns"]
        if unknown := keys.find_unknown_models({*patterns} - {*self.instance.allowed_models}):
            raise ValidationError(f"No such model: {', '.join(unknown)}.")
        return patterns

    def clean(self) -> JsonObject:
        cleaned: JsonObject = super().clean() or self.cleaned_data
        if "allowed_models" in self.fields:
            ticked = cleaned.get("allowed_models") or []
            cleaned["allowed_models"] = [*ticked, *(cleaned.get("model_patterns") or [])]
        problem = keys.find_default_model_problem(
            cleaned.get("default_model", ""), cleaned.get("allowed_models") or []
        )
        if problem and "default_model" in self.changed_data:
            self.add_error("default_model", problem)
        if "form_number" in self.fields and self.is_used(cleaned.get("form_number", "")):
            text = "This form has issued its key already, and a key is shown once: open a new form."
            self.add_error(None, ValidationError(text))
        return cleaned

    def list_changed_columns(self) -> list[str]:
        """Return the columns of the row whose values were changed."""
        changed = set(self.changed_data)
        if "model_patterns" in changed:
            changed.add("allowed_models")
        return sorted(changed - {"model_patterns", "form_number"})
