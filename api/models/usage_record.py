"""Usage records: one row for each request."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from api.models.api_key import ApiKey
from api.models.price import Price
from api.models.team import Team
from providers.models import Provider
from tokens.models import UpstreamToken

BATCH_CLIENT = "batch"  # the `client` of lines of batches; no User-Agent header gives it


class Status(models.TextChoices):
    """How a request ended."""

    COMPLETE = "complete", "complete"
    ERROR = "error", "error before the first byte"
    TRUNCATED = "truncated", "cut by an upstream error"
    ABANDONED = "abandoned", "the caller left"
    INTERRUPTED = "interrupted", "our process ended"
    REFUSED = "refused", "refused by a limit"


class UsageRecord(models.Model):
    """One request, however it ended; written by `api/accounting/ledger.py` alone.

    Requests that a limit refused are folded: one row for those of the same second.

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
    team = models.ForeignKey(
        Team, models.DO_NOTHING, null=True, db_constraint=False, db_index=False
    )
    cost_micro_usd = models.BigIntegerField(
        null=True, help_text="In millionths of a USD; empty: the price is unknown."
    )
    price = models.ForeignKey(
        Price, models.DO_NOTHING, null=True, db_constraint=False, db_index=False
    )
    reported_cost_micro_usd = models.BigIntegerField(
        null=True, help_text="As the provider reported it, in millionths of a USD."
    )
    refused_by = models.CharField(
        max_length=64,
        blank=True,
        db_default="",
        help_text="The limit that refused it, for example <code>key requests_per_minute</code>.",
    )
    end_user_id = models.BigIntegerField(
        null=True,
        help_text="The number of the end user, if the key limits each of them.",
    )
    request_count = models.IntegerField(
        db_default=1, help_text="How many requests the row stands for: more than one of refused."
    )
    client = models.CharField(
        max_length=32,
        blank=True,
        db_default="",
        help_text="The caller's program, for example <code>Codex</code>, by its User-Agent header.",
    )
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
            models.Index(
                fields=["error_code", "-id"],
                condition=~Q(status="complete"),
                name="usage_error_code",
            ),
            # tells if records name a price; it has no entry for records without one
            models.Index(fields=["price"], condition=Q(price__isnull=False), name="usage_price"),
        ]

    def __str__(self) -> str:
        return f"req_{self.id.hex}"
