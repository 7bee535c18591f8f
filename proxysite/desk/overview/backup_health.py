"""How old the last backup is, and whether that should worry somebody."""

from datetime import timedelta

from django.conf import settings
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from providers.admin.page_times import render_time
from proxysite.backup.backup_run import BackupRun
from proxysite.desk.overview.quantities import format_size

BAD = "bad"
WAIT = "wait"


def find_last_run() -> BackupRun | None:
    """Return the last run of `backup`, also one that failed."""
    return BackupRun.objects.first()


def find_last_backup() -> BackupRun | None:
    """Return the last run that has written a whole backup."""
    return BackupRun.objects.filter(reason="").first()


def judge_backups(run: BackupRun | None, backup: BackupRun | None) -> str:
    """Return the tone: bad when the last run failed, wait when the last backup is too old."""
    if run is not None and run.reason:
        return BAD
    return WAIT if backup is not None and is_too_old(backup) else ""


def is_too_old(backup: BackupRun) -> bool:
    """Return whether a backup is older than BACKUP_WARN_DAYS; never when that is 0."""
    days: int = settings.BACKUP_WARN_DAYS
    return bool(days) and timezone.now() - backup.ended_at > timedelta(days=days)


def describe_backups(run: BackupRun | None, backup: BackupRun | None) -> str | SafeString:
    """Return when the last backup was made and its size, and whether a later run failed."""
    text: str | SafeString = _("no backup yet")
    if backup is not None:
        made_at = render_time(backup.ended_at, is_relative=True)
        text = format_html("{}, {}", made_at, format_size(backup.size_bytes))
    if run is not None and run.reason:
        return format_html("{} ({})", text, _("the last run failed"))
    return text
