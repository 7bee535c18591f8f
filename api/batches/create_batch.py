"""Create a batch of one of the caller's files; its lines are checked later, in the background."""

from contextlib import suppress
from datetime import timedelta
from typing import Any, cast

from celery import current_app
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone
from kombu.exceptions import OperationalError
from msgspec import Struct

from api.authentication import Caller
from api.batches import part_files
from api.batches.batch_endpoints import list_endpoints
from api.batches.batch_runner import runs_beside_callers
from api.models import Batch
from api.schemas.item_inputs import validate_metadata
from conversations.files import file_storage
from conversations.models import FilePurpose, StoredFile
from providers.exceptions import InvalidRequest, KeyLimitExceeded, UnknownUrl
from providers.protocol.json_types import JsonObject

COMPLETION_WINDOW = "24h"
RUN_TASK = "api.tasks.run_batches"
SHORTEST_OUTPUT_SECONDS = 3_600
LONGEST_OUTPUT_SECONDS = 2_592_000


class OutputExpiry(Struct):
    """When the output files expire, in OpenAI's form."""

    anchor: str
    seconds: int


class NewBatch(Struct):
    """The body that creates a batch. Source: OpenAI's API reference, "Create batch"."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: JsonObject | None = None
    output_expires_after: OutputExpiry | None = None


BODY_FIELDS = frozenset(NewBatch.__struct_fields__)


def create_batch(caller: Caller, body: JsonObject, address: str | None) -> Batch:
    """Write a new batch and return it; `body` has the shape of NewBatch.

    `address` is that of the caller. The lines run with the rights of the caller's key. Raises
    InvalidRequest, UnknownUrl, KeyLimitExceeded.
    """
    require_known_fields(body)
    user_id = cast(int, caller.user_id)
    file = find_input_file(user_id, body["input_file_id"])
    file_storage.require_file_room(user_id, 0)  # for the results, whose size nobody knows yet
    batch = Batch(
        user_id=user_id,
        key_id=caller.key_id,
        endpoint=body["endpoint"],
        completion_window=COMPLETION_WINDOW,
        input_file_id=file.pk,
        metadata=validate_metadata(body["metadata"]) if body.get("metadata") else None,
        output_seconds=read_output_seconds(body.get("output_expires_after")),
        caller_address=address,
        expires_at=timezone.now() + timedelta(seconds=settings.BATCH_SECONDS),
    )
    try:
        part_files.keep_input(batch.pk, file_storage.path_of(file.pk))
        save_batch(batch)
    except FileNotFoundError:
        part_files.delete_parts(batch.pk)
        raise InvalidRequest(
            "The bytes of this file are not here.", param="input_file_id"
        ) from None
    except BaseException:  # the parts of a batch without a row belong to nobody
        part_files.delete_parts(batch.pk)
        raise
    if not runs_beside_callers():
        transaction.on_commit(send_run_task)
    return batch


def require_known_fields(body: JsonObject) -> None:
    """Raise InvalidRequest unless the body names a batch that can be made."""
    if unknown := sorted(body.keys() - BODY_FIELDS):
        raise InvalidRequest(
            f"Unknown parameter: {unknown[0]!r}.", param=unknown[0], code="unknown_parameter"
        )
    if body["endpoint"] not in list_endpoints():
        raise InvalidRequest(
            f"The endpoint is one of: {', '.join(list_endpoints())}.", param="endpoint"
        )
    if body["completion_window"] != COMPLETION_WINDOW:
        raise InvalidRequest(
            f"The completion_window is {COMPLETION_WINDOW!r}.", param="completion_window"
        )


def find_input_file(user_id: int, file_id: str) -> StoredFile:
    """Return a user's own file with the purpose `batch`. Raises InvalidRequest."""
    try:
        file = file_storage.find_stored_file(user_id, file_id)
    except UnknownUrl as error:
        raise InvalidRequest(error.message, param="input_file_id", code="file_not_found") from None
    if file.purpose != FilePurpose.BATCH:
        raise InvalidRequest(
            f"The input file has the purpose {file.purpose!r}, not 'batch'.",
            param="input_file_id",
            code="invalid_purpose",
        )
    return file


def read_output_seconds(expiry: Any) -> int | None:
    """Return the seconds after which the output files expire, or None. Raises InvalidRequest."""
    if expiry is None:
        return None
    if expiry["anchor"] != "created_at":
        raise InvalidRequest(
            "Output files expire after the anchor created_at.", param="output_expires_after.anchor"
        )
    if not SHORTEST_OUTPUT_SECONDS <= expiry["seconds"] <= LONGEST_OUTPUT_SECONDS:
        raise InvalidRequest(
            f"seconds is from {SHORTEST_OUTPUT_SECONDS} to {LONGEST_OUTPUT_SECONDS}.",
            param="output_expires_after.seconds",
        )
    seconds: int = expiry["seconds"]
    return seconds


@transaction.atomic
def save_batch(batch: Batch) -> None:
    """Write the row, unless the user has too many open batches. Raises KeyLimitExceeded.

    The user's row is locked, so that batches that are made at the same time count each other.
    """
    get_user_model().objects.select_for_update().get(pk=batch.user_id)
    open_count = Batch.objects.of_user(batch.user_id).filter_open().count()
    if open_count >= settings.BATCHES_PER_USER:
        message = f"You have {open_count} unfinished batches; wait until one of them has ended."
        raise KeyLimitExceeded(message, code="too_many_batches", retry_after_seconds=60)
    batch.save(force_insert=True)


def send_run_task() -> None:
    """Let a worker run batches now; without a broker the periodic task does it a little later."""
    with suppress(OperationalError, OSError):
        current_app.send_task(RUN_TASK, retry=False)
