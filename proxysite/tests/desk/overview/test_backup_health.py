"""The overview says how old the last backup is, and warns when it failed or is too old."""

from datetime import timedelta

import pytest
from django.utils import timezone

from proxysite.backup.backup_run import MOST_RUNS, record_run
from proxysite.desk.overview.attention import system_attention
from proxysite.desk.overview.system_health import list_health_lines
from proxysite.models import BackupRun

pytestmark = pytest.mark.usefixtures("transactional_db")


def read_line():
    (line,) = [line for line in list_health_lines() if line.label == "Last backup"]
    return line


def add_run(days=0, **fields):
    ended_at = timezone.now() - timedelta(days=days)
    BackupRun.objects.create(
        file_name="/backups/a", ended_at=ended_at, size_bytes=5_000_000, **fields
    )


def list_attention():
    return [(item.tone, item.text) for item in system_attention.find_backup_items()]


def test_a_gateway_without_a_backup_says_so_and_does_not_warn():
    assert (read_line().value, read_line().tone) == ("no backup yet", "")
    assert list_attention() == []


def test_a_young_backup_is_shown_with_its_time_and_size():
    add_run(days=1)
    assert "5 MB" in read_line().value
    assert "<time" in read_line().value
    assert read_line().tone == ""
    assert list_attention() == []


@pytest.mark.settings(BACKUP_WARN_DAYS=3)
def test_an_old_backup_warns_after_the_days_of_the_setting(settings):
    add_run(days=4)
    assert read_line().tone == "wait"
    assert list_attention() == [("wait", "The last backup is older than 3 days.")]
    settings.BACKUP_WARN_DAYS = 0
    assert read_line().tone == ""
    assert list_attention() == []


def test_a_failed_run_is_bad_and_the_good_one_before_it_stays_known():
    add_run(days=1)
    add_run(reason="The backup cannot be written: No space left on device.")
    assert "5 MB (the last run failed)" in read_line().value
    assert read_line().tone == "bad"
    assert list_attention() == [("bad", "The last backup failed.")]


def test_old_runs_are_forgotten():
    for days in range(MOST_RUNS + 3):
        record_run(BackupRun(file_name=str(days), ended_at=timezone.now() - timedelta(days=days)))
    assert BackupRun.objects.count() == MOST_RUNS
    assert BackupRun.objects.first().file_name == "0"
