"""The rows about our credentials at upstreams.

UpstreamToken    one credential with its state
UpstreamAccount  a login that gets and renews one token
Transition       one change of a token's state
SecretCheck      the check values of this gateway's secrets
WrittenBatch     the last batch that a process wrote
Refresh          the last renewal of a provider's whole pool (`pool_models.py`)
CheckProgress    how far the periodic check has come (`pool_models.py`)
BreakerState     a provider's circuit breaker (`pool_models.py`)
ImportBatch      one import of tokens (tokens/imports/batch_model.py)
TokenCheck       the latest check of a token (`check_model.py`)

The states of a token:

active --429-->  active, with a cooldown until a time
active --402 or quota-->  exhausted until a time
active --5xx while the provider answers with other tokens-->  failing for a growing time
active --three consecutive auth failures-->  disabled  --reset or a good check-->  active

A renewable token (it has a refresh token or an account) is renewed before and when it expires.
"""

import uuid

from django.core.validators import MinValueValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from providers import vault
from providers.models import Provider
from tokens.check_model import TokenCheck
from tokens.imports.batch_model import ImportBatch
from tokens.pool_models import BreakerState, CheckProgress, Refresh
from tokens.querysets import AUTH_REASON, UNREADABLE_REASON, TokenQuerySet

__all__ = [
    "BreakerState",
    "CheckProgress",
    "Kind",
    "Refresh",
    "SecretCheck",
    "State",
    "TokenCheck",
    "Transition",
    "UpstreamAccount",
    "UpstreamToken",
    "WrittenBatch",
]


class State(models.TextChoices):
    ACTIVE = "active", "active"
    EXHAUSTED = "exhausted", "quota exhausted"
    FAILING = "failing", "failing"
    DISABLED = "disabled", "disabled"


class Kind(models.TextChoices):
    """The kind of a credential, as far as the credential itself shows it."""

    KEY = "key", "API key"
    SESSION = "session", "session token"
    ACCESS = "access", "access token"
    REFRESH = "refresh", "refresh token"


