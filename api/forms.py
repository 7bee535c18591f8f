"""The form of API keys in the admin."""

from collections.abc import Callable, Iterable
from typing import Any, cast

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from api import keys
from api.key_rights.expiry_field import KeptExpiryField
from api.key_rights.key_owner import find_new_user_problem
from api.keys import WILDCARD
from api.one_time_forms import generate_form_number
from providers.protocol.json_types import JsonObject


class LinesField(forms.CharField):
    """A list of texts, one in a line."""

    widget = forms.Textarea(attrs={"rows": 2, "cols": 40})

    def prepare_value(self, value: Any) -> Any:
        """Return the text in the box: that of a list, or the text that a person has typed."""
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """Return the lines without empty ones."""
        text = super().to_python(value) or ""
        return [line.strip() for line in text.splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(data) != (initial or []))


EVERY_MODEL = "all"
CHOSEN_MODELS = "chosen"
# fields of the form that are no columns of the row
EXTRA_FIELDS = frozenset(("model_patterns", "form_number", "model_choice", "new_user"))


class ModelListWidget(forms.CheckboxSelectMultiple):
    """Check boxes with a text box that filters them."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        boxes = super().render(name, value, attrs, renderer)
        context = {"boxes": boxes, "id": (attrs or {}).get("id", f"id_{name}")}
        return render_to_string("admin/api/apikey/model_list.html", context)


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    # set by the admin: says if the form of this number has issued its key
    is_used: Callable[[str], bool]
    form_number = forms.CharField(
        required=False, max_length=64, widget=forms.HiddenInput, initial=generate_form_number
    )
    new_user = forms.CharField(
        label=gettext_lazy("Or a new user"),
        required=False,
        max_length=150,
        help_text=gettext_lazy(
            "The name of a person or program that is not known yet, for example "
            "<code>june</code>. It can use the key and cannot log in."
        ),
    )
    model_choice = forms.ChoiceField(
        label=gettext_lazy("Models"),
        required=False,
        widget=forms.RadioSelect,
        choices=(
            (EVERY_MODEL, gettext_lazy("Every model, also those that are added later")),
            (CHOSEN_MODELS, gettext_lazy("Only these")),
        ),
    )
    allowed_models = forms.MultipleChoiceField(
        label=gettext_lazy("Allowed models"), required=False, widget=ModelListWidget
    )
    model_patterns = LinesField(
        label=gettext_lazy("Model patterns"),
        required=False,
        help_text=gettext_lazy(
            "More models, one pattern in a line: <code>*</code> stands for any characters, "
            "as in <code>gpt-5*</code>. Models that are added later count too."
        ),
    )
    expires_at = KeptExpiryField(label=gettext_lazy("Ends"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is not None:
            self.fields.pop("form_number", None)
            self.fields.pop("new_user", None)
        elif "new_user" in self.fields and "user" in self.fields:
            self.fields["user"].required = False
        if "expires_at" in self.fields:
            cast(KeptExpiryField, self.fields["expires_at"]).kept = self.instance.expires_at
        if "allowed_models" in self.fields:  # absent for users who may only view
            field = cast("forms.MultipleChoiceField", self.fields["allowed_models"])
            field.choices = self.list_model_choices()
            allowed = self.instance.allowed_models
            self.initial["allowed_models"] = [name for name in allowed if WILDCARD not in name]
            self.initial["model_patterns"] = [name for name in allowed if WILDCARD in name]
            self.initial["model_choice"] = CHOSEN_MODELS if allowed else EVERY_MODEL

    def list_model_choices(self) -> Iterable[tuple[str, str]]:
        """Return every allowable model, and those of the key that no longer exist."""
        names = keys.find_allowable_models().union(self.instance.allowed_models)
        return [(name, name) for name in sorted(names) if WILDCARD not in name]

    def clean_model_patterns(self) -> list[str]:
        """Return the patterns; those that the key has already stay, though their models went."""
        patterns: list[str] = self.cleaned_data["model_patterns"]
        if unknown := keys.find_unknown_models({*patterns} - {*self.instance.allowed_models}):
            raise ValidationError(_("No such model: %(names)s.") % {"names": ", ".join(unknown)})
        return patterns

    def clean_new_user(self) -> str:
        """Return the name of a user who can be made, or an empty text."""
        name: str = self.cleaned_data["new_user"].strip()
        if name and (problem := find_new_user_problem(name)):
            raise ValidationError(problem)
        return name

    def clean(self) -> JsonObject:
        cleaned: JsonObject = super().clean() or self.cleaned_data
        self.clean_owner(cleaned)
        if "allowed_models" in self.fields:
            cleaned["allowed_models"] = self.clean_models(cleaned)
        problem = keys.find_default_model_problem(
            cleaned.get("default_model", ""), cleaned.get("allowed_models") or []
        )
        if problem and {"default_model", "model_choice"} & set(self.changed_data):
            self.add_error("default_model", problem)
        if "form_number" in self.fields and self.is_used(cleaned.get("form_number", "")):
            text = _(
                "This form has issued its key already, and a key is shown once: open a new form."
            )
            self.add_error(None, ValidationError(text))
        return cleaned

    def clean_owner(self, cleaned: JsonObject) -> None:
        """Check that a new key has exactly one user."""
        if "new_user" not in self.fields or {"user", "new_user"} & set(self.errors):
            return
        if cleaned.get("user") and cleaned.get("new_user"):
            self.add_error("new_user", _("Choose a user, or name a new one; not both."))
        elif not cleaned.get("user") and not cleaned.get("new_user"):
            self.add_error("user", _("A user is required: choose one, or name a new one below."))
        elif cleaned.get("new_user"):
            # the row is checked with it, and it is written together with the key
            self.instance.user = User(username=cleaned["new_user"])

    def clean_models(self, cleaned: JsonObject) -> list[str]:
        """Return the models and patterns that the key may use; empty: every model."""
        models = [*(cleaned.get("allowed_models") or []), *(cleaned.get("model_patterns") or [])]
        choice = cleaned.get("model_choice")
        if choice == EVERY_MODEL:
            return []
        has_errors = {"allowed_models", "model_patterns"} & set(self.errors)
        if choice == CHOSEN_MODELS and not models and not has_errors:
            text = _("Tick at least one model or write a pattern; or choose every model.")
            self.add_error("model_choice", text)
        return models

    def list_changed_columns(self) -> list[str]:
        """Return the columns of the row whose values were changed."""
        changed = set(self.changed_data)
        if changed & {"model_patterns", "model_choice"}:
            changed.add("allowed_models")
        return sorted(changed - EXTRA_FIELDS)
