"""Read news beside requests from the database: changes of tokens, breakers and tasks.

All functions are for database threads, and return JSON for the board.
"""

from datetime import datetime, timedelta

from django.db import connection
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone

from api.models import UsageRecord
from providers.models import Deletion, TaskProgress
from providers.protocol.json_types import JsonObject
from proxysite.desk.live.samples import SHOWN_COLUMNS
from tokens.models import BreakerState, Transition

MOST_CHANGES = 30  # of tokens in one reading; of more, the latest are shown
MOST_BREAKERS = 20
BREAKER_DAYS = 1  # a closed breaker that changed earlier is no news
MOST_TASKS = 20
ENDED_TASK_SECONDS = 120  # a finished task stays on the board for so long
SILENT_TASK_HOURS = 6  # a task that reported nothing for so long has died
# changes whenever something is news that is not news because time has passed
MARKER_SQL = f"""
SELECT (SELECT max(id) FROM {Transition._meta.db_table}),
       (SELECT max(changed_at) FROM {BreakerState._meta.db_table}),
       (SELECT max(updated_at) FROM {TaskProgress._meta.db_table}),
       (SELECT max(finished_at) FROM {TaskProgress._meta.db_table}
        WHERE updated_at = (SELECT max(updated_at) FROM {TaskProgress._meta.db_table})),
       (SELECT count(*) FROM {Deletion._meta.db_table} WHERE finished_at IS NULL),
       (SELECT sum(removed) FROM {Deletion._meta.db_table} WHERE finished_at IS NULL)
"""  # noqa: S608 - the names of tables only
HISTORY_FIELDS = (*SHOWN_COLUMNS, "model", "attempts")


def read_marker() -> tuple[object, ...]:
    """Return values that differ when a token, a breaker, a task or a deletion has changed.

    It costs a hundredth of reading the news. A change that one transaction hides from it, because a
    later one was committed before, is found by the next reading of everything.
    """
    with connection.cursor() as cursor:
        cursor.execute(MARKER_SQL)
        return tuple(cursor.fetchone() or ())


def read_pool_changes() -> list[JsonObject]:
    """Return the latest changes of tokens' states, oldest first."""
    rows = Transition.objects.order_by("-pk").values(
        "pk",
        "at",
        "before",
        "after",
        "reason",
        "cause",
        "token_id",
        masked=F("token__masked"),
        provider=F("token__provider__name"),
    )[:MOST_CHANGES]
    return [
        {
            **row,
            "pk": f"token-{row['pk']}",
            "url": reverse("admin:tokens_upstreamtoken_change", args=[row["token_id"]]),
            "token_id": None,
        }
        for row in reversed(rows)
    ]


def read_breakers() -> list[JsonObject]:
    """Return the circuit breakers that are open or changed lately, the latest first."""
    now = timezone.now()
    is_shown = Q(open_until__isnull=False) | Q(changed_at__gt=now - timedelta(days=BREAKER_DAYS))
    rows = (
        BreakerState.objects.filter(is_shown)
        .order_by("-changed_at")
        .values("open_until", "changed_at", "reason", "provider_id", name=F("provider__name"))[
            :MOST_BREAKERS
        ]
    )
    return [describe_breaker(dict(row), now) for row in rows]


def describe_breaker(row: JsonObject, now: datetime) -> JsonObject:
    state = name_breaker_state(row["open_until"], now)
    return {
        "pk": f"breaker-{row['provider_id']}-{row['changed_at'].timestamp():.3f}-{state}",
        "provider": row["name"],
        "state": state,
        "at": row["changed_at"],
        "open_until": row["open_until"],
        "reason": row["reason"],
        "url": reverse("admin:providers_provider_change", args=[row["provider_id"]]),
    }


def name_breaker_state(open_until: datetime | None, now: datetime) -> str:
    """Return "closed", "open", or "half-open" when the next request finds out."""
    if open_until is None:
        return "closed"
    return "open" if open_until > now else "half-open"


def read_tasks() -> list[JsonObject]:
    """Return the tasks that run, and those that have just ended; deletions are tasks too."""
    now = timezone.now()
    running = Q(finished_at=None, updated_at__gt=now - timedelta(hours=SILENT_TASK_HOURS))
    ended = Q(finished_at__gt=now - timedelta(seconds=ENDED_TASK_SECONDS))
    tasks = TaskProgress.objects.filter(running | ended)[:MOST_TASKS]
    deletions = Deletion.objects.filter_unfinished()[:MOST_TASKS]
    return [describe_task(task) for task in tasks] + [describe_deletion(row) for row in deletions]


def describe_task(task: TaskProgress) -> JsonObject:
    return {
        "pk": str(task.pk),
        "kind": task.kind,
        "title": task.title,
        "text": task.text,
        "done": task.done,
        "total": task.total,
        "started_by": task.started_by,
        "started_at": task.started_at,
        "finished_at": task.finished_at,
        "failed": task.failed,
        "url": task.url or reverse("task-progress", args=[task.pk]),
    }


def describe_deletion(deletion: Deletion) -> JsonObject:
    return {
        "pk": f"deletion-{deletion.pk}",
        "kind": "deletion",
        "title": deletion.name,
        "text": "",
        "done": deletion.removed,
        "total": 0,
        "started_by": deletion.requested_by,
        "started_at": deletion.requested_at,
        "finished_at": None,
        "failed": False,
        "url": reverse("admin:providers_deletion_change", args=[deletion.pk]),
    }


def read_history(most_rows: int) -> list[JsonObject]:
    """Return the latest usage records as finished requests of the board, oldest first."""
    rows = UsageRecord.objects.order_by("-id").values("id", *HISTORY_FIELDS)[:most_rows]
    return [describe_record(row) for row in reversed(rows)]


def describe_record(row: JsonObject) -> JsonObject:
    attempts = [entry for entry in row["attempts"] if entry.get("outcome") != "skipped"]
    return {
        **row,
        "id": f"req_{row['id'].hex}",
        "provider": attempts[-1].get("provider", "") if attempts else "",
        "tries": len(attempts),
        "attempts": None,
    }
