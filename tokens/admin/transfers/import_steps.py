"""Begin the work that a batch of imports waits for: small batches at once, others in the worker."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext as _

from tokens.imports.batch_model import ImportBatch
from tokens.imports.batch_work import create_batch_progress, work_at_batch
from tokens.maintenance.check_now import WorkerUnreachable, queue_task
from tokens.tasks import work_at_import


def begin_work(request: HttpRequest, batch: ImportBatch) -> None:
    """Do the work of a small batch now; let the worker do that of a larger one.

    Tells the person when the worker cannot be reached: it goes on when it can.
    """
    batch.refresh_from_db()
    if batch.line_count <= settings.IMPORT_INLINE_LINES:
        work_at_batch(batch.pk)
        return
    if batch.progress is None:
        create_batch_progress(batch)
    try:
        queue_task(work_at_import, str(batch.pk))
    except WorkerUnreachable:
        messages.warning(
            request, _("The worker cannot be reached now; it begins as soon as it can.")
        )
