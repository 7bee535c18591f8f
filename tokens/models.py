"""Rows about who we are to an upstream: UpstreamToken, one credential with its state.

active --429--> active, resting until a time        active --402/quota--> exhausted until a time
active --three consecutive auth failures--> disabled --reset or a good check--> active
"""

import uuid

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from providers import vault
from providers.models import Provider
from tokens.querysets import TokenQuerySet


class State(models.TextChoices):
    ACTIVE = "active", "active"
    EXHAUSTED = "exhausted", "quota exhausted"
    DISABLED = "disabled", "disabled"


class UpstreamToken(models.Model):
    """One credential of one provider. Its secret is sealed and bound to the row's id; nobody reads it back."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    provider = models.ForeignKey(Provider, models.CASCADE, related_name="tokens")
    label = models.CharField(max_length=100, blank=True, help_text="For you, for example <code>account of June</code>.")
    sealed = models.TextField(editable=False)
    fingerprint = models.CharField(max_length=64, editable=False)
    masked = models.CharField(max_length=32, editable=False)
    state = models.CharField(max_length=16, choices=State, default=State.ACTIVE)
    reason = models.CharField(max_length=200, blank=True, editable=False)
    strikes = models.PositiveSmallIntegerField(default=0, editable=False)
    rests_until = models.DateTimeField(null=True, blank=True, editable=False)
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="Not used after this time; empty: never expires."
    )
    priority = models.SmallIntegerField(default=0, help_text="With the rotation “priority” the lowest is used first.")
    weight = models.PositiveSmallIntegerField(
        default=1, validators=[MinValueValidator(1)], help_text="With the rotation “random” its share of the requests."
    )
    requests = models.PositiveBigIntegerField(default=0, editable=False)
    failures = models.PositiveBigIntegerField(default=0, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_failure_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    changed = models.BigIntegerField(
        default=0, editable=False, db_index=True
    )  # written by triggers: providers/revisions.py

    objects = TokenQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "fingerprint"], name="token_once_per_provider"),
            models.CheckConstraint(condition=Q(state__in=State.values), name="token_state_known"),
            models.CheckConstraint(condition=Q(weight__gte=1), name="token_weight_positive"),
        ]
        indexes = [
            models.Index(fields=["provider", "state"], name="token_provider_state"),
            models.Index(fields=["created_at", "id"], name="token_created"),
        ]

    def __str__(self) -> str:
        return self.masked

    @classmethod
    def of(cls, provider: Provider, secret: str, **fields: object) -> "UpstreamToken":
        """A new, unsaved row for `secret`."""
        token = cls(provider=provider, **fields)
        token.hide(secret)
        return token

    def hide(self, secret: str) -> None:
        """Take `secret` as this row's credential."""
        self.sealed = vault.seal(secret, str(self.pk))
        self.fingerprint = vault.fingerprint(secret)
        self.masked = vault.mask(secret)

    @property
    def resting(self) -> bool:
        return self.rests_until is not None and self.rests_until > timezone.now()
