"""The model TaskProgress: how far a long task has come, such as an import or a check of tokens."""

import uuid

from django.db import models
from django.db.models import Q


class TaskProgressQuerySet(models.QuerySet["TaskProgress"]):
    """Tasks and their progress."""

    def filter_unfinished(self) -> "TaskProgressQuerySet":
        """Return the tasks that are not finished."""
        return self.filter(finished_at=None)


class TaskProgress(models.Model):
    """A long task that somebody started, with its progress and its result.

    `providers/task_progress.py` writes it. The page of the task and the live board read it.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=40, help_text="For example <code>token import</code>.")
    title = models.CharField(max_length=200, help_text="For example: Import of keys.txt.")
    text = models.CharField(
        max_length=200, blank=True, help_text="The newest news of it, or its result in one line."
    )
    done = models.PositiveBigIntegerField(default=0, help_text="Rows or steps that are done.")
    total = models.PositiveBigIntegerField(
        default=0, help_text="Rows or steps of all; 0 while nobody knows."
    )
    result = models.JSONField(
        default=dict, blank=True, help_text="Its result for the page of the task; no secrets."
    )
    url = models.CharField(max_length=200, blank=True, help_text="The page with its result.")
    started_by = models.CharField(
        max_length=150, blank=True, help_text="The user who started it; empty: the gateway."
    )
    language = models.CharField(max_length=20, blank=True, help_text="The language of its texts.")
    started_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    failed = models.BooleanField(default=False, help_text="It ended before everything was done.")
    stop_requested = models.BooleanField(default=False, help_text="Somebody wants it to stop.")

    objects = TaskProgressQuerySet.as_manager()

    class Meta:
        ordering = ["-started_at"]
        indexes = [
            models.Index(fields=["started_at"], name="progress_started"),
            models.Index(fields=["updated_at"], name="progress_updated"),
            models.Index(
                fields=["started_at"], condition=Q(finished_at=None), name="progress_running"
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def percent(self) -> int | None:
        """Return how much is done, 0 to 100; None while nobody knows the total."""
        if not self.total:
            return None
        return min(100, self.done * 100 // self.total)
