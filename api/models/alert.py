"""Alerts, and their deliveries by webhook and e-mail."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from providers.database.leases import LeaseQuerySet


class AlertKind(models.TextChoices):
    """The event that an alert reports."""

    BUDGET_80 = "budget_80", "80 % of a budget is spent"
    BUDGET_100 = "budget_100", "a budget is spent"
    LIMIT_HIT = "limit_hit", "a limit was hit for the first time that day"
    UNKNOWN_PRICE = "unknown_price", "a model is used whose price is unknown"
    TEST = "test", "a test"


class AlertSubject(models.TextChoices):
    """The kind of thing that an alert is about."""

    KEY = "key", "API key"
    USER = "user", "user"
    TEAM = "team", "team"
    MODEL = "model", "model"
    GATEWAY = "gateway", "this gateway"


class AlertEvent(models.Model):
    """One alert; written by `api/alerts/event_records.py`.

    The same limit, subject and period has at most one, however many processes report it. Names are
    not stored: they are looked up when the alert is shown, so that none outlives its row.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=16, choices=AlertKind)
    subject_kind = models.CharField(max_length=16, choices=AlertSubject)
    subject_id = models.CharField(
        max_length=255, help_text="The id of the row; of a model its provider's id and its name."
    )
    limit_name = models.CharField(
        max_length=64, blank=True, help_text="For example <code>day_budget_usd</code>."
    )
    period = models.CharField(
        max_length=40, help_text="The day, the month or the budget's period, in the limit's zone."
    )
    facts = models.JSONField(
        default=dict, help_text="The amount that was used, the limit, and its end."
    )
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        verbose_name = "alert"
        constraints = [
            models.UniqueConstraint(
                fields=["subject_id", "subject_kind", "kind", "limit_name", "period"],
                name="alert_once",
            )
        ]

    def __str__(self) -> str:
        return f"alert_{self.pk.hex}"


class AlertChannel(models.TextChoices):
    """The way an alert is delivered."""

    WEBHOOK = "webhook", "webhook"
    EMAIL = "email", "e-mail"


class DeliveryState(models.TextChoices):
    """How far a delivery is."""

    WAITING = "waiting", "waiting"
    SENT = "sent", "sent"
    FAILED = "failed", "failed"


class AlertDeliveryQuerySet(LeaseQuerySet, models.QuerySet["AlertDelivery"]):
    """Deliveries of alerts, with the lease `claimed_until`."""

    def filter_due(self) -> "AlertDeliveryQuerySet":
        """Return the deliveries whose next attempt may begin now."""
        return self.filter(state=DeliveryState.WAITING, due_at__lte=Now())

    def mark_waiting(self) -> int:
        """Let failed deliveries begin again with their first attempt; return how many."""
        return self.filter(state=DeliveryState.FAILED).update(
            state=DeliveryState.WAITING, attempt_count=0, due_at=Now(), claimed_until=None
        )


class AlertDelivery(models.Model):
    """One delivery of an alert: by the webhook, or to one e-mail address.

    The address of the webhook is not stored, because it may hold a secret, and neither is that of a
    user: both are looked up when the delivery is sent.
    """

    event = models.ForeignKey(AlertEvent, models.CASCADE, related_name="deliveries")
    channel = models.CharField(max_length=16, choices=AlertChannel)
    address = models.EmailField(blank=True, help_text="Of an operator, from ALERT_EMAILS.")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        related_name="+",
        help_text="The user who gets the e-mail.",
    )
    state = models.CharField(
        max_length=16, choices=DeliveryState, default=DeliveryState.WAITING, editable=False
    )
    attempt_count = models.PositiveSmallIntegerField("attempts", db_default=0)
    due_at = models.DateTimeField(
        db_default=Now(), help_text="The next attempt begins not before that."
    )
    claimed_until = models.DateTimeField(
        null=True, help_text="Until then one worker alone may send it."
    )
    sent_at = models.DateTimeField(null=True)
    problem = models.CharField(max_length=200, blank=True, help_text="Of the last attempt.")

    objects = AlertDeliveryQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        verbose_name = "alert delivery"
        verbose_name_plural = "alert deliveries"
        indexes = [
            models.Index(
                fields=["due_at"], condition=models.Q(state="waiting"), name="alert_delivery_due"
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_channel_display()} {self.recipient}".strip()

    @property
    def recipient(self) -> str:
        """Return who gets it, in a word; empty for the webhook."""
        if self.user is not None:
            return str(self.user)
        return self.address
