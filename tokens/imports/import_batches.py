"""Check and import an uploaded file as a batch that can be undone.

A batch begins with its sealed text. It is checked: every line gets a verdict and nothing is
written. Then somebody imports or discards it. Both take time, so that a worker may do them: the
state of the batch says what is to be done, and a lease that one process does it. A process that
dies is followed by another, which finds the tokens of the batch and goes on.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta

from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone

from providers.models import Provider
from tokens.imports.batch_model import BatchState, ImportBatch, VerdictPage
from tokens.imports.formats.format_detection import ParsedFile
from tokens.imports.import_run import ImportRun
from tokens.imports.import_text import TextGone, delete_text, read_text, store_text
from tokens.imports.token_import import ImportReport, Verdict, parse_lines

LEASE_SECONDS = 60.0
PAUSE_SECONDS = 0.02  # after each transaction, so that others can use the database
VERDICTS_PER_PAGE = 500
MAX_SOURCE_CHARS = 200
CHARS_OF_A_LINE = 1_000
Report = Callable[[int], bool]


def create_batch(provider: Provider, lines: list[str], *, source: str, by: str) -> ImportBatch:
    """Write a batch with its sealed text; it waits to be checked.

    A document of one long line counts as several, so that the worker checks it.
    """
    batch = ImportBatch.objects.create(
        provider=provider,
        created_by=by,
        source="".join(char for char in source if char.isprintable())[:MAX_SOURCE_CHARS],
        line_count=max(len(lines), sum(map(len, lines)) // CHARS_OF_A_LINE),
    )
    store_text(batch, lines)
    return batch


def start_import(batch: ImportBatch) -> bool:
    """Let a checked batch be imported. Return whether this call did: a second one does not."""
    checked = ImportBatch.objects.filter(pk=batch.pk, state=BatchState.CHECKED)
    return bool(checked.update(state=BatchState.IMPORTING, progress=None))


def discard_batch(batch: ImportBatch) -> bool:
    """Discard a batch that is not imported yet, with its text. Return whether this call did."""
    unimported = ImportBatch.objects.filter(
        pk=batch.pk, state__in=(BatchState.WAITING, BatchState.CHECKED)
    )
    if not unimported.update(state=BatchState.DISCARDED):
        return False
    delete_text(batch)
    return True


# --- the work -------------------------------------------------------------------------------------
def check_batch(batch: ImportBatch, report: Report) -> None:
    """Write a verdict for each line of the batch; no token is written."""
    try:
        parsed = parse_lines(read_text(batch))
    except TextGone:
        discard_batch(batch)
        return
    if judge_and_record(batch, parsed, report, dry_run=True):
        move_batch(batch, BatchState.WAITING, BatchState.CHECKED)
    else:
        discard_batch(batch)


def import_batch(batch: ImportBatch, report: Report) -> None:
    """Write the tokens of the batch. Somebody may stop it: what is written by then stays."""
    try:
        judge_and_record(batch, parse_lines(read_text(batch)), report, dry_run=False)
    except TextGone:  # the process that imported it died when it had done so
        batch.counts = {"new": batch.tokens.count()}
        batch.save(update_fields=["counts"])
    delete_text(batch)
    move_batch(batch, BatchState.IMPORTING, BatchState.IMPORTED, imported_at=Now())


def move_batch(batch: ImportBatch, before: str, after: str, **values: object) -> None:
    """Write the next state of a batch, unless somebody else has changed it."""
    ImportBatch.objects.filter(pk=batch.pk, state=before).update(state=after, **values)


def judge_and_record(
    batch: ImportBatch, parsed: ParsedFile, report: Report, *, dry_run: bool
) -> bool:
    """Judge all lines and write their verdicts in place of earlier ones.

    Return False when `report` says that somebody wants to stop.
    """
    run = ImportRun(batch.provider, dry_run=dry_run, batch=batch)
    recorder = VerdictRecorder(batch)
    may_go_on = True
    for verdicts, done in run.import_all(parsed.lines):
        recorder.add_verdicts(verdicts)
        renew_lease(batch)
        may_go_on = report(done)
        if not may_go_on:
            break
        time.sleep(PAUSE_SECONDS)
    recorder.finish()
    batch.format = parsed.format
    batch.line_count = parsed.line_count
    batch.skipped_count = run.skipped_lines
    batch.counts = dict(recorder.counts)
    batch.save(update_fields=["format", "line_count", "skipped_count", "counts"])
    return may_go_on


def renew_lease(batch: ImportBatch) -> None:
    ImportBatch.objects.filter(pk=batch.pk).renew_lease("working_until", LEASE_SECONDS)


class VerdictRecorder:
    """Writes the verdicts of a batch in pages, in place of those of an earlier run."""

    def __init__(self, batch: ImportBatch) -> None:
        self._batch = batch
        self._waiting: list[Verdict] = []
        self._page_count = 0
        self.counts: Counter[str] = Counter()
        batch.verdict_pages.all().delete()

    def add_verdicts(self, verdicts: list[Verdict]) -> None:
        """Take verdicts, and write the pages that are full."""
        self._waiting += verdicts
        while len(self._waiting) >= VERDICTS_PER_PAGE:
            self._write_page(self._waiting[:VERDICTS_PER_PAGE])
            self._waiting = self._waiting[VERDICTS_PER_PAGE:]

    def finish(self) -> None:
        """Write the last page."""
        if self._waiting:
            self._write_page(self._waiting)
            self._waiting = []

    def _write_page(self, verdicts: list[Verdict]) -> None:
        counts = Counter(verdict.verdict for verdict in verdicts)
        self.counts += counts
        VerdictPage.objects.create(
            batch=self._batch,
            number=self._page_count,
            counts=counts,
            verdicts=[[one.line, one.verdict, one.token, one.reason] for one in verdicts],
        )
        self._page_count += 1


# --- imports that are not checked first -----------------------------------------------------------
def import_as_batch(
    provider: Provider,
    lines: list[str],
    *,
    source: str,
    by: str = "",
    report_progress: Callable[[int], None] = lambda done: None,
) -> tuple[ImportReport, ImportBatch | None]:
    """Import lines at once, as a batch that can be undone.

    Returns the report and the batch; None for a batch that made no token, which is deleted.
    """
    batch = ImportBatch.objects.create(
        provider=provider,
        created_by=by,
        source=source[:MAX_SOURCE_CHARS],
        line_count=len(lines),
        state=BatchState.IMPORTING,
        working_until=timezone.now() + timedelta(seconds=LEASE_SECONDS),
    )

    def report(done: int) -> bool:
        report_progress(done)
        return True

    judge_and_record(batch, parse_lines(lines), report, dry_run=False)
    values = {"imported_at": Now(), "working_until": None}
    move_batch(batch, BatchState.IMPORTING, BatchState.IMPORTED, **values)
    result = ImportReport(list(read_verdicts(batch)), batch.skipped_count)
    if not batch.counts.get("new"):
        batch.delete()
        return result, None
    return result, batch


# --- the verdicts ---------------------------------------------------------------------------------
def read_verdicts(
    batch: ImportBatch, kind: str = "", start: int = 0, limit: int | None = None
) -> Iterator[Verdict]:
    """Yield verdicts in the order of the lines: of one kind if given, from number `start` on.

    Only the pages that hold them are read.
    """
    skipped = start
    remaining = limit
    for page in batch.verdict_pages.only("counts").order_by("number").iterator():
        count = page.counts.get(kind, 0) if kind else sum(page.counts.values())
        if count <= skipped:
            skipped -= count
            continue
        verdicts = [Verdict(*fields) for fields in page.verdicts]
        chosen = [one for one in verdicts if not kind or one.verdict == kind][skipped:]
        skipped = 0
        yield from chosen if remaining is None else chosen[:remaining]
        if remaining is not None:
            remaining -= len(chosen)
            if remaining <= 0:
                return


def delete_old_texts() -> int:
    """Delete the texts that nobody imported in time, and old verdicts. Return how many texts."""
    expired = ImportBatch.objects.filter(text_expires_at__lte=Now())
    count = 0
    for batch in expired.exclude(state=BatchState.IMPORTING):
        count += discard_batch(batch)
    oldest = timezone.now() - timedelta(days=settings.IMPORT_VERDICT_DAYS)
    VerdictPage.objects.filter(batch__created_at__lt=oldest).delete()
    return count
