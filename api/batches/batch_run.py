"""One run of a batch by one process: check its lines, answer them, end it.

A run goes on where the last one ended: it asks the lines that have no result on the disk. When its
process is killed, the next run asks the lines that were in flight once more, and no other.
"""

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import Error as AnyDatabaseError
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from api.batches import batch_states, finish_batch, part_files
from api.batches.batch_states import Reported, RunId
from api.batches.finish_batch import EndReason
from api.batches.lines.input_lines import check_input_file
from api.batches.lines.line_request import LineSender
from api.batches.lines.line_runner import LineRunner, read_key_digest
from api.batches.lines.line_source import LineSource
from api.batches.lines.result_log import BATCH_WORK, ResultLog
from api.batches.part_files import PartWriter, Tally
from api.models import Batch, BatchStatus
from providers import task_progress
from providers.database.database_errors import log_unless_outage
from providers.database.database_threads import HOUSEKEEPING

if TYPE_CHECKING:
    from api.relay.gateway import Gateway

logger = logging.getLogger(__name__)

REPORT_SECONDS = 1.0
LEASE_SHARE = 0.8  # of the lease: after so long without a renewal another process may have it


async def run_batch(gateway: "Gateway", batch: Batch) -> None:
    """Work on a batch whose lease this process has, until it ends or the process does.

    When the disk or the database fails, the lease ends by itself and the next run goes on.
    """
    try:
        await BatchRun(gateway, batch).run()
    except (OSError, AnyDatabaseError) as error:
        logger.error("the batch %s is taken up again later: %s", batch.pk, error)


