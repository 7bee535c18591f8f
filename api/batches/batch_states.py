"""The rows of batches: claim one, report how far it has come, and how it ended.

The process that works on a batch has its lease (`running_until`) and its latest run number. It
writes to the row only while both are its own. The functions are for a database thread.
"""

from collections.abc import Collection
from typing import NamedTuple

from django.conf import settings
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from api.batches import part_files
from api.batches.lines.input_lines import InputSummary
from api.batches.part_files import Tally
from api.models import Batch, BatchQuerySet, BatchStatus
from api.models.batch import TIME_COLUMNS
from providers import task_progress
from providers.database.leases import is_free
from providers.protocol.json_types import JsonObject

CLAIMABLE_AT_A_TIME = 500  # rows that one look reads
# a batch that is being ended cannot be cancelled any more
CANCELLABLE = (BatchStatus.VALIDATING, BatchStatus.IN_PROGRESS)


class RunId(NamedTuple):
    """One run of a batch: only the latest one may write."""

    batch_id: str
    run_number: int

    def find_rows(self) -> BatchQuerySet:
        """Return the batch's row while this is its latest run and it is open."""
        rows = Batch.objects.filter_open()
        return rows.filter(pk=self.batch_id, run_number=self.run_number)


class Reported(NamedTuple):
    """The state of a batch's row that a process gets when it reports the progress."""

    is_cancelled: bool
    is_expired: bool


def has_claimable_batches() -> bool:
    """Return whether there are batches on which nobody works."""
    return find_claimable().exists()


def find_claimable() -> BatchQuerySet:
    """Return the open batches whose lease nobody has."""
    return Batch.objects.filter_open().filter(is_free("running_until"))


def claim_batches(most: int, own: Collection[str] = ()) -> list[Batch]:
    """Take the lease of at most `most` batches on which nobody works, the oldest first.

    `own` are batches that this process still works on. A batch whose input file is in another home
    is left to the processes there, until it expires.
    """
    claimed: list[Batch] = []
    candidates = find_claimable().exclude(pk__in=own).order_by("created_at")
    for row in candidates[:CLAIMABLE_AT_A_TIME]:
        if len(claimed) == most:
            break
        if not part_files.find_input(row.pk).exists() and row.expires_at > timezone.now():
            continue
        same_run = Batch.objects.filter_open().filter(pk=row.pk, run_number=row.run_number)
        has_lease = same_run.claim_lease(
            "running_until", settings.BATCH_LEASE_SECONDS, run_number=F("run_number") + 1
        )
        if has_lease:
            row.refresh_from_db()
            claimed.append(row)
    return claimed


def release_batch(run: RunId) -> None:
    """Give a batch back: another process may go on with it at once."""
    run.find_rows().release_lease("running_until")


def mark_in_progress(run: RunId, summary: InputSummary) -> None:
    """Write the result of the check of a batch without errors."""
    run.find_rows().filter(status=BatchStatus.VALIDATING).update(
        status=BatchStatus.IN_PROGRESS,
        in_progress_at=Now(),
        total_count=summary.line_count,
        model=summary.model[: Batch._meta.get_field("model").max_length],
    )


def report_batch(run: RunId, tally: Tally | None) -> Reported | None:
    """Renew the lease and write how many lines are done; return what the row says, or None.

    None: another process works on the batch, or it is gone. Without a `tally` the counts stay.
    """
    rows = run.find_rows()
    counts = {} if tally is None else list_count_columns(tally)
    renewed = rows.renew_lease("running_until", settings.BATCH_LEASE_SECONDS, **counts)
    if not renewed:
        return None
    times = rows.annotate(now=Now()).values("cancelling_at", "expires_at", "now").first()
    if times is None:
        return None
    return Reported(times["cancelling_at"] is not None, times["expires_at"] <= times["now"])


def list_count_columns(tally: Tally) -> dict[str, int]:
    """Return the columns of a batch that count its results."""
    usage = tally.usage
    return {
        "completed_count": tally.completed,
        "failed_count": tally.failed,
        "input_tokens": usage.input,
        "cached_tokens": usage.cached,
        "output_tokens": usage.output,
        "reasoning_tokens": usage.reasoning,
    }


def mark_cancelling(batches: BatchQuerySet) -> int:
    """Cancel batches: lines that have not begun are not asked. Return how many were cancelled."""
    rows = batches.filter(status__in=CANCELLABLE)
    return rows.update(status=BatchStatus.CANCELLING, cancelling_at=Now())


def mark_finalizing(run: RunId) -> bool:
    """Write that the files of a batch are being made; return whether the run may make them.

    A batch that is being cancelled keeps its status.
    """
    rows = run.find_rows()
    rows.filter(status=BatchStatus.IN_PROGRESS).update(
        status=BatchStatus.FINALIZING, finalizing_at=Now()
    )
    return bool(rows.renew_lease("running_until", settings.BATCH_LEASE_SECONDS))


def mark_ended(run: RunId, status: BatchStatus, columns: JsonObject) -> bool:
    """Write the end of a batch and these columns; return whether this run could write it."""
    times = {TIME_COLUMNS[status]: Now()}
    return bool(run.find_rows().release_lease("running_until", status=status, **times, **columns))


def end_progress(batch: Batch, text: str, *, failed: bool) -> None:
    """Write the end of a batch to its task on the live board."""
    if batch.progress_id is not None:
        task_progress.finish_progress(batch.progress_id, text, failed=failed)
