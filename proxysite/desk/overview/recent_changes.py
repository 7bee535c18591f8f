"""The latest failures and the latest changes of tokens, equal ones as one line.

Each query is bounded by an index.
"""

from dataclasses import dataclass, field

from django.db.models import Q
from django.utils.functional import Promise
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from api.admin.requests.attempts_table import OUTCOME_COLOURS
from api.models import Status, UsageRecord
from api.usage.error_origins import Origin, find_origin
from providers.admin.page_times import render_time
from tokens.models import State, Transition

MOST_LINES = 8  # of each list
SEARCHED_FAILURES = 100  # latest requests that failed
SEARCHED_REQUESTS = 200  # latest requests, for failures that another token made good
SEARCHED_TRANSITIONS = 200
# outcomes of attempts that are no failures
HARMLESS_OUTCOMES = frozenset((*OUTCOME_COLOURS, "running"))
# statuses of requests that no upstream failed
HARMLESS_STATUSES = (Status.COMPLETE, Status.ABANDONED, Status.REFUSED)
TRANSITION_TONES = {State.ACTIVE: "good", State.DISABLED: "bad"}
ORIGIN_NOTES: dict[str, str | Promise] = {
    Origin.OURS: _("the fault of this gateway"),
    Origin.CALLER: _("the caller's own error"),
}


@dataclass(slots=True)
class FailureLine:
    """Equal failures of upstream calls, or of requests without such a call; the latest `record`."""

    record: UsageRecord
    provider: str
    outcome: str
    reason: str
    origin: str
    count: int = 0
    answered_count: int = 0
    tokens: set[str] = field(default_factory=set)

    @property
    def shown_at(self) -> SafeString | str:
        return render_time(self.record.started_at)

    @property
    def is_all_answered(self) -> bool:
        """Return whether each caller got a whole answer all the same."""
        return self.answered_count == self.count

    @property
    def tone(self) -> str:
        if self.origin == Origin.CALLER:
            return "off"
        return "wait" if self.is_all_answered else "bad"

    @property
    def note(self) -> str | Promise:
        if self.is_all_answered:
            return _("The callers were answered by other attempts.")
        return ORIGIN_NOTES.get(self.origin, "")


def find_failure_lines() -> list[FailureLine]:
    """Return the latest failures, at most MOST_LINES, the newest first.

    They come from the latest requests that failed, and from the latest of all requests: among these
    are failures that another token made good.
    """
    records = UsageRecord.objects.order_by("-id").only(
        "id", "started_at", "model", "status", "http_status", "error_code", "attempts"
    )
    unsuccessful = records.filter(~Q(status="complete")).exclude(status=Status.REFUSED)
    latest = (*unsuccessful[:SEARCHED_FAILURES], *records[:SEARCHED_REQUESTS])
    candidates = {record.pk: record for record in latest}
    lines: dict[tuple[str, ...], FailureLine] = {}
    for record in sorted(candidates.values(), key=lambda record: record.pk, reverse=True):
        for failure in list_failures(record):
            key = (failure.provider, failure.outcome, failure.reason, failure.origin)
            line = lines.setdefault(key, failure)
            line.count += 1
            line.answered_count += record.status == Status.COMPLETE
            line.tokens |= failure.tokens
    return list(lines.values())[:MOST_LINES]


def list_failures(record: UsageRecord) -> list[FailureLine]:
    """Return the failures of one request, the last attempt first."""
    origin = find_origin(record.status, record.http_status, record.error_code)
    failures = [
        FailureLine(
            record,
            str(attempt.get("provider") or ""),
            str(attempt.get("outcome")),
            str(attempt.get("reason") or ""),
            origin,
            tokens={str(attempt["token"])} if attempt.get("token") else set(),
        )
        for attempt in reversed(record.attempts)
        if attempt.get("outcome") not in HARMLESS_OUTCOMES
    ]
    if not failures and record.status not in HARMLESS_STATUSES:
        outcome = record.error_code or record.status
        failures = [FailureLine(record, "", outcome, "", origin)]
    return failures


@dataclass(slots=True)
class TransitionLine:
    """Equal changes of a provider's tokens; `latest` is the newest."""

    latest: Transition
    count: int = 0

    @property
    def shown_at(self) -> SafeString | str:
        return render_time(self.latest.at)

    @property
    def tone(self) -> str:
        return TRANSITION_TONES.get(State(self.latest.after), "wait")


def find_transition_lines() -> list[TransitionLine]:
    """Return the latest changes of tokens, at most MOST_LINES, the newest first."""
    changes = Transition.objects.select_related("token__provider").order_by("-at", "-pk")
    lines: dict[tuple[object, ...], TransitionLine] = {}
    for change in changes[:SEARCHED_TRANSITIONS]:
        key = (change.token.provider_id, change.before, change.after, change.reason)
        lines.setdefault(key, TransitionLine(change)).count += 1
    return list(lines.values())[:MOST_LINES]
