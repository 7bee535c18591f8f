"""The model of the runs of `backup`, by which the overview knows how old the last one is."""

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

MOST_RUNS = 100  # older ones are deleted
LONGEST_NAME = 255  # characters
LONGEST_REASON = 500


class BackupRun(models.Model):
    """One run of `backup` that has ended; without a reason its file is whole."""

    ended_at = models.DateTimeField(default=timezone.now, db_index=True)
    file_name = models.CharField(max_length=LONGEST_NAME)
    size_bytes = models.BigIntegerField(default=0)
    seconds = models.FloatField(default=0)
    is_encrypted = models.BooleanField(default=False)
    has_files = models.BooleanField(default=True)
    reason = models.CharField(
        max_length=LONGEST_REASON, blank=True, help_text="Why it failed; empty: it is complete."
    )

    class Meta:
        ordering = ["-ended_at"]
        verbose_name = _("backup run")
        verbose_name_plural = _("backup runs")

    def __str__(self) -> str:
        return self.file_name


def record_run(run: BackupRun) -> None:
    """Write the row of a run, and delete those that are too old."""
    run.file_name = run.file_name[-LONGEST_NAME:]
    run.reason = run.reason[:LONGEST_REASON]
    run.save()
    kept = BackupRun.objects.values_list("pk", flat=True)[:MOST_RUNS]
    BackupRun.objects.exclude(pk__in=list(kept)).delete()
