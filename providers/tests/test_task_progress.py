"""A long task reports how far it has come, to whoever looks at its row."""

from datetime import timedelta

import pytest
from django.utils import timezone

from providers.models import TaskProgress
from providers.task_progress import (
    KEPT_DAYS,
    create_progress,
    find_progress,
    finish_progress,
    reporting_progress,
    request_stop,
)

pytestmark = pytest.mark.django_db


def read_row(progress: TaskProgress) -> TaskProgress:
    return TaskProgress.objects.get(pk=progress.pk)


def test_the_first_report_is_written_at_once_and_the_next_ones_not_before_their_time():
    progress = create_progress("token import", "Import of keys.txt", total=400)
    with reporting_progress(str(progress.pk)) as report:
        assert report(100, text="Writing")
        assert report(200)
    row = read_row(progress)
    assert (row.done, row.percent, row.text) == (100, 25, "Writing")


def test_a_finished_task_has_its_result_and_takes_no_more_reports():
    progress = create_progress("token import", "Import")
    finish_progress(progress.pk, "12 tokens are new.", result={"new": 12})
    with reporting_progress(progress.pk) as report:
        report(5)
    finish_progress(progress.pk, "again", failed=True)
    row = read_row(progress)
    assert (row.text, row.result, row.failed, row.done) == (
        "12 tokens are new.",
        {"new": 12},
        False,
        0,
    )
    assert row.finished_at is not None


def test_a_task_that_somebody_stops_is_told_so_by_its_next_report():
    progress = create_progress("token check", "Check")
    request_stop(progress.pk)
    with reporting_progress(progress.pk) as report:
        assert report(1) is False


def test_a_task_that_raises_is_marked_as_failed():
    progress = create_progress("token check", "Check")
    with pytest.raises(ZeroDivisionError), reporting_progress(progress.pk):
        _ = 1 / 0
    row = read_row(progress)
    assert (row.failed, row.text) == (True, "ZeroDivisionError")


def test_long_texts_are_cut_and_the_percentage_of_an_unknown_total_is_unknown():
    progress = create_progress("token check", "x" * 500)
    assert len(read_row(progress).title) == 200
    assert progress.percent is None


def test_old_tasks_are_deleted_when_a_new_one_begins():
    old = create_progress("token check", "old")
    TaskProgress.objects.update(started_at=timezone.now() - timedelta(days=KEPT_DAYS + 1))
    create_progress("token check", "new")
    assert find_progress(old.pk) is None
