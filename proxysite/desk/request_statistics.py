"""The dashboard's requests: their numbers in the last hour and day, and the latest failures.

Every count is bounded by an index: requests are counted in a range of their ids, which are in the
order of time. Requests that a limit refused are counted, but are no failures.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta

from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from api.admin.requests.attempts_table import OUTCOME_COLOURS, load_token_masks
from api.models import Status, UsageRecord
from api.request_ids import first_id_at

MOST_LINES = 8  # lines of recent failures, and of recent changes
SEARCHED_REQUESTS = 200  # latest requests, for failures that another token made good
MOST_COUNTED = 50_000  # requests of a span; beyond it the page says “more”
# outcomes of attempts that are no failures
HARMLESS_OUTCOMES = frozenset((*OUTCOME_COLOURS, "running"))
# statuses of requests that no upstream failed
HARMLESS_STATUSES = (Status.COMPLETE, Status.ABANDONED, Status.REFUSED)


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """The number of requests in a span of time; a count of MOST_COUNTED may be more."""

    name: str
    requests: int
    errors: int
    is_capped: bool


def count_records(records: QuerySet[UsageRecord]) -> int:
    """Return how many requests the latest MOST_COUNTED of these records stand for."""
    latest = records.order_by("-id").values("request_count")[:MOST_COUNTED]
    return int(latest.aggregate(requests=Coalesce(Sum("request_count"), 0))["requests"])


def filter_failed(records: QuerySet[UsageRecord]) -> QuerySet[UsageRecord]:
    """Return the records of requests that failed; the first condition has an index."""
    return records.filter(~Q(status="complete")).exclude(status__in=HARMLESS_STATUSES)


def count_requests(name: str, length: timedelta) -> RequestCounts:
    records = UsageRecord.objects.filter(id__gte=first_id_at(timezone.now() - length))
    requests = count_records(records)
    errors = count_records(filter_failed(records))
    return RequestCounts(name, requests, errors, requests >= MOST_COUNTED)


@dataclass(frozen=True, slots=True)
class RecentFailure:
    """One upstream call that failed, or a request that failed before any call.

    `token` is masked; `list_failed_attempts` gives its id.
    """

    record: UsageRecord
    provider: str = ""
    token: str = ""
    outcome: str = ""
    reason: str = ""

    @property
    def was_answered(self) -> bool:
        """Return whether the caller got a whole answer all the same."""
        return self.record.status == Status.COMPLETE


def find_recent_failures() -> list[RecentFailure]:
    """Return the latest failures, at most MOST_LINES.

    They come from the latest requests that failed, and from the latest SEARCHED_REQUESTS requests:
    among these are failures that another token made good.
    """
    records = UsageRecord.objects.order_by("-id").only(
        "id", "started_at", "model", "status", "error_code", "attempts"
    )
    unsuccessful = records.filter(~Q(status="complete")).exclude(status=Status.REFUSED)
    failed = unsuccessful[: MOST_LINES * 2]
    candidates = {record.pk: record for record in (*failed, *records[:SEARCHED_REQUESTS])}
    failures: list[RecentFailure] = []
    for record in sorted(candidates.values(), key=lambda record: record.pk, reverse=True):
        failures += list_failed_attempts(record)
        if len(failures) >= MOST_LINES:
            break
    return mask_tokens(failures[:MOST_LINES])


def mask_tokens(failures: Iterable[RecentFailure]) -> list[RecentFailure]:
    """Return the failures with masked tokens in place of their ids; deleted tokens are ""."""
    listed = list(failures)
    masks = load_token_masks([{"token": failure.token} for failure in listed])
    return [replace(failure, token=masks.get(failure.token, "")) for failure in listed]


def list_failed_attempts(record: UsageRecord) -> list[RecentFailure]:
    """Return the failures of one request, the last attempt first; tokens are given by their ids."""
    failures = [
        RecentFailure(
            record,
            str(attempt.get("provider") or ""),
            str(attempt.get("token") or ""),
            str(attempt.get("outcome")),
            str(attempt.get("reason") or ""),
        )
        for attempt in reversed(record.attempts)
        if attempt.get("outcome") not in HARMLESS_OUTCOMES
    ]
    if not failures and record.status not in HARMLESS_STATUSES:
        failures = [RecentFailure(record, outcome=record.error_code or record.status)]
    return failures
