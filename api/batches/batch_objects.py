"""Batches in OpenAI's form."""

from datetime import datetime

from api.models import Batch
from api.models.batch import TIME_COLUMNS
from providers.protocol.json_types import JsonObject


def render_batch(batch: Batch) -> JsonObject:
    """Return OpenAI's batch object. Source: OpenAI's API reference, "The batch object"."""
    errors = {"object": "list", "data": batch.errors} if batch.errors else None
    times = {name: to_timestamp(getattr(batch, name)) for name in TIME_COLUMNS.values()}
    return {
        "id": batch.pk,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": batch.model or None,
        "errors": errors,
        "input_file_id": batch.input_file_id,
        "completion_window": batch.completion_window,
        "status": batch.status,
        "output_file_id": batch.output_file_id or None,
        "error_file_id": batch.error_file_id or None,
        "created_at": to_timestamp(batch.created_at),
        "expires_at": to_timestamp(batch.expires_at),
        **times,
        "request_counts": {
            "total": batch.total_count,
            "completed": batch.completed_count,
            "failed": batch.failed_count,
        },
        "usage": batch.usage,
        "metadata": batch.metadata,
    }


def to_timestamp(time: datetime | None) -> int | None:
    """Return a time as whole seconds since 1970; None stays None."""
    return None if time is None else int(time.timestamp())
