"""Rows of the limit store in Postgres: the amounts of limits that processes hold."""

from django.db import models


class LimitSlot(models.Model):
    """The amount of a limit by the minute that was leased in a quarter of a second.

    Written by `api/limits/stores/postgres_store.py`, and deleted when it is older than a minute.
    """

    counter = models.CharField(max_length=100, help_text="The name of the counter.")
    slot = models.BigIntegerField(help_text="UNIX time in quarters of a second.")
    amount = models.BigIntegerField()
    pk = models.CompositePrimaryKey("counter", "slot")

    class Meta:
        indexes = [models.Index(fields=["slot"], name="limit_slot_time")]

    def __str__(self) -> str:
        return f"{self.counter}: {self.amount}"


class LimitLease(models.Model):
    """The part of a budget, or of the requests that may run, that one process holds.

    Written by `api/limits/stores/postgres_store.py`. After `expires_at` it holds nothing.
    """

    counter = models.CharField(max_length=100, help_text="The name of the counter.")
    holder = models.CharField(max_length=32, help_text="The process.")
    amount = models.BigIntegerField(help_text="Requests, or millionths of a USD.")
    expires_at = models.DateTimeField(db_index=True)
    pk = models.CompositePrimaryKey("counter", "holder")

    def __str__(self) -> str:
        return f"{self.counter}: {self.amount}"
