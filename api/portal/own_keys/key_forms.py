"""The forms of the portal that issue a key or rotate one."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from api.key_rights.key_expiry import find_latest_expiry
from api.key_rights.limit_rows import read_default_limits
from api.limits import limit_values
from api.limits.limit_texts import Columns
from api.one_time_forms import generate_form_number
from api.portal.own_keys import issuing_bounds

NEVER = "0"
USUAL_DAYS = "90"
EXPIRY_DAYS = (1, 7, 30, 90, 180, 365)
OVERLAP_HOURS = (1, 24, 72, 168)
COUNTS = ("requests_per_minute", "tokens_per_minute", "concurrent_requests")
BUDGETS = ("day_budget_usd", "month_budget_usd", "total_budget_usd")


def make_count_field(label: Any) -> forms.IntegerField:
    return forms.IntegerField(
        label=label, required=False, min_value=0, validators=[limit_values.validate_count]
    )


def make_budget_field(label: Any) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        required=False,
        min_value=0,
        max_digits=14,
        decimal_places=6,
        validators=[limit_values.validate_budget],
    )


class OneTimeForm(forms.Form):
    """A form with a number: when it has shown a secret, it shows no second one."""

    form_number = forms.CharField(
        max_length=64, widget=forms.HiddenInput, initial=generate_form_number
    )


class NewKeyForm(OneTimeForm):
    """The choices of a user for a new key, within the operator's bounds."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=100,
        help_text=gettext_lazy("What the key is for, for example “laptop”."),
    )
    expires_in = forms.ChoiceField(label=gettext_lazy("Expires"))
    models = forms.MultipleChoiceField(
        label=gettext_lazy("Models"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=gettext_lazy("Tick none for every model that you may use."),
    )
    default_model = forms.ChoiceField(
        label=gettext_lazy("Default model"),
        required=False,
        help_text=gettext_lazy("Answers requests that name no model."),
    )
    stores_content = forms.BooleanField(
        label=gettext_lazy("Store content"),
        required=False,
        initial=True,
        help_text=gettext_lazy("Off: no conversations and no files of its requests are stored."),
    )
    remembers_sessions = forms.BooleanField(
        label=gettext_lazy("Remember sessions"),
        required=False,
        help_text=gettext_lazy("Requests with the same session_id are one conversation."),
    )
    requests_per_minute = make_count_field(gettext_lazy("Requests per minute"))
    tokens_per_minute = make_count_field(gettext_lazy("Tokens per minute"))
    concurrent_requests = make_count_field(gettext_lazy("Requests at the same time"))
    day_budget_usd = make_budget_field(gettext_lazy("Budget per day, in USD"))
    month_budget_usd = make_budget_field(gettext_lazy("Budget per month, in USD"))
    total_budget_usd = make_budget_field(gettext_lazy("Budget altogether, in USD"))

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = [(name, name) for name in issuing_bounds.list_own_models(user)]
        self.set_choices("models", names)
        self.set_choices("default_model", [("", _("none")), *names])
        expiry_choices = list_expiry_choices()
        self.set_choices("expires_in", expiry_choices)
        self.initial.setdefault("expires_in", find_usual_expiry(expiry_choices))
        defaults = read_default_limits()
        for name in (*COUNTS, *BUDGETS):
            if defaults.get(name) is not None:
                self.fields[name].help_text = _("At most %(amount)s. Empty: this maximum.") % {
                    "amount": defaults[name]
                }

    def set_choices(self, name: str, choices: list[tuple[str, str]]) -> None:
        self.fields[name].choices = choices  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        models, default_model = cleaned.get("models"), cleaned.get("default_model")
        if default_model and models and default_model not in models:
            self.add_error("default_model", _("Choose one of the models that you ticked."))
        _limits, exceeded = issuing_bounds.narrow_limits(self.read_chosen_limits())
        for name, amount in exceeded.items():
            self.add_error(name, _("At most %(amount)s.") % {"amount": amount})
        return cleaned

    def read_chosen_limits(self) -> Columns:
        return {name: self.cleaned_data.get(name) for name in (*COUNTS, *BUDGETS)}

    def read_expiry(self) -> datetime | None:
        """Return when the key expires: never later than the operator allows."""
        days = int(self.cleaned_data["expires_in"])
        latest = find_latest_expiry()
        if not days:
            return latest
        chosen = timezone.now() + timedelta(days=days)
        return min(chosen, latest) if latest is not None else chosen


def find_usual_expiry(choices: list[tuple[str, str]]) -> str:
    """Return the expiry that the form suggests: USUAL_DAYS, or the longest if that is less."""
    values = [value for value, _label in choices]
    return USUAL_DAYS if USUAL_DAYS in values else values[-1]


def list_expiry_choices() -> list[tuple[str, str]]:
    """Return the times after which a key can expire, the shortest first."""
    longest = settings.PORTAL_LONGEST_KEY_DAYS
    days = {number for number in EXPIRY_DAYS if not longest or number <= longest}
    if longest:
        days.add(longest)
    choices = [
        (str(number), ngettext("in %(count)d day", "in %(count)d days", number) % {"count": number})
        for number in sorted(days)
    ]
    return choices if longest else [*choices, (NEVER, _("never"))]


class RotationForm(OneTimeForm):
    """How long the old secret still works."""

    overlap_hours = forms.ChoiceField(label=gettext_lazy("The old secret works"))

    def __init__(self, *args: Any, may_overlap: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = list_overlap_choices() if may_overlap else [(NEVER, _("no longer"))]
        self.fields["overlap_hours"].choices = choices  # type: ignore[attr-defined]

    def read_overlap(self) -> timedelta:
        return timedelta(hours=int(self.cleaned_data["overlap_hours"]))


def list_overlap_choices() -> list[tuple[str, str]]:
    """Return the times that an old secret can still work."""
    longest = settings.PORTAL_LONGEST_OVERLAP_HOURS
    hours = [number for number in OVERLAP_HOURS if number <= longest]
    return [
        (NEVER, _("no longer")),
        *(
            (
                str(number),
                ngettext("for %(count)d more hour", "for %(count)d more hours", number)
                % {"count": number},
            )
            for number in hours
        ),
    ]
