"""Do the work that a batch of imports waits for, once over all processes, with progress."""

from collections.abc import Callable
from uuid import UUID

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from providers.task_progress import create_progress, finish_progress, reporting_progress
from tokens.imports.batch_model import WORKING_STATES, BatchState, ImportBatch
from tokens.imports.import_batches import LEASE_SECONDS, check_batch, import_batch
from tokens.imports.undo_import import list_tokens, undo_batch
from tokens.imports.verdicts import MALFORMED, NEW

Work = Callable[[ImportBatch, Callable[[int], bool]], None]
WORK: dict[str, Work] = {
    BatchState.WAITING: check_batch,
    BatchState.IMPORTING: import_batch,
    BatchState.UNDOING: undo_batch,
}


def work_at_batch(batch_id: UUID | str) -> bool:
    """Do the work that the batch waits for. Return False when another process does it."""
    rows = ImportBatch.objects.filter(pk=batch_id, state__in=WORKING_STATES)
    if not rows.claim_lease("working_until", LEASE_SECONDS):
        return False
    batch = ImportBatch.objects.select_related("provider").get(pk=batch_id)
    try:
        work_with_progress(batch)
    finally:
        ImportBatch.objects.filter(pk=batch_id).release_lease("working_until")
    return True


def work_with_progress(batch: ImportBatch) -> None:
    """Do the work of a batch that this process has the lease of, and report its progress."""
    if batch.progress is None:
        create_batch_progress(batch)
    work = WORK[batch.state]
    with reporting_progress(batch.progress or "") as report:
        work(batch, lambda done: report(done=done))
        batch.refresh_from_db()
        finish_progress(batch.progress or "", describe_result(batch), result=dict(batch.counts))


def create_batch_progress(batch: ImportBatch) -> None:
    """Write the progress of the work that the batch waits for next."""
    titles = {
        BatchState.WAITING: _("Check of %(name)s for %(provider)s"),
        BatchState.IMPORTING: _("Import of %(name)s for %(provider)s"),
        BatchState.UNDOING: _("Undoing the import of %(name)s for %(provider)s"),
    }
    title = titles[BatchState(batch.state)] % {"name": batch, "provider": batch.provider}
    total = batch.line_count
    if batch.state == BatchState.UNDOING:
        total = list_tokens(batch).count() + batch.counts.get("deleted", 0)
    progress = create_progress(
        "token import",
        title,
        total=total,
        started_by=batch.undone_by or batch.created_by,
        url=reverse("admin:tokens_importbatch_change", args=[batch.pk]),
    )
    batch.progress = progress.pk
    ImportBatch.objects.filter(pk=batch.pk).update(progress=progress.pk)


def describe_result(batch: ImportBatch) -> str:
    """Return the result of the work that was done last, in one line."""
    if batch.state == BatchState.UNDONE:
        count = batch.counts.get("deleted", 0)
        return ngettext("%(count)d token deleted.", "%(count)d tokens deleted.", count) % {
            "count": count
        }
    return _("%(new)d new, %(malformed)d malformed.") % {
        "new": batch.counts.get(NEW, 0),
        "malformed": batch.counts.get(MALFORMED, 0),
    }
