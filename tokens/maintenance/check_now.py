"""Check tokens on a person's request: few at once, many by the worker in the background."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from celery import Task
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from kombu.exceptions import OperationalError

from tokens import tasks
from tokens.maintenance import token_check
from tokens.models import UpstreamToken

# one round of calls: a person waits no longer than the timeout of one upstream
MAX_CHECKED_NOW = token_check.CHECKS_AT_ONCE
TOKENS_PER_TASK = 500


@dataclass(frozen=True, slots=True)
class CheckSummary:
    """The result of a check: tokens by outcome, and the number left to the worker."""

    outcomes: Counter[str]
    queued: int = 0

    def __str__(self) -> str:
        """Describe the result for the person who asked."""
        if self.queued:
            return f"{self.queued} tokens are too many to wait for: the worker checks them now."
        if not self.outcomes:
            return "There is no token to check."
        summary = token_check.summarize_outcomes(self.outcomes)
        return f"{self.outcomes.total()} checked: {summary}."


class WorkerUnreachable(Exception):
    """The worker's queue cannot be reached; the message says so to a person."""


def queue_task(task: "Task[..., Any]", *args: object, **options: object) -> None:
    """Queue the task for the worker. Raises WorkerUnreachable at once if that fails."""
    try:
        task.apply_async(args, options, retry=False)
    except (OperationalError, OSError):
        raise WorkerUnreachable(
            _("The worker's queue cannot be reached: nothing was begun.")
        ) from None


def check_or_queue(tokens: QuerySet[UpstreamToken]) -> CheckSummary:
    """Check the tokens now if they are few, else in the background. Raises WorkerUnreachable."""
    ids = list(tokens.order_by().values_list("pk", flat=True))
    if len(ids) <= MAX_CHECKED_NOW:
        findings = token_check.check_upstream_tokens(UpstreamToken.objects.filter(pk__in=ids))
        return CheckSummary(Counter(finding.outcome for finding in findings))
    for start in range(0, len(ids), TOKENS_PER_TASK):
        task_ids = ids[start : start + TOKENS_PER_TASK]
        queue_task(tasks.check, [str(token_id) for token_id in task_ids])
    return CheckSummary(Counter(), len(ids))
