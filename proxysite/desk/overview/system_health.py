"""The health of this gateway: version, database, disk, backup, worker, queue and settings."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.core.cache import cache
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Max
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django_celery_beat.models import PeriodicTask

from providers.admin.page_times import render_time
from proxysite.desk.overview import backup_health
from proxysite.desk.overview.quantities import format_number, format_size

KEPT_SECONDS = 60  # facts that take long to find out are so old at most
QUEUE_NAME = "celery"
REDIS_SECONDS = 0.5  # to wait for the length of the queue
DATABASE_NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@dataclass(frozen=True, slots=True)
class HealthLine:
    """One fact; `tone` is bad or wait where it should worry somebody."""

    label: str
    value: str | SafeString
    tone: str = ""


def list_health_lines() -> list[HealthLine]:
    """Return the facts that an operator looks up most."""
    free = read_free_bytes()
    last_run = find_last_periodic_run()
    pending = count_pending_migrations()
    backup_run = backup_health.find_last_run()
    backup = backup_health.find_last_backup()
    return [
        HealthLine(_("Version"), settings.VERSION),
        HealthLine(_("Database"), describe_database()),
        HealthLine(
            _("Free on the disk of the home"),
            _("unknown") if free is None else format_size(free),
            "bad" if free is not None and free < settings.DISK_WARNING_BYTES else "",
        ),
        HealthLine(
            _("Last backup"),
            backup_health.describe_backups(backup_run, backup),
            backup_health.judge_backups(backup_run, backup),
        ),
        HealthLine(
            _("Periodic work began last"),
            _("not yet") if last_run is None else render_time(last_run, is_relative=True),
            "wait" if last_run is None else "",
        ),
        HealthLine(_("Queue of the worker"), describe_queue()),
        HealthLine(
            _("Migrations that have not run"), format_number(pending), "bad" if pending else ""
        ),
        HealthLine(_("Strikes that disable a token"), format_number(settings.MAX_TOKEN_FAILURES)),
        HealthLine(_("Attempts per request"), format_number(settings.MAX_ATTEMPTS)),
        HealthLine(_("Log level"), settings.LOG_LEVEL.lower()),
    ]


def list_setting_warnings() -> list[str]:
    """Return the warnings about settings that `serve` prints when it starts."""
    return list(settings.SETTING_WARNINGS)


# --- single facts ---------------------------------------------------------------------------------
def keep_fact(name: str, find_fact: Callable[[], int]) -> int:
    """Return a number from the cache of this process, or find it out anew."""
    return int(cache.get_or_set(f"system-health:{name}", find_fact, KEPT_SECONDS) or 0)


def describe_database() -> str:
    name = DATABASE_NAMES.get(connection.vendor, connection.vendor)
    return f"{name}, {format_size(keep_fact('database-bytes', read_database_bytes))}"


def read_database_bytes() -> int:
    """Return the size of the database on disk."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_database_size(current_database())")
            return int(cursor.fetchone()[0])
    path = Path(str(connection.settings_dict["NAME"]))
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.is_file())


def read_free_bytes() -> int | None:
    """Return the free bytes on the disk of the home, or None when it cannot be told."""
    try:
        return shutil.disk_usage(settings.HOME.root).free
    except OSError:
        return None


def find_last_periodic_run() -> datetime | None:
    """Return when the worker's schedule last began a task."""
    latest: datetime | None = PeriodicTask.objects.aggregate(latest=Max("last_run_at"))["latest"]
    return latest


def count_pending_migrations() -> int:
    """Return how many migrations have not run on this database."""
    return keep_fact("pending-migrations", find_pending_migrations)


def find_pending_migrations() -> int:
    executor = MigrationExecutor(connection)
    return len(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def describe_queue() -> str:
    """Return how many tasks wait, and where the queue is."""
    if settings.REDIS_URL:
        waiting = count_redis_tasks()
        if waiting is None:
            return _("Redis cannot be reached")
        return _("Redis, %(count)s waiting") % {"count": format_number(waiting)}
    folder = settings.HOME.root / "queue"
    waiting = sum(1 for _file in folder.glob("*.msg"))
    return _("embedded, %(count)s waiting") % {"count": format_number(waiting)}


def count_redis_tasks() -> int | None:
    """Return the length of the queue in Redis, or None when it does not answer."""
    from redis import Redis, RedisError

    client = Redis.from_url(
        settings.REDIS_URL, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS
    )
    try:
        with client:
            return int(client.llen(QUEUE_NAME))
    except RedisError:
        return None
