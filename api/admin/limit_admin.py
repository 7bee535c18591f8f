"""The form of limits, on the pages of API keys, users and teams."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from api.forms import LinesField
from api.limits.limit_texts import BUDGET_COLUMNS, COUNT_COLUMNS, format_amount
from api.limits.limit_values import BUDGET_TEXT, COUNT_TEXT
from api.models import ApiKey, LimitSet

# the codes of the errors that Django's form fields find themselves
COUNT_CODES = ("invalid", "min_value", "max_value")
BUDGET_CODES = (*COUNT_CODES, "max_digits", "max_decimal_places", "max_whole_digits")
BUDGET_FIELDS = (*BUDGET_COLUMNS.values(), "raise_usd")
EMPTY_TEXT = gettext_lazy("Empty fields limit nothing.")


class LimitSetForm(forms.ModelForm):  # type: ignore[type-arg]
    """A form whose errors are the sentences of the commands."""

    allowed_models = LinesField(
        label=gettext_lazy("Allowed models"),
        required=False,
        help_text=gettext_lazy(
            "One in a line; <code>*</code> stands for any characters, as in <code>gpt-5*</code>. "
            "Empty: every model."
        ),
    )
    allowed_endpoints = LinesField(
        label=gettext_lazy("Allowed endpoints"),
        required=False,
        help_text=gettext_lazy(
            "One in a line, for example <code>/v1/chat/*</code>. Empty: every endpoint."
        ),
    )
    ip_ranges = LinesField(
        label=gettext_lazy("IP ranges"),
        required=False,
        help_text=gettext_lazy(
            "One in a line, for example <code>10.0.0.0/8</code>. Empty: any address."
        ),
    )

    class Meta:
        model = LimitSet
        exclude: tuple[str, ...] = ()
        labels = {
            "day_budget_usd": gettext_lazy("Day, USD"),
            "month_budget_usd": gettext_lazy("Month, USD"),
            "total_budget_usd": gettext_lazy("Total, USD"),
            "raise_usd": gettext_lazy("Raise, USD"),
        }
        error_messages = {
            **{name: dict.fromkeys(COUNT_CODES, COUNT_TEXT) for name in COUNT_COLUMNS.values()},
            **{name: dict.fromkeys(BUDGET_CODES, BUDGET_TEXT) for name in BUDGET_FIELDS},
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in BUDGET_FIELDS:
            if isinstance(amount := self.initial.get(name), Decimal):
                self.initial[name] = format_amount(amount)


class LimitsInline(admin.StackedInline):  # type: ignore[type-arg]
    """The limits of the row whose page it is on."""

    model = LimitSet
    form = LimitSetForm
    extra = 1
    verbose_name = gettext_lazy("set of limits")
    verbose_name_plural = gettext_lazy("limits")
    classes = ("collapse",)
    rate_fields: tuple[Any, ...] = (
        ("requests_per_minute", "tokens_per_minute", "concurrent_requests"),
    )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return (
            (None, {"fields": self.rate_fields, "description": EMPTY_TEXT}),
            (
                gettext_lazy("Budgets"),
                {
                    "fields": (
                        tuple(BUDGET_COLUMNS.values()),
                        ("budget_window", "time_zone"),
                        ("raise_usd", "raise_until"),
                    )
                },
            ),
            (
                gettext_lazy("Rights"),
                {"fields": (("allowed_models", "allowed_endpoints", "ip_ranges"),)},
            ),
            (None, {"fields": ("expires_at", "notifies_owner")}),
        )


class KeyLimitsInline(LimitsInline):
    """The limits of an API key: its own, and those of each of its end users."""

    fk_name = "key"
    max_num = 2
    extra = 0
    rate_fields = ("for_each_end_user", *LimitsInline.rate_fields)

    def get_queryset(self, request: HttpRequest) -> QuerySet[LimitSet]:
        """Return the rows with the key's own limits first."""
        rows: QuerySet[LimitSet] = super().get_queryset(request)
        return rows.order_by("for_each_end_user")

    def get_extra(self, request: HttpRequest, obj: ApiKey | None = None, **kwargs: Any) -> int:
        """Return 1 where the key has no limits yet: then there is one empty form."""
        return int(obj is None or not obj.limit_sets.exists())


class UserLimitsInline(LimitsInline):
    """The limits of a user, for all the user's API keys together."""

    fk_name = "user"
    verbose_name = gettext_lazy("limits of all API keys together")


class TeamLimitsInline(LimitsInline):
    """The limits of a team, for all its members together."""

    fk_name = "team"
    verbose_name = gettext_lazy("limits of all members together")
