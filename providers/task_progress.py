"""Report how far a long task has come; its page and the live board show it.

The view that starts a task creates the row and sends the task its id:

    progress = create_progress("token import", _("Import of %(name)s"), total=len(lines),
                               started_by=request.user.get_username())
    import_lines.delay(str(progress.pk), ...)
    return redirect("task-progress", progress.pk)      # or a page of your own

The task reports, and ends with `finish_progress`, also when it fails:

    with reporting_progress(task_id) as report:         # writes the failure if this block raises
        for number, batch in enumerate(batches):
            write(batch)                                # in its own transaction
            if not report(done=number * 1_000, text=_("Writing")):
                break                                   # somebody pressed Stop
    finish_progress(task_id, _("12 tokens are new."), result={"new": 12})

`report` may be called for every row: it writes at most once in WRITE_SECONDS. Do not call it within
a transaction, as nobody sees the row before the commit.

The page `task-progress` shows bar, result and a button to stop. A page of your own shows the same
with `{% include "admin/live/progress.html" %}` and the variables `task` and `may_stop`, in an
element with `data-refresh="{% url 'task-progress-part' task.pk %}" data-refresh-seconds="1"`.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

from django.db import DatabaseError
from django.db.models.functions import Now
from django.utils import timezone, translation

from providers.models import TaskProgress

logger = logging.getLogger(__name__)
WRITE_SECONDS = 0.5
KEPT_DAYS = 30
LONGEST_TEXT_CHARS = 200
Report = Callable[..., bool]


def create_progress(
    kind: str, title: str, *, total: int = 0, started_by: str = "", url: str = ""
) -> TaskProgress:
    """Write a task that begins, and return its row; its `pk` is the id of the task.

    `kind` is a short name in English such as "token import"; `title` is for people, in their
    language. `total` is the number of rows or steps, 0 when it is not known yet. `url` leads to the
    page of its result. Deletes tasks that finished more than KEPT_DAYS ago.
    """
    delete_old_progress()
    return TaskProgress.objects.create(
        kind=kind,
        title=title[:LONGEST_TEXT_CHARS],
        total=total,
        url=url,
        started_by=started_by,
        language=translation.get_language() or "",
    )


def find_progress(task_id: UUID | str) -> TaskProgress | None:
    """Return the task's progress; None when there is no such task."""
    return TaskProgress.objects.filter(pk=task_id).first()


def update_progress(
    task_id: UUID | str, done: int, *, total: int | None = None, text: str | None = None
) -> bool:
    """Write how much is done; returns whether the task may go on.

    It may not when somebody wants it to stop. A value that is None stays as it is.
    """
    values: dict[str, object] = {"done": done, "updated_at": Now()}
    if total is not None:
        values["total"] = total
    if text is not None:
        values["text"] = text[:LONGEST_TEXT_CHARS]
    row = TaskProgress.objects.filter(pk=task_id)
    row.filter_unfinished().update(**values)
    return not row.filter(stop_requested=True).exists()


def finish_progress(
    task_id: UUID | str,
    text: str = "",
    *,
    result: dict[str, object] | None = None,
    failed: bool = False,
) -> None:
    """Write that the task is over, with its result in one line and, for its page, in `result`.

    Does nothing when it was over before.
    """
    values: dict[str, object] = {
        "text": text[:LONGEST_TEXT_CHARS],
        "failed": failed,
        "updated_at": Now(),
        "finished_at": Now(),
    }
    if result is not None:
        values["result"] = result
    TaskProgress.objects.filter_unfinished().filter(pk=task_id).update(**values)


def request_stop(task_id: UUID | str) -> None:
    """Write that somebody wants the task to stop; its next `report` returns False."""
    TaskProgress.objects.filter_unfinished().filter(pk=task_id).update(stop_requested=True)


def delete_old_progress() -> None:
    """Delete tasks that began more than KEPT_DAYS ago."""
    oldest = timezone.now() - timedelta(days=KEPT_DAYS)
    TaskProgress.objects.filter(started_at__lt=oldest).delete()


@contextmanager
def reporting_progress(task_id: UUID | str) -> Iterator[Report]:
    """Yield `report(done, total=None, text=None)`, in the language of whoever started the task.

    `report` writes at most once in WRITE_SECONDS and returns whether the task may go on. When the
    block raises, the task is marked as failed, and the exception goes on.
    """
    row = find_progress(task_id)
    language = row.language if row is not None else ""
    with translation.override(language or translation.get_language()):
        try:
            yield make_report(task_id)
        except BaseException as error:  # the task's page says so, whatever it was
            mark_as_failed(task_id, error)
            raise


def make_report(task_id: UUID | str) -> Report:
    """Return a function that calls `update_progress`, at most once in WRITE_SECONDS."""
    written_at = -WRITE_SECONDS
    may_go_on = True

    def report(done: int, *, total: int | None = None, text: str | None = None) -> bool:
        nonlocal written_at, may_go_on
        if time.monotonic() - written_at >= WRITE_SECONDS:
            may_go_on = update_progress(task_id, done, total=total, text=text)
            written_at = time.monotonic()
        return may_go_on

    return report


def mark_as_failed(task_id: UUID | str, error: BaseException) -> None:
    """Write that the task failed; a database that is away is logged."""
    try:
        finish_progress(task_id, type(error).__name__, failed=True)
    except DatabaseError as outage:
        logger.warning("the failure of a task could not be written: %s", outage)
