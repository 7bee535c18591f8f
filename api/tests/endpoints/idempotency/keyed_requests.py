"""Requests with an `Idempotency-Key`, and the rows of their answers."""

from api.models import IdempotentRequest
from providers.database.database_threads import run_in_thread


def key_header(key="k-1"):
    """Return the header that carries an idempotency key."""
    return {"idempotency-key": key}


async def list_kept_requests():
    """Return the rows of all requests that came with a key."""
    return await run_in_thread(lambda: list(IdempotentRequest.objects.order_by("pk")))


async def is_empty(model):
    """Tell whether a model has no rows."""
    return not await run_in_thread(model.objects.exists)
