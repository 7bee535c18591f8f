"""The Celery app, its schedule, and the worker and beat that `serve` runs inside the web process
when there is no broker, again and again however they end.

Tasks are idempotent sweeps whose state is the database's, so a lost or doubled message does no
harm.
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
PAUSE_SECONDS = 5.0  # before a worker or a beat that has ended begins again


def is_own_process(program: str) -> bool:
    """Return whether this is a worker or beat beside `serve`: it uses the home that `serve` has
    made.
    """
    return "celery" in Path(program).parts[-2:]


TRANSPORT_ALIASES["filesystem"] = "proxysite.worker.file_broker:Transport"

if is_own_process(sys.argv[0]):
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
    "forget old changes of tokens": {
        "task": "tokens.tasks.forget_transitions",
        "schedule": 86_400.0,
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
    "carry on deletions": {
        "task": "proxysite.tasks.carry_on_deletions",
        "schedule": 60.0,
        "options": {"expire_seconds": 60},
    },
    "forget old sessions": {"task": "proxysite.tasks.clear_sessions", "schedule": 86_400.0},
}


@before_task_publish.connect
def make_folders(**message: object) -> None:
    """Where messages lie without a broker; who sends one may be the first."""
    from django.conf import settings

    if not settings.REDIS_URL:
        for folder in ("queue", "control"):
            settings.HOME.path(folder, "x")


@worker_init.connect
def check_secrets(**message: object) -> None:
    """A worker without the database's secrets ends, with one line."""
    from proxysite.server.run_server import require_secrets
    from tokens.secret_check import SecretsDiffer

    try:
        require_secrets()
    except SecretsDiffer as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None


class Embedded:
    """Worker and beat as threads of this process; a file lock keeps a second process of the same
    home from having them too.
    """

    def __init__(self) -> None:
        self._lock: TextIO | None = None

    def start(self) -> bool:
        """Returns whether this process runs them now."""
        from django.conf import settings

        lock = open(settings.HOME.path("worker.lock"), "w")  # noqa: SIM115 - held as long as the process lives
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        make_folders()
        worker_ready.connect(lambda **_: ran("worker"), weak=False)
        beat_embedded_init.connect(lambda **_: ran("beat"), weak=False)
        for part, deed in (("worker", self._work), ("beat", self._beat)):
            ran(part)
            threading.Thread(
                target=ever, args=(part, deed), name=f"celery {part} keeper", daemon=True
            ).start()
        return True

    def _work(self) -> None:
        warnings.filterwarnings(
            "ignore", category=SecurityWarning
        )  # about uid 0: `serve` is who chose it
        worker = app.Worker(
            pool="threads",
            concurrency=1,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
        worker.start()

    def _beat(self) -> None:
        from django.conf import settings

        beat = app.Beat(quiet=True, schedule=str(settings.HOME.path("beat")))
        beat.Service(
            app=app,
            max_interval=60,
            scheduler_cls=import_string(settings.CELERY_BEAT_SCHEDULER.replace(":", ".")),
        ).start(embedded_process=True)


def ever(part: str, deed: Callable[[], None]) -> None:
    """Do it until the process ends, in a thread that is a new one each time: however it ends, it
    begins again.
    """
    from api.views.health import failed

    while True:
        thread = threading.Thread(target=deed, name=f"celery {part}", daemon=True)
        thread.start()
        thread.join()
        with suppress(OSError):  # a full disk does not end this
            failed(part).touch()
        logger.error(
            "The embedded Celery %s has ended; it begins again in %g s.", part, PAUSE_SECONDS
        )
        time.sleep(PAUSE_SECONDS)


def ran(part: str) -> None:
    """It works, now."""
    from api.views.health import failed

    failed(part).unlink(missing_ok=True)