class UpstreamAccount(models.Model):
    """A login at an upstream, which gets and renews the one token that belongs to it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    provider = models.ForeignKey(Provider, models.CASCADE, related_name="accounts")
    email = models.CharField(max_length=254, help_text="For example <code>june@example.org</code>.")
    sealed = models.TextField(editable=False)
    enabled = models.BooleanField(default=True, help_text="Off: it does not sign in.")
    reason = models.CharField(max_length=200, blank=True, editable=False)
    failures = models.PositiveIntegerField(default=0, editable=False)
    signed_in_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["provider", "email"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "email"], name="account_once_per_provider")
        ]

    def __str__(self) -> str:
        return self.email

    def seal_password(self, password: str) -> None:
        """Seal `password` into this row, without saving it."""
        self.sealed = vault.encrypt_secret(password, str(self.pk))


class UpstreamToken(models.Model):
    """One credential of one provider.

    Its secret is sealed and bound to the row's id, and is never shown again.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    provider = models.ForeignKey(Provider, models.CASCADE, related_name="tokens")
    account = models.OneToOneField(
        UpstreamAccount, models.CASCADE, null=True, blank=True, editable=False, related_name="token"
    )
    import_batch = models.ForeignKey(
        ImportBatch, models.SET_NULL, null=True, blank=True, editable=False, related_name="tokens"
    )
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.KEY, editable=False)
    label = models.CharField(
        max_length=100, blank=True, help_text="For you, for example <code>account of June</code>."
    )
    sealed = models.TextField(editable=False)
    sealed_refresh = models.TextField(blank=True, editable=False)
    # of the imported secret, also after renewals
    fingerprint = models.CharField(max_length=64, editable=False)
    masked = models.CharField(max_length=32, editable=False)
    state = models.CharField(max_length=16, choices=State, default=State.ACTIVE)
    reason = models.CharField(max_length=200, blank=True, editable=False)
    strikes = models.PositiveSmallIntegerField(default=0, editable=False)
    rests_until = models.DateTimeField(null=True, blank=True, editable=False)
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="Not used after this time; empty: never expires."
    )
    priority = models.SmallIntegerField(
        default=0, help_text="With the rotation “priority” the lowest is used first."
    )
    weight = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1)],
        help_text="With the rotation “random” its share of the requests.",
    )
    # the lease of its renewal
    renewing_until = models.DateTimeField(null=True, blank=True, editable=False)
    # the lease of its single stream, and the request that has it
    busy_until = models.DateTimeField(null=True, blank=True, editable=False)
    busy_with = models.CharField(max_length=32, blank=True, editable=False)
    # the request that changed its state last
    cause = models.CharField(max_length=40, blank=True, editable=False)
    requests = models.PositiveBigIntegerField(default=0, editable=False)
    failures = models.PositiveBigIntegerField(default=0, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_failure_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    # written by triggers: providers/database/revisions.py
    changed = models.BigIntegerField(default=0, editable=False, db_index=True)

    objects = TokenQuerySet.as_manager()

    class Meta:
        ordering = ["created_at", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "fingerprint"], name="token_once_per_provider"
            ),
            models.CheckConstraint(condition=Q(state__in=State.values), name="token_state_known"),
            models.CheckConstraint(condition=Q(weight__gte=1), name="token_weight_positive"),
            models.CheckConstraint(condition=Q(kind__in=Kind.values), name="token_kind_known"),
        ]
        indexes = [
            models.Index(fields=["provider", "state"], name="token_provider_state"),
            models.Index(fields=["created_at", "id"], name="token_created"),
            models.Index(fields=["expires_at"], name="token_expires"),
            models.Index(fields=["failures", "id"], name="token_failures"),
            # that of last_used_at is written by a migration: its order of NULL differs
        ]
        permissions = [("export_upstreamtoken", "Can export the secrets of upstream tokens")]

    def __str__(self) -> str:
        return self.masked

    @classmethod
    def from_secret(cls, provider: Provider, secret: str, **fields: object) -> "UpstreamToken":
        """Return a new, unsaved row for `secret`."""
        token = cls(provider=provider, **fields)
        token.seal_secret(secret)
        return token

    def seal_secret(self, secret: str) -> None:
        """Seal `secret` into this row, with its fingerprint and mask, without saving it."""
        self.sealed = vault.encrypt_secret(secret, str(self.pk))
        self.fingerprint = vault.fingerprint_secret(secret)
        self.masked = vault.mask_secret(secret)

    def turn_into_refresh_token(self) -> None:
        """Make the sealed secret the row's refresh token, without an access token yet."""
        self.sealed_refresh = self.sealed
        self.sealed = ""

    @property
    def has_cooldown(self) -> bool:
        return self.rests_until is not None and self.rests_until > timezone.now()

    @property
    def is_disabled_by_person(self) -> bool:
        """Return whether a person disabled it, so that no check or answer may enable it again."""
        by_auth = self.reason.startswith(f"{AUTH_REASON}:")
        by_machine = by_auth or self.reason == UNREADABLE_REASON
        return self.state == State.DISABLED and not by_machine

    @property
    def is_renewable(self) -> bool:
        """Return whether it can be replaced by a fresh one without a person."""
        return bool(self.sealed_refresh) or self.account_id is not None


class Transition(models.Model):
    """One change of a token's state; written only by database triggers (`history_triggers.py`)."""

    token = models.ForeignKey(UpstreamToken, models.CASCADE, related_name="transitions")
    at = models.DateTimeField()
    before = models.CharField(max_length=16)
    after = models.CharField(max_length=16)
    reason = models.CharField(max_length=200, blank=True)
    cause = models.CharField(max_length=40, blank=True, help_text="The request that led to it.")

    class Meta:
        ordering = ["-at", "-pk"]
        indexes = [
            models.Index(fields=["token", "-at"], name="transition_token_at"),
            models.Index(fields=["at"], name="transition_at"),
        ]

    def __str__(self) -> str:
        return f"{self.before} → {self.after}"


class SecretCheck(models.Model):
    """A check value that shows whether a process has the database's secrets.

    See tokens/secret_check.py.
    """

    name = models.CharField(max_length=32, primary_key=True)
    value = models.TextField()

    def __str__(self) -> str:
        return self.name


class WrittenBatch(models.Model):
    """The last batch that a process has written, so that none is applied twice.

    See tokens/pool/written_batches.py.
    """

    writer = models.CharField(max_length=32, primary_key=True)
    number = models.BigIntegerField()
    left_out = models.JSONField(
        default=list, help_text="Ids of tokens that were locked and are in a later batch."
    )
    written_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.writer} {self.number}"
