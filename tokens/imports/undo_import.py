"""Undo an import: delete the tokens that it made, and the accounts that came with it.

Tokens that were used already stay, unless the person says otherwise. Changes of rows that were
there before, which are new passwords of known accounts, cannot be taken back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q
from django.db.models.functions import Now

from providers.deletions import deletion_jobs
from tokens.imports.batch_model import BatchState, ImportBatch
from tokens.imports.verdicts import UPDATED
from tokens.models import UpstreamAccount, UpstreamToken
from tokens.querysets import DELETED_REASON, TokenQuerySet

TOKENS_AT_ONCE = 1_000
DELETION_SECONDS = 600.0  # much longer than one slice takes
LEASE_SECONDS = 60.0
WAS_USED = Q(requests__gt=0) | Q(failures__gt=0) | Q(last_used_at__isnull=False)
UNDOABLE_STATES = (BatchState.IMPORTED, BatchState.UNDONE)


@dataclass(frozen=True, slots=True)
class UndoSummary:
    """Numbers for the person who wants to undo an import."""

    unused_count: int
    used_count: int
    changed_passwords: int


def list_tokens(batch: ImportBatch) -> TokenQuerySet:
    """Return the tokens of the batch without those that are being deleted."""
    tokens: TokenQuerySet = UpstreamToken.objects.filter(import_batch=batch)
    return tokens.exclude(state="disabled", reason=DELETED_REASON)


def list_used_tokens(batch: ImportBatch) -> TokenQuerySet:
    """Return the tokens of the batch that requests used."""
    return list_tokens(batch).filter(WAS_USED)


def summarize_undo(batch: ImportBatch) -> UndoSummary:
    """Return how many rows an undo of the batch would delete, keep and leave changed."""
    used_count = list_used_tokens(batch).count()
    return UndoSummary(
        list_tokens(batch).count() - used_count, used_count, batch.counts.get(UPDATED, 0)
    )


def start_undo(batch: ImportBatch, *, by: str, deletes_used: bool) -> bool:
    """Let a batch be undone. Return whether this call did: a second one does not."""
    rows = ImportBatch.objects.filter(pk=batch.pk, state__in=UNDOABLE_STATES)
    return bool(
        rows.update(
            state=BatchState.UNDOING, deletes_used=deletes_used, undone_by=by, progress=None
        )
    )


def undo_batch(batch: ImportBatch, report: Callable[[int], bool]) -> None:
    """Delete the tokens of the batch, some hundred at a time; used ones only if that is wanted."""
    tokens = list_tokens(batch) if batch.deletes_used else list_tokens(batch).exclude(WAS_USED)
    deleted_count = batch.counts.get("deleted", 0)
    may_go_on = True
    while may_go_on and (
        ids := list(tokens.order_by("pk").values_list("pk", "account")[:TOKENS_AT_ONCE])
    ):
        delete_tokens(batch, ids)
        deleted_count += len(ids)
        batch.counts = batch.counts | {"deleted": deleted_count}
        ImportBatch.objects.filter(pk=batch.pk).renew_lease(
            "working_until", LEASE_SECONDS, counts=batch.counts
        )
        may_go_on = report(deleted_count)
    batch.counts = batch.counts | {"kept": list_tokens(batch).count()}
    ImportBatch.objects.filter(pk=batch.pk, state=BatchState.UNDOING).update(
        state=BatchState.UNDONE, undone_at=Now(), counts=batch.counts
    )


def delete_tokens(batch: ImportBatch, ids: Sequence[tuple[UUID, UUID | None]]) -> None:
    """Delete tokens with these ids and accounts: an account takes its token along."""
    account_ids = [account_id for _, account_id in ids if account_id is not None]
    token_ids = [token_id for token_id, account_id in ids if account_id is None]
    for rows in (
        UpstreamToken.objects.filter(pk__in=token_ids),
        UpstreamAccount.objects.filter(pk__in=account_ids),
    ):
        deletions = deletion_jobs.create_deletions(rows, batch.undone_by)
        deletion_jobs.continue_deletions(deletions, DELETION_SECONDS)