class BatchRun:
    """One run of a batch."""

    def __init__(self, gateway: "Gateway", batch: Batch) -> None:
        self._gateway = gateway
        self._batch = batch
        self._id = RunId(batch.pk, batch.run_number)
        self._tally: Tally | None = None  # None: not read yet
        self._runner: LineRunner | None = None
        self._has_lost_lease = False

    async def run(self) -> None:
        """Check, answer and end the batch. Raises OSError, DatabaseError."""
        report_task = asyncio.create_task(self._report_until_lost())
        try:
            if await BATCH_WORK.run_work(self._prepare):
                await self._answer_and_finish()
        finally:
            report_task.cancel()

    def _prepare(self) -> bool:
        """Check the lines of a new batch, or read what is done of an old one; in a thread.

        Returns False when the batch has failed. Writes the row.
        """
        batch = self._batch
        if batch.status == BatchStatus.VALIDATING and not self._check_lines():
            return False
        batch.refresh_from_db()
        self._tally = part_files.read_tally(batch.pk, batch.total_count)
        return True

    def _check_lines(self) -> bool:
        """Check the lines of a new batch; return False when it has failed."""
        batch = self._batch
        path = part_files.find_input(batch.pk)
        if not path.exists():  # it has expired, too
            return True
        summary = check_input_file(path, batch.endpoint)
        if summary.errors:
            finish_batch.fail_batch(batch, self._id, summary.errors)
            return False
        batch_states.mark_in_progress(self._id, summary)
        title = _("Batch of %(user)s") % {"user": batch.user.get_username()}
        progress = task_progress.create_progress(
            "batch",
            title,
            total=summary.line_count,
            started_by=batch.user.get_username(),
            url=reverse("admin:api_batch_change", args=[batch.pk]),
        )
        self._id.find_rows().update(progress_id=progress.pk)
        return True

    async def _answer_and_finish(self) -> None:
        """Answer the lines that have no result, and end the batch unless the process ends."""
        tally = self._tally
        assert tally is not None  # noqa: S101 - it was read
        reason = self._find_end_reason()
        if reason is None:
            reason = await self._answer_lines(tally)
        if self._has_lost_lease:
            return
        if reason is None:
            await HOUSEKEEPING.run_work(batch_states.release_batch, self._id)
            return
        await BATCH_WORK.run_work(finish_batch.finish_batch, self._batch, self._id, tally, reason)

    def _find_end_reason(self) -> EndReason | None:
        """Return why no line of the batch may be asked, by its row."""
        if self._batch.cancelling_at is not None:
            return EndReason.CANCELLED
        return EndReason.EXPIRED if self._batch.expires_at <= timezone.now() else None

    async def _answer_lines(self, tally: Tally) -> EndReason | None:
        """Answer lines until all have a result or the run stops.

        Returns why the batch ends; None: the next run goes on. Raises OSError.
        """
        batch = self._batch
        digest = await HOUSEKEEPING.run_work(read_key_digest, batch.key_id)
        if not digest:
            return EndReason.KEY_INVALID
        sender = LineSender(batch.endpoint, digest, batch.caller_address or "")
        log = ResultLog(PartWriter(batch.pk, batch.run_number), tally)
        source = LineSource(part_files.find_input(batch.pk), tally)
        runner = self._runner = LineRunner(self._gateway, batch, sender, log)
        try:
            tasks = [
                asyncio.create_task(runner.answer_lines(source))
                for _number in range(settings.BATCH_LINES_AT_ONCE)
            ]
            await self._wait_for_tasks(tasks, runner)
        finally:
            self._runner = None
            await log.close()
            source.close()
        is_done = tally.done_count == batch.total_count
        return EndReason.ALL_DONE if is_done else runner.end_reason

    async def _wait_for_tasks(self, tasks: list["asyncio.Task[None]"], runner: LineRunner) -> None:
        """Wait until the tasks end by themselves, or GRACE_SECONDS after the run has stopped.

        Raises the first error of a task. When this is cancelled, the tasks are.
        """
        stop_task = asyncio.create_task(runner.pacer.stopped.wait())
        try:
            all_ended = asyncio.gather(*tasks)
            await asyncio.wait((all_ended, stop_task), return_when=asyncio.FIRST_COMPLETED)
            if not all_ended.done():
                await asyncio.wait([all_ended], timeout=settings.GRACE_SECONDS)
            if all_ended.done():
                await all_ended
        finally:
            stop_task.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # --- the row of the batch ---------------------------------------------------------------------
    async def _report_until_lost(self) -> None:
        """Renew the lease and write the progress every REPORT_SECONDS; stop when the row says so.

        Ends when another process has the batch, or may have it.
        """
        renewed_at = time.monotonic()
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            try:
                reported = await HOUSEKEEPING.run_work(self._report)
                renewed_at = time.monotonic()
            except AnyDatabaseError as error:
                log_unless_outage(error)
                if time.monotonic() - renewed_at < LEASE_SHARE * settings.BATCH_LEASE_SECONDS:
                    continue
                reported = None
            if reported is None:
                self._has_lost_lease = True
                self._stop_lines(None)
                return
            self._obey_row(reported)

    def _report(self) -> Reported | None:
        """Write the progress; return what the row says, None when the lease is lost."""
        reported = batch_states.report_batch(self._id, self._tally)
        if reported is not None and not reported.is_cancelled and self._is_stop_requested():
            batch_states.mark_cancelling(self._id.find_rows())
        return reported

    def _is_stop_requested(self) -> bool:
        """Return whether somebody has stopped the task on the live board; write its progress."""
        batch = self._batch
        if batch.progress_id is None or self._tally is None:
            return False
        return not task_progress.update_progress(batch.progress_id, self._tally.done_count)

    def _obey_row(self, reported: Reported) -> None:
        """Stop the lines of a batch that was cancelled or has expired, or whose process ends."""
        if reported.is_cancelled:
            self._stop_lines(EndReason.CANCELLED)
        elif reported.is_expired:
            self._stop_lines(EndReason.EXPIRED)
        elif self._gateway.is_draining:
            self._stop_lines(None)

    def _stop_lines(self, reason: EndReason | None) -> None:
        """Ask no more lines; None: the next run goes on with them."""
        if self._runner is not None:
            self._runner.stop(reason)
