"""The Celery app, its schedule, and the worker and beat that run inside `serve` without a broker.

The embedded worker and beat are started again whenever they end. Tasks are idempotent sweeps whose
state is in the database, so a lost or repeated message does no harm.
"""

import fcntl
import logging
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from celery import Celery
from celery.exceptions import SecurityWarning
from celery.signals import beat_embedded_init, before_task_publish, worker_init, worker_ready
from django.utils.module_loading import import_string
from kombu.transport import TRANSPORT_ALIASES

from proxysite.configuration import locations

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "proxysite.settings")
logger = logging.getLogger(__name__)
PAUSE_SECONDS = 5.0  # before an ended worker or beat is started again


def is_celery_process(program: str) -> bool:
    """Return whether this is a Celery worker or beat beside `serve`.

    Such a process uses the home that `serve` has made.
    """
    return "celery" in Path(program).parts[-2:]


TRANSPORT_ALIASES["filesystem"] = "proxysite.worker.file_broker:Transport"

if is_celery_process(sys.argv[0]):
    locations.require_home()
    os.umask(0o077)

app = Celery("proxysite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
app.set_default()
app.conf.beat_schedule = {
    "check tokens": {
        "task": "tokens.tasks.check_due",
        "schedule": 60.0,
        "options": {"expire_seconds": 60},
    },
    "check disabled tokens": {"task": "tokens.tasks.check_disabled", "schedule": 900.0},
    "renew tokens that end soon": {
        "task": "tokens.tasks.renew_soon",
        "schedule": 60.0,
        "options": {"expire_seconds": 60},
    },
    "carry on actions on tokens": {
        "task": "tokens.tasks.resume_orders",
        "schedule": 60.0,
        "options": {"expire_seconds": 60},
    },
    "forget old changes of tokens": {
        "task": "tokens.tasks.forget_transitions",
        "schedule": 86_400.0,
    },
    "carry on imports of tokens": {
        "task": "tokens.tasks.carry_on_imports",
        "schedule": 60.0,
        "options": {"expire_seconds": 60},
    },
    "sweep files": {"task": "conversations.tasks.sweep_files", "schedule": 3_600.0},
    "sweep documents": {
        "task": "conversations.tasks.sweep_documents",
        "schedule": 60.0,
        "options": {"expire_seconds": 60},
    },
    "expire conversations": {
        "task": "conversations.tasks.expire_conversations",
        "schedule": 3_600.0,
    },
    "say farewells": {
        "task": "conversations.tasks.say_farewells",
        "schedule": 60.0,
        "options": {"expire_seconds": 60},
    },
    "delete kept answers": {"task": "api.tasks.delete_kept_answers", "schedule": 3_600.0},
    "run batches": {
        "task": "api.tasks.run_batches",
        "schedule": 60.0,
        "options": {"expire_seconds": 60},
    },
    "delete old batches": {"task": "api.tasks.delete_old_batches", "schedule": 3_600.0},
    "complete the sums of usage": {
        "task": "api.tasks.complete_rollups",
        "schedule": 600.0,
        "options": {"expire_seconds": 600},
    },
    "delete old usage records": {"task": "api.tasks.expire_usage", "schedule": 86_400.0},
    "add up the busiest subjects": {
        "task": "api.tasks.update_stored_tops",
        "schedule": 3_600.0,
        "options": {"expire_seconds": 3_600},
    },
    "deliver alerts": {
        "task": "api.tasks.deliver_alerts",
        "schedule": 60.0,
        "options": {"expire_seconds": 60},
    },
    "report unknown prices": {
        "task": "api.tasks.report_unknown_prices",
        "schedule": 3_600.0,
        "options": {"expire_seconds": 3_600},
    },
    "delete old alerts": {"task": "api.tasks.delete_old_alerts", "schedule": 86_400.0},
    "carry on deletions": {
        "task": "proxysite.tasks.carry_on_deletions",
        "schedule": 60.0,
        "options": {"expire_seconds": 60},
    },
    "forget old sessions": {"task": "proxysite.tasks.clear_sessions", "schedule": 86_400.0},
}


@before_task_publish.connect
def make_broker_folders(**message: object) -> None:
    """Make the folders of the file broker before a message is sent: the sender may be the first."""
    from django.conf import settings

    if not settings.REDIS_URL:
        for folder in ("queue", "control"):
            settings.HOME.make_path(folder, "x")


@worker_init.connect
def check_worker_secrets(**message: object) -> None:
    """End a worker that does not have the database's secrets, with one line and exit status 1."""
    from proxysite.server.run_server import require_secrets_if_reachable
    from tokens.secret_check import SecretsDiffer

    try:
        require_secrets_if_reachable()
    except SecretsDiffer as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None


class EmbeddedCelery:
    """Worker and beat as threads of this process.

    A file lock keeps a second process of the same home from running them too.
    """

    def __init__(self) -> None:
        self._lock: TextIO | None = None

    def start_worker_and_beat(self) -> bool:
        """Start worker and beat, and return whether this process runs them.

        Takes the file lock `worker.lock` in the home; does nothing when another process has it.
        """
        from django.conf import settings

        # the lock is held as long as the process lives
        lock = open(settings.HOME.make_path("worker.lock"), "w")  # noqa: SIM115
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        make_broker_folders()
        worker_ready.connect(lambda **_: delete_failure_mark("worker"), weak=False)
        beat_embedded_init.connect(lambda **_: delete_failure_mark("beat"), weak=False)
        for part, run_part in (("worker", self._run_worker), ("beat", self._run_beat)):
            delete_failure_mark(part)
            threading.Thread(
                target=keep_part_running,
                args=(part, run_part),
                name=f"celery {part} keeper",
                daemon=True,
            ).start()
        return True

    def _run_worker(self) -> None:
        # the warning is about uid 0, which the operator chose for `serve`
        warnings.filterwarnings("ignore", category=SecurityWarning)
        worker = app.Worker(
            pool="threads",
            concurrency=1,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
        worker.start()

    def _run_beat(self) -> None:
        from django.conf import settings

        beat = app.Beat(quiet=True, schedule=str(settings.HOME.make_path("beat")))
        beat.Service(
            app=app,
            max_interval=60,
            scheduler_cls=import_string(settings.CELERY_BEAT_SCHEDULER.replace(":", ".")),
        ).start(embedded_process=True)


def keep_part_running(part: str, run_part: Callable[[], None]) -> None:
    """Run `run_part` again and again until the process ends, each time in a new thread.

    Each time it ends, an error is logged and a file that marks the failure for `/health` is
    written.
    """
    from api.views.health import failure_marker_path

    while True:
        thread = threading.Thread(target=run_part, name=f"celery {part}", daemon=True)
        thread.start()
        thread.join()
        with suppress(OSError):  # a full disk must not end this loop
            failure_marker_path(part).touch()
        logger.error(
            "The embedded Celery %s has ended; it begins again in %g s.", part, PAUSE_SECONDS
        )
        time.sleep(PAUSE_SECONDS)


def delete_failure_mark(part: str) -> None:
    """Delete the file that marks a failure of this part: it runs now."""
    from api.views.health import failure_marker_path

    failure_marker_path(part).unlink(missing_ok=True)
