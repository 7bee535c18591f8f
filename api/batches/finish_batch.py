"""End a batch: its results become an output file and an error file of its owner.

Both are written from the parts as a stream, and get their rows in the same transaction in which the
batch ends; so a process that is killed meanwhile leaves a batch that the next one ends. Answers are
paid for: they are kept even where the owner's files take up all the room there is.
"""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from enum import Enum
from itertools import chain

from django.db import transaction
from django.utils import timezone

from api.batches import batch_states, part_files
from api.batches.batch_states import RunId
from api.batches.lines.input_lines import iterate_lines, make_error, read_custom_id
from api.batches.lines.line_outcomes import make_line_id, render_unasked_line
from api.batches.part_files import ERROR, OUTPUT, Tally
from api.models import Batch, BatchStatus
from conversations.files import file_storage, storage_quota
from conversations.models import FilePurpose, StoredFile, new_id
from conversations.models.files import DEFAULT_LIFETIME_SECONDS
from providers.durable_files import write_durable_file
from providers.protocol.json_types import JsonObject

CONTENT_TYPE = "application/jsonl"


class EndReason(Enum):
    """Why no more lines of a batch are asked, with the error of the lines that are left."""

    ALL_DONE = (BatchStatus.COMPLETED, "not_asked", "This request was not executed.")
    EXPIRED = (
        BatchStatus.EXPIRED,
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    )
    CANCELLED = (
        BatchStatus.CANCELLED,
        "batch_cancelled",
        "This request was not executed because the batch was cancelled.",
    )
    KEY_INVALID = (
        BatchStatus.FAILED,
        "invalid_api_key",
        "The API key that made the batch is not valid any more.",
    )
    NO_MONEY = (
        BatchStatus.COMPLETED,
        "insufficient_quota",
        "A budget of the API key that made the batch is spent.",
    )
    OUTPUT_FULL = (
        BatchStatus.COMPLETED,
        "storage_limit_exceeded",
        "The answers of the batch take up all the room there is for them.",
    )

    def __init__(self, status: BatchStatus, code: str, message: str) -> None:
        self.status = status
        self.code = code
        self.message = message


def fail_batch(batch: Batch, run: RunId, errors: list[JsonObject]) -> None:
    """End a batch none of whose lines can be sent."""
    if batch_states.mark_ended(run, BatchStatus.FAILED, {"errors": errors}):
        part_files.delete_parts(batch.pk)
        batch_states.end_progress(batch, str(errors[0]["message"]), failed=True)


def finish_batch(batch: Batch, run: RunId, tally: Tally, reason: EndReason) -> None:
    """Write the files of a batch and its end. Raises OSError, DatabaseError.

    Takes seconds for a large batch.
    """
    if not batch_states.mark_finalizing(run):
        return
    if run.find_rows().exclude(cancelling_at=None).exists():  # its owner was told so
        reason = EndReason.CANCELLED
    line_count = len(tally.has_result)
    output = write_result_file(batch, "output", iterate_texts(batch.pk, line_count, OUTPUT))
    failed = iterate_texts(batch.pk, line_count, ERROR)
    unasked = iterate_unasked_lines(batch, tally, reason)
    errors = write_result_file(batch, "error", chain(failed, unasked))
    columns: JsonObject = {**batch_states.list_count_columns(tally)}
    columns["failed_count"] = line_count - tally.completed
    if reason is EndReason.KEY_INVALID:
        columns["errors"] = [make_error(reason.code, reason.message)]
    if not write_end(run, reason, columns, (output, errors)):
        return
    part_files.delete_parts(batch.pk)
    text = f"{tally.completed} / {line_count}"
    batch_states.end_progress(batch, text, failed=reason.status is BatchStatus.FAILED)


def write_end(
    run: RunId, reason: EndReason, columns: JsonObject, files: tuple[StoredFile | None, ...]
) -> bool:
    """Write the rows of a batch's files and its end; return whether this run could write it.

    Files without a row are deleted.
    """
    output, errors = files
    columns = {
        **columns,
        "output_file_id": output.pk if output is not None else "",
        "error_file_id": errors.pk if errors is not None else "",
    }
    rows = [file for file in files if file is not None]
    has_ended = False
    try:
        with transaction.atomic():
            has_ended = batch_states.mark_ended(run, reason.status, columns)
            if has_ended:
                StoredFile.objects.bulk_create(rows)
    finally:
        if not has_ended:
            for row in rows:
                file_storage.remove_file_bytes(row.pk)
    for row in rows:
        storage_quota.add_stored_bytes(row.user_id, row.size_bytes)
    return has_ended


def write_result_file(batch: Batch, kind: str, texts: Iterator[bytes]) -> StoredFile | None:
    """Write the bytes of a file with these lines, and return its row, which is not written.

    None when there are no lines. Raises OSError.
    """
    first = next(texts, None)
    if first is None:
        return None
    seconds = batch.output_seconds or DEFAULT_LIFETIME_SECONDS[FilePurpose.BATCH_OUTPUT]
    row = StoredFile(
        id=new_id(),
        user_id=batch.user_id,
        filename=f"{batch.pk}_{kind}.jsonl",
        content_type=CONTENT_TYPE,
        purpose=FilePurpose.BATCH_OUTPUT,
        expires_at=timezone.now() + timedelta(seconds=seconds),
    )
    digest = hashlib.sha256()
    row.size_bytes = 0

    def render_lines() -> Iterator[bytes]:
        """Yield the lines, and add their sizes and digest."""
        for text in chain([first], texts):
            line = text + b"\n"
            digest.update(line)
            row.size_bytes += len(line)
            yield line

    write_durable_file(file_storage.path_of(row.pk), render_lines())
    row.sha256 = digest.hexdigest()
    return row


def iterate_texts(batch_id: str, line_count: int, kind: bytes) -> Iterator[bytes]:
    """Yield the lines of the output or error file; of several results of a line, the first."""
    tally = Tally(line_count)
    for result in part_files.iterate_results(batch_id):
        if tally.add_result(result) and result.kind == kind:
            yield result.text


def iterate_unasked_lines(batch: Batch, tally: Tally, reason: EndReason) -> Iterator[bytes]:
    """Yield the lines of the error file for those lines that have no result."""
    path = part_files.find_input(batch.pk)
    if tally.done_count == len(tally.has_result) or not path.exists():
        return
    with path.open("rb") as file:
        for line in iterate_lines(file):
            if line.position < len(tally.has_result) and not tally.has_result[line.position]:
                custom_id = read_custom_id(line.raw)
                line_id = make_line_id(batch.pk, line.position)
                yield render_unasked_line(line_id, custom_id, reason.code, reason.message)
