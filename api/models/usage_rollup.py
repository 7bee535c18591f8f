"""Roll-ups: the sums of usage records by the hour and by the day, and what was spent.

They are written in the transaction that writes the records (`api/usage/rollup_triggers.py` for
Postgres, `api/usage/folding.py` for SQLite), and stay when old records are deleted. Columns of
other rows are never empty: 0, an empty text and the nil UUID stand for nobody, so that a row of
sums is found by its key.
"""

import uuid

from django.db import models

from providers.database.leases import LeaseQuerySet

NIL_UUID = uuid.UUID(int=0)
ROLLUP_KEYS = (
    "slot",
    "key_id",
    "user_id",
    "team_id",
    "model",
    "provider_id",
    "token_id",
    "status",
)


class UsageSums(models.Model):
    """The sums of requests that ended alike."""

    status = models.CharField(max_length=16)
    requests = models.BigIntegerField()
    prompt_tokens = models.BigIntegerField()
    completion_tokens = models.BigIntegerField()
    reasoning_tokens = models.BigIntegerField()
    cached_tokens = models.BigIntegerField()
    cache_write_tokens = models.BigIntegerField()
    cost_micro_usd = models.BigIntegerField(help_text="In millionths of a USD.")
    unknown_cost_requests = models.BigIntegerField(
        help_text="Requests whose cost is unknown; those that a limit refused are not among them."
    )

    class Meta:
        abstract = True


class SubjectSums(UsageSums):
    """The sums of the requests of one subject: the columns of hours and days."""

    key_id = models.BigIntegerField()
    user_id = models.BigIntegerField()
    team_id = models.BigIntegerField()
    model = models.CharField(max_length=200)
    provider_id = models.BigIntegerField()
    token_id = models.UUIDField()

    class Meta:
        abstract = True


class UsageHour(SubjectSums):
    """The sums of the requests that began in one hour."""

    slot = models.DateTimeField(help_text="When the hour begins, UTC.")
    pk = models.CompositePrimaryKey(*ROLLUP_KEYS)

    class Meta:
        indexes = [
            models.Index(fields=["key_id", "slot"], name="usage_hour_key"),
            models.Index(fields=["user_id", "slot"], name="usage_hour_user"),
        ]

    def __str__(self) -> str:
        return f"{self.slot:%Y-%m-%d %H:00}: {self.requests} requests"


class UsageHourTotal(UsageSums):
    """The sums of all requests that began in one hour, for charts of many hours.

    On Postgres they are the sum of several rows: each connection adds to its own `shard`, so that
    no two processes wait for each other here.
    """

    slot = models.DateTimeField(help_text="When the hour begins, UTC.")
    shard = models.PositiveSmallIntegerField()
    pk = models.CompositePrimaryKey("slot", "status", "shard")

    def __str__(self) -> str:
        return f"{self.slot:%Y-%m-%d %H:00}: {self.requests} requests"


class UsageDay(SubjectSums):
    """The sums of the requests that began on one day, in UTC."""

    slot = models.DateField(help_text="The day, in UTC.")
    pk = models.CompositePrimaryKey(*ROLLUP_KEYS)

    class Meta:
        indexes = [
            models.Index(fields=["key_id", "slot"], name="usage_day_key"),
            models.Index(fields=["user_id", "slot"], name="usage_day_user"),
        ]

    def __str__(self) -> str:
        return f"{self.slot}: {self.requests} requests"


class SubjectKind(models.TextChoices):
    """The kind of subject whose spending a row of `Spend` has."""

    KEY = "key", "API key"
    USER = "user", "user"
    TEAM = "team", "team"
    END_USER = "end_user", "end user"


class Spend(models.Model):
    """The cost of one subject's requests that began in a quarter of an hour, or altogether.

    A request counts for its key, its user, the team that its user was in, each team above that, and
    its end user, where the key has limits for each of them.
    The row of the slot 1970-01-01 00:00 has the sum of all others of its subject. Time zones differ
    by whole quarters of an hour, so the slots of a day in any of them can be added up.
    """

    subject_kind = models.CharField(max_length=8, choices=SubjectKind)
    subject_id = models.BigIntegerField()
    slot = models.DateTimeField(help_text="When the quarter of an hour begins, UTC.")
    micro_usd = models.BigIntegerField(help_text="In millionths of a USD.")
    pk = models.CompositePrimaryKey("subject_kind", "subject_id", "slot")

    def __str__(self) -> str:
        return f"{self.subject_kind} {self.subject_id}: {self.micro_usd} micro-USD"


class RollupStateQuerySet(LeaseQuerySet, models.QuerySet["RollupState"]):
    """The one row, with the lease `claimed_until`."""


class RollupState(models.Model):
    """How far the roll-ups are: one row, with the id 1. Without it nothing has been done yet."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    folded_record = models.UUIDField(
        null=True,
        help_text="SQLite: the last record in the order of writing that the roll-ups contain.",
    )
    needs_rebuild = models.BooleanField(
        default=False, help_text="There are records from before the roll-ups that they lack."
    )
    records_from = models.DateTimeField(
        null=True, help_text="Records of requests that began before then were deleted."
    )
    claimed_until = models.DateTimeField(null=True, help_text="A process repairs until then.")

    objects = RollupStateQuerySet.as_manager()

    def __str__(self) -> str:
        return "state of the roll-ups"
