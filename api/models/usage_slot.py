"""Sums of five minutes and distributions of answer times, for the overview.

They are written like the other roll-ups (`usage_rollup.py`), and are deleted when no page shows
them any more (`api/usage/spans/slot_expiry.py`).
"""

from django.db import models

from api.models.usage_rollup import UsageSums


class UsageSlot(UsageSums):
    """The sums of all requests that began in five minutes and ended alike.

    Time zones differ by whole quarters of an hour, so the slots of a day in any of them can be
    added up. On Postgres each connection adds to its own `shard`.
    """

    slot = models.DateTimeField(help_text="When the five minutes begin, UTC.")
    origin = models.CharField(
        max_length=8, help_text="Who caused the errors; empty for requests without an error."
    )
    shard = models.PositiveSmallIntegerField()
    pk = models.CompositePrimaryKey("slot", "status", "origin", "shard")

    def __str__(self) -> str:
        return f"{self.slot:%Y-%m-%d %H:%M}: {self.requests} requests"


class AnswerTimes(models.Model):
    """How many answered requests of an hour took about so long: one bar of a histogram.

    `api/usage/spans/time_buckets.py` tells the time of a bucket.
    """

    slot = models.DateTimeField(help_text="When the hour begins, UTC.")
    measure = models.CharField(max_length=12, help_text="For example <code>first_byte</code>.")
    bucket = models.PositiveSmallIntegerField()
    shard = models.PositiveSmallIntegerField()
    requests = models.BigIntegerField()
    pk = models.CompositePrimaryKey("slot", "measure", "bucket", "shard")

    def __str__(self) -> str:
        return f"{self.slot:%Y-%m-%d %H:00} {self.measure} {self.bucket}: {self.requests} requests"
