"""The rows of idempotent requests: claim a key, keep its answer, release it.

The functions here run in a database thread. A key belongs to a user. The request that claims it
first is answered. The claim is a lease (`claimed_until`), which its process renews.
"""

from collections.abc import Mapping
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import Now

from api.models import IdempotentRequest, IdempotentRequestQuerySet
from providers.database.leases import is_expired, time_from_now
from providers.exceptions import IdempotencyInFlight, IdempotencyKeyReused
from providers.protocol.json_types import JsonObject

CLAIM_TRIES = 5  # a row may be deleted between two statements
DELETE_BATCH_ROWS = 500


class KeyedRequest(NamedTuple):
    """A request with a key.

    `digest` is that of its path and body, `holder` the request's own id.
    """

    user_id: int
    key: str
    digest: str
    holder: str


class Claim(NamedTuple):
    """The right to answer a request."""

    row_id: int
    user_id: int
    holder: str


class StoredAnswer(NamedTuple):
    """A stored answer."""

    status: int
    content: bytes


def claim_key(keyed_request: KeyedRequest) -> Claim | StoredAnswer:
    """Write a claim of the request's key, or return the answer that is stored for it.

    Raises IdempotencyKeyReused, IdempotencyInFlight.
    """
    for _ in range(CLAIM_TRIES):
        create_claim(keyed_request)
        row = IdempotentRequest.objects.filter(
            user=keyed_request.user_id, key=keyed_request.key
        ).first()
        if row is None:
            continue  # it was released just now
        if row.holder == keyed_request.holder or take_over_claim(row, keyed_request):
            return Claim(row.pk, keyed_request.user_id, keyed_request.holder)
        return read_stored_answer(row, keyed_request)
    raise in_flight_error()


def create_claim(keyed_request: KeyedRequest) -> None:
    """Write a claim unless there is a row with this key.

    `claim_lease` is not used: a free key has no row.
    """
    IdempotentRequest.objects.bulk_create(
        [
            IdempotentRequest(
                user_id=keyed_request.user_id, key=keyed_request.key, **claim_fields(keyed_request)
            )
        ],
        ignore_conflicts=True,
    )


def take_over_claim(row: IdempotentRequest, keyed_request: KeyedRequest) -> bool:
    """Claim a row that has expired, or whose process is dead; return whether it was one.

    `claim_lease` is not used: an expired row is free although its answer is stored, and a free
    lease is not enough for another request with the same key.
    """
    is_key_free = Q(expires_at__lte=Now())
    is_abandoned = Q(status=None, digest=keyed_request.digest) & is_expired("claimed_until")
    same_row = IdempotentRequest.objects.filter(pk=row.pk, holder=row.holder)
    free_row = same_row.filter(is_key_free | is_abandoned)
    return bool(free_row.update(**claim_fields(keyed_request), created_at=Now()))


def claim_fields(keyed_request: KeyedRequest) -> JsonObject:
    """Return the columns of a row that is claimed now."""
    return {
        "digest": keyed_request.digest,
        "holder": keyed_request.holder,
        "status": None,
        "content": None,
        "size_bytes": 0,
        "claimed_until": time_from_now(settings.IDEMPOTENCY_LEASE_SECONDS),
        "expires_at": time_from_now(settings.IDEMPOTENCY_SECONDS),
    }


def read_stored_answer(row: IdempotentRequest, keyed_request: KeyedRequest) -> StoredAnswer:
    """Return the stored answer.

    Raises IdempotencyKeyReused, IdempotencyInFlight.
    """
    if row.digest != keyed_request.digest:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was used for another request: the body or the endpoint differs."
        )
    if row.status is None:
        raise in_flight_error()
    return StoredAnswer(row.status, bytes(row.content or b""))


def in_flight_error() -> IdempotencyInFlight:
    return IdempotencyInFlight(
        "The first request with this Idempotency-Key is still being answered.",
        retry_after_seconds=1,
    )


# --- the end of a claim ---------------------------------------------------------------------------
def store_answer(claim: Claim, answer: StoredAnswer) -> bool:
    """Write the answer to its row, and return whether it is stored.

    An answer that is too large is not stored, and its key is released.
    """
    if len(answer.content) > settings.IDEMPOTENCY_ANSWER_BYTES:
        release_key(claim)
        return False
    is_stored = claimed_rows(claim).release_lease(
        "claimed_until",
        status=answer.status,
        content=answer.content,
        size_bytes=len(answer.content),
        expires_at=time_from_now(settings.IDEMPOTENCY_SECONDS),
    )
    if is_stored:
        delete_surplus_answers(claim.user_id)
    return bool(is_stored)


def release_key(claim: Claim) -> None:
    """Delete a claim: the next request with its key is answered anew."""
    delete_rows(claimed_rows(claim))


def renew_claims(rows_by_holder: Mapping[str, int]) -> None:
    """Renew the claims that this process works on; `rows_by_holder` maps holders to their rows."""
    unanswered = IdempotentRequest.objects.filter(status=None)
    rows = unanswered.filter(pk__in=rows_by_holder.values(), holder__in=rows_by_holder.keys())
    rows.renew_lease("claimed_until", settings.IDEMPOTENCY_LEASE_SECONDS)


def claimed_rows(claim: Claim) -> IdempotentRequestQuerySet:
    """Return the row of a claim, while the claim is in force."""
    return IdempotentRequest.objects.filter(pk=claim.row_id, holder=claim.holder, status=None)


# --- limits ---------------------------------------------------------------------------------------
def delete_surplus_answers(user_id: int) -> None:
    """Delete a user's oldest answers beyond the limits of number and bytes."""
    answers = IdempotentRequest.objects.filter(user=user_id).exclude(status=None)
    totals = answers.aggregate(keys=Count("pk"), size=Sum("size_bytes"))
    most_keys = settings.IDEMPOTENCY_KEYS_PER_USER
    most_bytes = settings.IDEMPOTENCY_BYTES_PER_USER
    if totals["keys"] <= most_keys and (totals["size"] or 0) <= most_bytes:
        return
    surplus = []
    size = 0
    newest_first = answers.order_by("-created_at", "-pk").values_list("pk", "size_bytes")
    for number, (row_id, size_bytes) in enumerate(newest_first, 1):
        size += size_bytes
        if number > most_keys or size > most_bytes:
            surplus.append(row_id)
    for start in range(0, len(surplus), DELETE_BATCH_ROWS):
        delete_rows(
            IdempotentRequest.objects.filter(pk__in=surplus[start : start + DELETE_BATCH_ROWS])
        )


def delete_expired_answers() -> int:
    """Delete the expired rows, DELETE_BATCH_ROWS in each transaction; return how many."""
    deleted = 0
    while True:
        with transaction.atomic():
            expired = IdempotentRequest.objects.filter(expires_at__lte=Now()).order_by("expires_at")
            row_ids = list(expired.values_list("pk", flat=True)[:DELETE_BATCH_ROWS])
            still_expired = IdempotentRequest.objects.filter(pk__in=row_ids, expires_at__lte=Now())
            deleted += delete_rows(still_expired)
        if len(row_ids) < DELETE_BATCH_ROWS:
            return deleted


def delete_rows(rows: QuerySet[IdempotentRequest]) -> int:
    """Delete rows with one DELETE, as nothing depends on them; return how many."""
    return rows._raw_delete(rows.db)
