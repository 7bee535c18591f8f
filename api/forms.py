"""The form of API keys in the admin."""

from collections.abc import Iterable
from typing import Any

from django import forms

from providers.models import ChatModel, ModelAlias, VirtualModel


class ApiKeyForm(forms.ModelForm):  # type: ignore[type-arg]
    allowed_models = forms.MultipleChoiceField(
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="What is ticked may be used; with nothing ticked every model may.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "allowed_models" in self.fields:  # absent for those who may only look
            self.fields["allowed_models"].choices = self.choices()  # type: ignore[attr-defined]

    def choices(self) -> Iterable[tuple[str, str]]:
        """Every public id and alias, and what is allowed already even when there is no such model now."""
        aliases = ModelAlias.objects.values_list("alias", flat=True)
        virtuals = VirtualModel.objects.values_list("public_id", flat=True)
        names = {*ChatModel.objects.all().public_ids(), *virtuals, *aliases, *self.instance.allowed_models}
        return [(name, name) for name in sorted(names)]

    def clean_allowed_models(self) -> list[str]:
        return list(self.cleaned_data["allowed_models"])
