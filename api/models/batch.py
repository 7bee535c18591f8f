"""Batches: many requests of one file that are answered in the background."""

import secrets

from django.conf import settings
from django.db import models
from django.db.models import Q

from api.models.api_key import ApiKey
from providers.database.leases import LeaseQuerySet
from providers.protocol.json_types import JsonObject


class BatchStatus(models.TextChoices):
    """The states of a batch, in OpenAI's words."""

    VALIDATING = "validating", "validating"
    IN_PROGRESS = "in_progress", "in progress"
    FINALIZING = "finalizing", "finalizing"
    CANCELLING = "cancelling", "cancelling"
    COMPLETED = "completed", "completed"
    FAILED = "failed", "failed"
    EXPIRED = "expired", "expired"
    CANCELLED = "cancelled", "cancelled"


OPEN_STATUSES = (
    BatchStatus.VALIDATING,
    BatchStatus.IN_PROGRESS,
    BatchStatus.FINALIZING,
    BatchStatus.CANCELLING,
)
# the column with the time when a batch came to a status
TIME_COLUMNS = {
    BatchStatus.IN_PROGRESS: "in_progress_at",
    BatchStatus.FINALIZING: "finalizing_at",
    BatchStatus.CANCELLING: "cancelling_at",
    BatchStatus.COMPLETED: "completed_at",
    BatchStatus.FAILED: "failed_at",
    BatchStatus.EXPIRED: "expired_at",
    BatchStatus.CANCELLED: "cancelled_at",
}


class BatchQuerySet(LeaseQuerySet, models.QuerySet["Batch"]):
    """Batches, with the lease `running_until` of the process that runs one."""

    def of_user(self, user_id: int) -> "BatchQuerySet":
        """Return a user's own batches."""
        return self.filter(user_id=user_id)

    def filter_open(self) -> "BatchQuerySet":
        """Return the batches that have not ended."""
        return self.filter(status__in=OPEN_STATUSES)


def new_batch_id() -> str:
    """Return a new id: `batch_` and 32 random hexadecimal digits."""
    return f"batch_{secrets.token_hex(16)}"


class Batch(models.Model):
    """One batch of one user; its lines are those of its input file.

    The results of lines are in files below PROXYSITE_HOME/batches until it ends
    (`api/batches/part_files.py`). Then they are ordinary files of the user.
    """

    id = models.CharField(primary_key=True, max_length=48, default=new_batch_id, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="batches", db_index=False
    )
    key = models.ForeignKey(
        ApiKey,
        models.SET_NULL,
        null=True,
        help_text="Its rights and limits are those of every line; empty: it was deleted.",
    )
    status = models.CharField(max_length=16, choices=BatchStatus, default=BatchStatus.VALIDATING)
    endpoint = models.CharField(max_length=64, help_text="For example /v1/chat/completions.")
    model = models.CharField(
        max_length=200, blank=True, help_text="The model of all lines; empty: there are several."
    )
    completion_window = models.CharField(max_length=16)
    input_file_id = models.CharField(max_length=48)
    output_file_id = models.CharField(max_length=48, blank=True)
    error_file_id = models.CharField(max_length=48, blank=True)
    output_seconds = models.PositiveIntegerField(
        null=True, help_text="Seconds after which its output files expire; empty: by default."
    )
    metadata = models.JSONField(null=True)
    errors = models.JSONField(default=list, help_text="Why it failed: code, line, message, param.")
    caller_address = models.GenericIPAddressField(
        null=True, help_text="From where it was made; lines are sent as if they came from there."
    )

    total_count = models.PositiveIntegerField(default=0)
    completed_count = models.PositiveIntegerField(default=0)
    failed_count = models.PositiveIntegerField(default=0)
    input_tokens = models.BigIntegerField(default=0)
    cached_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    reasoning_tokens = models.BigIntegerField(default=0)

    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(help_text="Lines that have not begun by then are not asked.")
    in_progress_at = models.DateTimeField(null=True)
    finalizing_at = models.DateTimeField(null=True)
    cancelling_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    expired_at = models.DateTimeField(null=True)
    cancelled_at = models.DateTimeField(null=True)

    running_until = models.DateTimeField(
        null=True, help_text="Until then one process alone works on it."
    )
    run_number = models.PositiveIntegerField(
        default=0, help_text="Counts the processes that took it up; the latest one works on it."
    )
    progress_id = models.UUIDField(null=True, help_text="Its task on the live board.")

    objects = BatchQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name_plural = "batches"
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=BatchStatus.values), name="batch_status_known"
            )
        ]
        indexes = [
            models.Index(fields=["user", "created_at", "id"], name="batch_user_created"),
            models.Index(
                fields=["created_at"],
                condition=Q(status__in=[status.value for status in OPEN_STATUSES]),
                name="batch_open",
            ),
        ]

    def __str__(self) -> str:
        return self.pk

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES

    @property
    def usage(self) -> JsonObject:
        """Return the tokens of all answered lines, in OpenAI's form."""
        return {
            "input_tokens": self.input_tokens,
            "input_tokens_details": {"cached_tokens": self.cached_tokens},
            "output_tokens": self.output_tokens,
            "output_tokens_details": {"reasoning_tokens": self.reasoning_tokens},
            "total_tokens": self.input_tokens + self.output_tokens,
        }
