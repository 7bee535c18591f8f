"""The model Deletion: rows that somebody deleted, and the progress of their removal."""

from django.db import models
from django.db.models import Q

from providers.database.leases import LeaseQuerySet, is_free


class DeletionQuerySet(LeaseQuerySet, models.QuerySet["Deletion"]):
    """Deletions, with the lease `alive_until`."""

    def filter_unfinished(self) -> "DeletionQuerySet":
        """Return the deletions that are not finished."""
        return self.filter(finished_at=None)

    def filter_unclaimed(self) -> "DeletionQuerySet":
        """Return the deletions that no process works at now."""
        return self.filter(is_free("alive_until"))


class Deletion(models.Model):
    """Rows of one model that are being deleted.

    The rows that depend on them are removed in slices (`providers/deletions/deletion_jobs.py`). A
    finished deletion is kept: it says who deleted which rows and when, and under which name usage
    records know them.
    """

    model = models.CharField(max_length=100, help_text="For example <code>auth.user</code>.")
    object_id = models.CharField(max_length=64, blank=True, help_text="Its id, when it is one row.")
    ids = models.JSONField(default=list, help_text="The ids of the rows, as text.")
    name = models.CharField(max_length=200, help_text="What it was called.")
    requested_by = models.CharField(max_length=150, help_text="The user who deleted it.")
    requested_at = models.DateTimeField(auto_now_add=True)
    removed = models.PositiveBigIntegerField(
        default=0, help_text="Rows of all tables that are gone so far."
    )
    alive_until = models.DateTimeField(null=True, help_text="A process works at it until then.")
    finished_at = models.DateTimeField(null=True)

    objects = DeletionQuerySet.as_manager()

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["model", "object_id"], name="deletion_object"),
            models.Index(fields=["id"], condition=Q(finished_at=None), name="deletion_running"),
        ]

    def __str__(self) -> str:
        return self.name
