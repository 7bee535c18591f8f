"""Parts of this gateway that need attention: worker, disk, backups, unwritten records, tables."""

import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db.models import Count, Max
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from api.models import AlertDelivery, ApiKey, DeliveryState, RollupState
from proxysite.desk.overview import backup_health, system_health
from proxysite.desk.overview.attention.attention_items import BAD, WAIT, AttentionItem, Button
from proxysite.desk.overview.quantities import format_size

REFUSED_FILE = "refused.jsonl"
WORKER_SILENCE = timedelta(minutes=10)  # the most frequent periodic task begins each minute


def find_system_items() -> Iterator[AttentionItem]:
    """Yield the items about this gateway itself."""
    yield from find_worker_items()
    yield from find_disk_items()
    yield from find_backup_items()
    yield from find_spool_items()
    yield from find_table_items()


def find_worker_items() -> Iterator[AttentionItem]:
    """Yield an item when no periodic work has begun for some time."""
    now = timezone.now()
    latest = system_health.find_last_periodic_run()
    if latest is not None and now - latest < WORKER_SILENCE:
        return
    if latest is None:
        first_key = ApiKey.objects.order_by("pk").values_list("created_at", flat=True).first()
        if first_key is None or now - first_key < WORKER_SILENCE:
            return  # a gateway that has just begun
        text = _("No worker has done any periodic work yet.")
    else:
        text = _("No worker has done any periodic work lately.")
    detail = _("Tokens are not checked and renewed, alerts are not sent, nothing is cleaned up.")
    yield AttentionItem("worker", BAD, text, detail, latest, _("last"))


def find_disk_items() -> Iterator[AttentionItem]:
    """Yield an item when the disk of the home is nearly full."""
    free = system_health.read_free_bytes()
    if free is None or free >= settings.DISK_WARNING_BYTES:
        return
    text = _("The disk of the gateway's home is nearly full: %(size)s left.") % {
        "size": format_size(free)
    }
    yield AttentionItem("disk", BAD, text, str(settings.HOME.root))


def find_backup_items() -> Iterator[AttentionItem]:
    """Yield an item when the last run of `backup` failed, or the last backup is too old."""
    run = backup_health.find_last_run()
    if run is None:
        return  # whoever backs up in another way needs no reminder
    if run.reason:
        text = _("The last backup failed.")
        yield AttentionItem("backup", BAD, text, run.reason, run.ended_at, _("last"))
    elif backup_health.is_too_old(run):
        text = _("The last backup is older than %(days)s days.") % {
            "days": settings.BACKUP_WARN_DAYS
        }
        yield AttentionItem("backup", WAIT, text, run.file_name, run.ended_at, _("last"))


def find_spool_items() -> Iterator[AttentionItem]:
    """Yield items for usage records that wait on disk, and for those that no database takes."""
    folder = settings.HOME.root / "spool"
    waiting = list(list_written_files(folder, "*.spool"))
    if waiting:
        oldest = datetime.fromtimestamp(min(state.st_mtime for state in waiting), UTC)
        size = format_size(sum(state.st_size for state in waiting))
        text = _("Usage records wait on disk for the database: %(size)s.") % {"size": size}
        yield AttentionItem("spool", BAD, text, "", oldest, _("since"))
    for state in list_written_files(folder, REFUSED_FILE):
        at = datetime.fromtimestamp(state.st_mtime, UTC)
        text = _("The database refused some usage records; they are in a file.")
        yield AttentionItem("refused", WAIT, text, str(folder / REFUSED_FILE), at, _("last"))


def list_written_files(folder: Path, pattern: str) -> Iterator[os.stat_result]:
    """Yield the state of the files of a folder that are not empty; any may vanish meanwhile."""
    for path in folder.glob(pattern):
        with suppress(FileNotFoundError):
            if (state := path.stat()).st_size:
                yield state


def find_table_items() -> Iterator[AttentionItem]:
    """Yield items for sums that are not complete and for migrations that have not run."""
    if RollupState.objects.filter(pk=1, needs_rebuild=True).exists():
        text = _("The sums of usage do not have all older records yet; the worker adds them.")
        yield AttentionItem("sums", WAIT, text)
    if pending := system_health.count_pending_migrations():
        text = ngettext(
            "%(count)s migration of the database has not run: restart the gateway.",
            "%(count)s migrations of the database have not run: restart the gateway.",
            pending,
        ) % {"count": pending}
        yield AttentionItem("migrations", BAD, text)


def find_alert_items(*, may_change: bool) -> Iterator[AttentionItem]:
    """Yield an item for alerts that could not be delivered."""
    failed = AlertDelivery.objects.filter(state=DeliveryState.FAILED).aggregate(
        count=Count("pk"), latest=Max("due_at"), a_problem=Max("problem")
    )
    if not failed["count"]:
        return
    text = ngettext(
        "%(count)s alert could not be delivered.",
        "%(count)s alerts could not be delivered.",
        failed["count"],
    ) % {"count": failed["count"]}
    address = reverse("admin:api_alertdelivery_changelist")
    look = Button(_("Look at them"), f"{address}?state__exact={DeliveryState.FAILED}")
    again = Button(_("Send them again"), reverse("overview-alerts"), {"deed": "send_again"})
    buttons = (again, look) if may_change else (look,)
    yield AttentionItem(
        "alerts", WAIT, text, failed["a_problem"] or "", failed["latest"], _("last"), buttons
    )
