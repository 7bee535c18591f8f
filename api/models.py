"""The models about callers: API keys, idempotent requests and usage records."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from providers.database.leases import LeaseQuerySet
from providers.models import Provider
from tokens.models import UpstreamToken


def is_list_of_text(value: object) -> None:
    """Raise ValidationError unless the value is a list of non-empty strings."""
    from django.core.exceptions import ValidationError

    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise ValidationError("Give a list of model ids.")


class KeyQuerySet(models.QuerySet["ApiKey"]):
    def filter_valid(self) -> "KeyQuerySet":
        """Return the keys that are accepted now: not revoked, not expired, with an active user."""
        now = timezone.now()
        return self.filter(
            Q(expires_at=None) | Q(expires_at__gt=now), revoked_at=None, user__is_active=True
        )

    def revoke(self) -> int:
        """Revoke these keys and return how many were not revoked before.

        Every process refuses them in under a second.
        """
        return self.filter(revoked_at=None).update(revoked_at=timezone.now())


class ApiKey(models.Model):
    """An API key of a user; only its keyed digest is stored, and a `prefix` to recognise it."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="api_keys")
    name = models.CharField(
        max_length=100, blank=True, help_text="What it is for, for example <code>laptop</code>."
    )
    prefix = models.CharField(max_length=16, unique=True, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    allowed_models = models.JSONField(
        default=list,
        blank=True,
        validators=[is_list_of_text],
        help_text='For example <code>["echo"]</code>; empty: every model.',
    )
    default_model = models.CharField(
        max_length=200,
        blank=True,
        default="",
        help_text="Answers requests that name no model, for example <code>echo</code>; empty: they "
        "are refused.",
    )
    stores_content = models.BooleanField(
        "stores content",
        default=True,
        help_text="Off: no content of its requests is stored: no conversations, no files.",
    )
    remembers_sessions = models.BooleanField(
        "remembers sessions",
        default=False,
        help_text=(
            "On: requests with the same <code>session_id</code>, for example "
            "<code>holidays</code>, are one conversation. Off: they only share an upstream token."
        ),
    )
    expires_at = models.DateTimeField(
        null=True, blank=True, help_text="Refused after this time; empty: never."
    )
    revoked_at = models.DateTimeField(null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    changed = models.BigIntegerField(
        default=0, editable=False, db_index=True
    )  # written by triggers: providers/database/revisions.py

    objects = KeyQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        verbose_name = "API key"
        indexes = [models.Index(fields=["-created_at", "-id"], name="apikey_created")]

    def __str__(self) -> str:
        return f"{self.prefix}…"

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and self.expires_at <= timezone.now()


class IdempotentRequestQuerySet(LeaseQuerySet, models.QuerySet["IdempotentRequest"]):
    """Requests with an `Idempotency-Key`, with the lease `claimed_until`."""


class IdempotentRequest(models.Model):
    """A request with an `Idempotency-Key`, and its answer once there is one.

    Written by `api/idempotency/claims.py`.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, db_index=False)
    key = models.CharField(
        max_length=255, help_text="As the caller gave it; it is this user's alone."
    )
    digest = models.CharField(max_length=64, help_text="Of the request's path and body, keyed.")
    holder = models.CharField(max_length=36, help_text="The id of the request that answers.")
    claimed_until = models.DateTimeField(null=True, help_text="Until then nobody else may answer.")
    status = models.PositiveSmallIntegerField(
        null=True, help_text="HTTP status; empty while it is being answered."
    )
    content = models.BinaryField(null=True, help_text="The body of the answer.")
    size_bytes = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(help_text="From then on the key is a new one.")

    objects = IdempotentRequestQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "key"], name="idempotent_request_key")
        ]
        indexes = [
            models.Index(fields=["expires_at"], name="idempotent_request_expires"),
            models.Index(fields=["user", "-created_at"], name="idempotent_request_user"),
        ]

    def __str__(self) -> str:
        return f"idempotent request {self.pk}"


class EnvironmentImport(models.Model):
    """A variable of the programs that proxysite replaces, and which of its values were imported.

    Written by `proxysite/first_run/environment_records.py`.
    """

    name = models.CharField(max_length=64, unique=True, help_text="Of the variable.")
    digests = models.JSONField(default=list, help_text="Keyed digests of the imported values.")

    def __str__(self) -> str:
        return self.name


class Status(models.TextChoices):
    """How a request ended."""

    COMPLETE = "complete", "complete"
    ERROR = "error", "error before the first byte"
    TRUNCATED = "truncated", "cut by an upstream error"
    ABANDONED = "abandoned", "the caller left"
    INTERRUPTED = "interrupted", "our process ended"


class UsageRecord(models.Model):
    """One accepted request, however it ended; written by `api/accounting/ledger.py` alone.

    The id is a UUIDv7, so the primary key is in the order of time. The rows that a record refers to
    may be deleted later or, while the record waits in the spool, before it is written. So the
    references are not enforced, and they stay when the row is deleted. A deletion writes nothing
    here, and records of past months still name their rows (`Deletion` has the name).
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    started_at = models.DateTimeField()
    key = models.ForeignKey(
        ApiKey, models.DO_NOTHING, null=True, db_constraint=False, db_index=False
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.DO_NOTHING, null=True, db_constraint=False, db_index=False
    )
    provider = models.ForeignKey(
        Provider, models.DO_NOTHING, null=True, db_constraint=False, db_index=False
    )
    token = models.ForeignKey(
        UpstreamToken, models.DO_NOTHING, null=True, db_constraint=False, db_index=False
    )
    endpoint = models.CharField(max_length=32)
    model = models.CharField(max_length=200)
    stream = models.BooleanField()
    status = models.CharField(max_length=16, choices=Status)
    http_status = models.PositiveSmallIntegerField(null=True)
    error_code = models.CharField(max_length=64, blank=True)
    attempts = models.JSONField(default=list)
    prompt_tokens = models.PositiveIntegerField(default=0)
    completion_tokens = models.PositiveIntegerField(default=0)
    reasoning_tokens = models.PositiveIntegerField(default=0)
    cached_tokens = models.PositiveIntegerField(default=0)
    # the database has the default too: an older process may write rows beside a newer one
    cache_write_tokens = models.IntegerField(
        db_default=0, help_text="Prompt tokens that were written to the upstream's cache."
    )
    estimated = models.BooleanField(default=False)
    queue_ms = models.FloatField(null=True)
    connect_ms = models.FloatField(null=True)
    first_byte_ms = models.FloatField(null=True)
    total_ms = models.FloatField(null=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(condition=Q(status__in=Status.values), name="usage_status_known")
        ]
        indexes = [
            models.Index(fields=["key", "-id"], name="usage_key"),
            models.Index(fields=["user", "-id"], name="usage_user"),
            models.Index(fields=["token", "-id"], name="usage_token"),
            models.Index(fields=["-id"], condition=~Q(status="complete"), name="usage_troubled"),
        ]

    def __str__(self) -> str:
        return f"req_{self.id.hex}"
