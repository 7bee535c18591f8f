"""Check the background work: Redis, the worker and beat."""

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db.models import Max
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from api.views.health import CELERY_PARTS, failure_marker_path
from proxysite.doctor.findings import OK, PROBLEM, WARNING, Finding

REDIS_SECONDS = 2.0
SILENT_MINUTES = 10  # several tasks are due each minute
MANY_TASKS = 1_000


def check_redis() -> Iterator[Finding]:
    """Yield whether Redis answers, and how many tasks wait in it."""
    if not settings.REDIS_URL:
        yield Finding("redis", OK, "not configured: tasks wait in files of the home")
        return
    from redis import Redis, RedisError

    client = Redis.from_url(
        settings.REDIS_URL, socket_timeout=REDIS_SECONDS, socket_connect_timeout=REDIS_SECONDS
    )
    try:
        with client:
            client.ping()
            waiting = int(client.llen("celery"))
    except RedisError as error:
        yield Finding(
            "redis", PROBLEM, f"It does not answer: {error}.", "Start it, or see REDIS_URL."
        )
        return
    if waiting > MANY_TASKS:
        yield Finding(
            "redis", WARNING, f"{waiting:,} tasks wait.", "Start a worker, or more of them."
        )
    else:
        yield Finding("redis", OK, f"it answers; {waiting} tasks wait")


def check_periodic_work() -> Iterator[Finding]:
    """Yield whether beat sends tasks, and whether a part of Celery inside `serve` has failed."""
    if settings.EMBEDDED_WORKER:
        for part in CELERY_PARTS:
            if failure_marker_path(part).exists():
                yield Finding(
                    part, PROBLEM, "It failed and is started again.", "See the log of `serve`."
                )
    latest = PeriodicTask.objects.aggregate(latest=Max("last_run_at"))["latest"]
    if latest is None:
        yield Finding(
            "beat", WARNING, "No periodic task has ever begun.", "Let `serve` or beat run a minute."
        )
        return
    silent = timezone.now() - latest
    text = f"the last periodic task began {int(silent.total_seconds())} s ago"
    if silent > timedelta(minutes=SILENT_MINUTES):
        yield Finding(
            "beat", PROBLEM, f"Beat is silent: {text}.", "Start `serve`, or worker and beat."
        )
    else:
        yield Finding("beat", OK, text)
