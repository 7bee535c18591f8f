"""Periodic work on tokens.

Each task reads the work to do from the database, so that a lost or doubled message does no harm.
"""

from datetime import timedelta
from uuid import UUID

from celery import shared_task
from django.conf import settings
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from providers.database.changed_rows import delete_old_tombstones
from tokens.bulk import orders
from tokens.imports import batch_work, import_batches
from tokens.imports.batch_model import ImportBatch
from tokens.maintenance import check_schedule, token_check
from tokens.models import State, Transition, UpstreamToken, WrittenBatch
from tokens.renewal import renew_pool

ENDED_WRITER_AGE = timedelta(days=7)  # a process that wrote nothing for so long has ended
DISABLED_AT_ONCE = 100  # disabled tokens, drawn at random, so that all get their turn


@shared_task
def check(ids: list[str]) -> int:
    """Check the tokens with these ids; return how many work."""
    return check_and_count(UpstreamToken.objects.filter(pk__in=ids))


@shared_task
def check_due() -> int:
    """Check the tokens whose turn it is; return how many work."""
    return check_and_count(check_schedule.claim_due_tokens())


@shared_task
def check_disabled() -> int:
    """Check disabled tokens before their turn comes; return how many work.

    A token that auth failures disabled is enabled if it works.
    """
    disabled = UpstreamToken.objects.filter_maintained().filter(state=State.DISABLED).order_by("?")
    ids_by_provider: dict[int, list[UUID]] = {}
    for token_id, provider_id in disabled.values_list("pk", "provider_id")[:DISABLED_AT_ONCE]:
        ids_by_provider.setdefault(provider_id, []).append(token_id)
    claimed_ids: list[UUID] = []
    for provider_id, ids in ids_by_provider.items():
        claimed_ids += ids[: check_schedule.claim_checks(provider_id, len(ids))]
    return check_and_count(UpstreamToken.objects.filter(pk__in=claimed_ids))


def check_and_count(tokens: QuerySet[UpstreamToken]) -> int:
    findings = token_check.check_upstream_tokens(tokens)
    return sum(finding.outcome == token_check.WORKS for finding in findings)


@shared_task
def renew_soon() -> int:
    """Renew the tokens that expire soon; return how many were renewed."""
    return renew_pool.renew_expiring_tokens()


@shared_task
def refresh_pool(provider_id: int, force: bool = False) -> int:
    """Renew all tokens of a provider, at most once per window unless forced; return how many."""
    report = renew_pool.renew_provider_pool(provider_id, force=force)
    if report is None:
        return 0
    return report.renewed_count


@shared_task
def carry_on_order(task_id: str) -> bool:
    """Work at an action on many tokens, and return whether it is over; a new task has the rest."""
    is_over = orders.continue_order(task_id, settings.ORDER_RUN_SECONDS)
    if not is_over:
        carry_on_order.apply_async((task_id,), retry=False)
    return is_over


@shared_task
def resume_orders() -> int:
    """Carry on the actions whose worker was killed; return how many."""
    task_ids = orders.find_stalled_orders()
    for task_id in task_ids:
        carry_on_order(str(task_id))
    return len(task_ids)


@shared_task
def forget_transitions() -> int:
    """Delete changes of tokens' states older than TRANSITION_DAYS; return how many.

    Also deletes the batch numbers of ended processes and old tombstones.
    """
    WrittenBatch.objects.filter(written_at__lt=Now() - ENDED_WRITER_AGE).delete()
    delete_old_tombstones()
    oldest = timezone.now() - timedelta(days=settings.TRANSITION_DAYS)
    deleted_count, _ = Transition.objects.filter(at__lt=oldest).delete()
    return deleted_count


@shared_task
def work_at_import(batch_id: str) -> bool:
    """Check, import or undo the batch with this id, whichever it waits for."""
    return batch_work.work_at_batch(batch_id)


@shared_task
def carry_on_imports() -> int:
    """Go on with imports whose process died or whose message was lost; return how many.

    Also deletes uploaded texts that nobody imported in time, and old verdicts.
    """
    import_batches.delete_old_texts()
    waiting = ImportBatch.objects.filter_waiting_for_work().values_list("pk", flat=True)
    return sum(batch_work.work_at_batch(batch_id) for batch_id in list(waiting))
