"""The models with one row for each provider, about its whole pool of tokens.

Refresh        the last renewal of the pool
CheckProgress  how far the periodic check has come
BreakerState   the provider's circuit breaker
"""

from django.db import models

from providers.database.leases import LeaseQuerySet
from providers.models import Provider


class RefreshQuerySet(LeaseQuerySet, models.QuerySet["Refresh"]):
    """Refreshes, with the lease `running_until`."""


class Refresh(models.Model):
    """The renewal of a provider's whole pool: at most one at a time, over all processes."""

    provider = models.OneToOneField(
        Provider, models.CASCADE, primary_key=True, related_name="refresh"
    )
    running_until = models.DateTimeField(null=True, blank=True)
    began_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    renewed = models.PositiveIntegerField(default=0)  # tokens, in the last run
    runs = models.PositiveIntegerField(default=0)
    errors = models.PositiveIntegerField(default=0)
    last_error = models.CharField(max_length=200, blank=True)

    objects = RefreshQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.provider} {self.ended_at}"


class CheckProgress(models.Model):
    """How far the periodic check of a provider's tokens has come, and its checks this minute."""

    provider = models.OneToOneField(
        Provider, models.CASCADE, primary_key=True, related_name="check_progress"
    )
    position = models.BigIntegerField(
        help_text="On the circle of ids, over all rounds: tokens/maintenance/check_schedule.py."
    )
    minute = models.BigIntegerField(
        default=0, help_text="In which `checks` were counted, since 1970."
    )
    checks = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.provider} {self.position}"


class BreakerState(models.Model):
    """A provider's circuit breaker, as the process that changed it last has it.

    Written by `tokens/outcomes/breaker_sharing.py`; a hint for the other processes, and shown to
    people.
    """

    provider = models.OneToOneField(
        Provider, models.CASCADE, primary_key=True, related_name="breaker_state"
    )
    open_until = models.DateTimeField(null=True)
    opened_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField()
    cause = models.CharField(max_length=16)
    reason = models.CharField(max_length=200, blank=True)
    callers = models.JSONField(default=list)
    asked_models = models.JSONField(default=list)
    process = models.CharField(max_length=32)

    def __str__(self) -> str:
        if self.open_until is None:
            return f"{self.provider_id} closed"
        return f"{self.provider_id} open"
