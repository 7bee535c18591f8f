"""Delete old batches, and the files of batches that are gone."""

import time
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils import timezone

from api.batches import part_files
from api.models import Batch
from api.models.batch import OPEN_STATUSES

ROWS_AT_A_TIME = 500
ORPHAN_SECONDS = 3_600.0  # age at which a folder without a row is deleted


def delete_old_batches() -> int:
    """Delete ended batches that are older than BATCH_DAYS, and folders without an open batch.

    Their input and output files are ordinary files, which end by themselves. Returns how many
    batches were deleted.
    """
    oldest = timezone.now() - timedelta(days=settings.BATCH_DAYS)
    old_rows = Batch.objects.filter(created_at__lt=oldest).exclude(status__in=OPEN_STATUSES)
    count = 0
    while ids := list(old_rows.values_list("pk", flat=True)[:ROWS_AT_A_TIME]):
        count += Batch.objects.filter(pk__in=ids).delete()[0]
    delete_orphan_folders()
    return count


def delete_orphan_folders() -> None:
    """Delete the folders of batches that have ended or are gone."""
    newest_timestamp = time.time() - ORPHAN_SECONDS
    folders = part_files.find_batches_folder().iterdir()
    names = [path.name for path in folders if path.stat().st_mtime < newest_timestamp]
    for start in range(0, len(names), ROWS_AT_A_TIME):
        slice_names = names[start : start + ROWS_AT_A_TIME]
        open_rows = Batch.objects.filter_open().filter(pk__in=slice_names)
        for name in set(slice_names) - set(open_rows.values_list("pk", flat=True)):
            part_files.delete_parts(name)


@receiver(post_delete, sender=Batch)
def delete_parts_on_commit(instance: Batch, **signal: Any) -> None:
    """Delete the folder of a deleted batch once its transaction is committed."""
    batch_id = instance.pk
    transaction.on_commit(lambda: part_files.delete_parts(batch_id))
