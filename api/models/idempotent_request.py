"""Requests with an `Idempotency-Key`, and their answers."""

from django.conf import settings
from django.db import models

from providers.database.leases import LeaseQuerySet


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
