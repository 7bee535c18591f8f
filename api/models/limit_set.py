"""The limits of API keys, users, teams and end users."""

from decimal import Decimal

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from api.limits import limit_values
from api.models.api_key import ApiKey, is_list_of_text
from api.models.team import Team

SUBJECT_TEXT = "Limits belong to one API key, one user or one team."
END_USER_TEXT = "Only the limits of an API key can hold for each of its end users."
RAISE_TEXT = "A raise of the budgets needs an amount and an end."
UNNEEDED_RAISE_TEXT = "There is no budget that could be raised."


class BudgetWindow(models.TextChoices):
    """When a day or a month of a budget begins."""

    CALENDAR = "calendar", "calendar: days begin at midnight, months on the first"
    ROLLING = "rolling", "rolling: the last 24 hours, the last 30 days"


def make_count_field(help_text: str) -> "models.BigIntegerField[int | None, int | None]":
    return models.BigIntegerField(
        null=True, blank=True, validators=[limit_values.validate_count], help_text=help_text
    )


def make_budget_field(help_text: str) -> "models.DecimalField[Decimal | None, Decimal | None]":
    return models.DecimalField(
        max_digits=14,
        decimal_places=6,
        null=True,
        blank=True,
        validators=[limit_values.validate_budget],
        help_text=help_text,
    )


class LimitSet(models.Model):
    """The limits of one API key, user or team, or of each end user of a key.

    Empty columns limit nothing. A request must keep within the limits of its key, of the key's
    user, of the user's team and of all teams above that.
    """

    key = models.ForeignKey(
        ApiKey, models.CASCADE, null=True, blank=True, related_name="limit_sets"
    )
    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="limit_set"
    )
    team = models.OneToOneField(
        Team, models.CASCADE, null=True, blank=True, related_name="limit_set"
    )
    for_each_end_user = models.BooleanField(
        "for each end user",
        default=False,
        help_text=(
            "On: each end user of the key, named by <code>safety_identifier</code> or "
            "<code>user</code> in the request, has these limits."
        ),
    )
    requests_per_minute = make_count_field("In any 60 seconds, for example 60.")
    tokens_per_minute = make_count_field(
        "Prompt and completion tokens in any 60 seconds, for example 100000."
    )
    concurrent_requests = make_count_field("Running at the same time, for example 4.")
    day_budget_usd = make_budget_field("Spent in a day, in USD, for example 5.")
    month_budget_usd = make_budget_field("Spent in a month, in USD, for example 50.")
    total_budget_usd = make_budget_field("Spent altogether, in USD, for example 500.")
    budget_window = models.CharField(
        max_length=16, choices=BudgetWindow, default=BudgetWindow.CALENDAR
    )
    time_zone = models.CharField(
        max_length=64,
        default="UTC",
        validators=[limit_values.validate_time_zone],
        help_text="In which days and months begin, for example <code>Europe/Berlin</code>.",
    )
    raise_usd = make_budget_field("Each budget is higher by so much until then, for example 2.")
    raise_until = models.DateTimeField(null=True, blank=True, help_text="When the raise ends.")
    allowed_models = models.JSONField(
        default=list,
        blank=True,
        validators=[is_list_of_text],
        help_text='For example <code>["gpt-5*", "echo"]</code>; <code>*</code> stands for any '
        "characters. Empty: every model.",
    )
    allowed_endpoints = models.JSONField(
        default=list,
        blank=True,
        validators=[limit_values.validate_endpoints],
        help_text='For example <code>["/v1/chat/*", "/v1/models"]</code>; empty: every endpoint.',
    )
    ip_ranges = models.JSONField(
        "IP ranges",
        default=list,
        blank=True,
        validators=[limit_values.validate_ip_ranges],
        help_text='For example <code>["10.0.0.0/8", "2001:db8::1"]</code>; empty: any address.',
    )
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="Nothing is allowed after this time; empty: it never ends."
    )
    notifies_owner = models.BooleanField(
        "notifies the owner",
        default=False,
        help_text=(
            "On: alerts about these limits also go by e-mail to the user; of a team to the members "
            "who are staff."
        ),
    )

    class Meta:
        verbose_name = "limits"
        verbose_name_plural = "limits"
        constraints = [
            models.CheckConstraint(
                name="limits_of_one_subject",
                condition=(
                    Q(key__isnull=False, user=None, team=None)
                    | Q(key=None, user__isnull=False, team=None, for_each_end_user=False)
                    | Q(key=None, user=None, team__isnull=False, for_each_end_user=False)
                ),
                violation_error_message=SUBJECT_TEXT,
            ),
            models.UniqueConstraint(fields=["key", "for_each_end_user"], name="limits_of_key"),
        ]

    def __str__(self) -> str:
        subject = str(self.team or self.user or self.key)
        return f"{subject}, for each end user" if self.for_each_end_user else subject

    def clean(self) -> None:
        """Raise ValidationError on limits that cannot hold; field by field, one sentence each."""
        # a form for a new key has a row without an id
        subjects = [row for row in (self.key, self.user, self.team) if row is not None]
        if len(subjects) != 1:
            raise ValidationError(SUBJECT_TEXT)
        if self.for_each_end_user and self.key is None:
            raise ValidationError({"for_each_end_user": END_USER_TEXT})
        if (self.raise_usd is None) != (self.raise_until is None):
            raise ValidationError({"raise_until": RAISE_TEXT})
        budgets = (self.day_budget_usd, self.month_budget_usd, self.total_budget_usd)
        if self.raise_usd is not None and all(budget is None for budget in budgets):
            raise ValidationError({"raise_usd": UNNEEDED_RAISE_TEXT})
