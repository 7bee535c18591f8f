"""A process that has imported much, and forks one `manage.py` process per request.

An interpreter that starts cold spends most of its time on the imports of Django, Celery and other
libraries, and of our own modules. The forks begin behind the modules that read neither settings nor
the environment. Settings, models and everything that uses them are read in each fork, as in a cold
process.

Run by `forked_process.py`. A connection brings one message: the launch as JSON, and four file
descriptors: standard input, output and error, and a pipe. The process id is written to the pipe,
and when the process has ended its exit status. `forked_manage.py` asks from a shell.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from pathlib import Path
from typing import TypedDict

MOST_LAUNCH_BYTES = 2**18
LIBRARIES = """
    anyio asgiref.sync celery.app.amqp celery.app.control celery.app.log celery.apps.beat
    celery.apps.worker celery.concurrency.thread celery.fixups.django celery.signals
    celery.worker.components celery.worker.consumer celery.worker.strategy corsheaders.middleware
    cron_descriptor cryptography.hazmat.primitives.ciphers.aead
    django.contrib.admin.templatetags.admin_list django.contrib.admin.templatetags.admin_modify
    django.contrib.admin.templatetags.log django.contrib.admin.views.autocomplete
    django.contrib.admin.views.main django.contrib.admindocs.views django.contrib.auth.hashers
    django.contrib.auth.password_validation django.contrib.auth.tokens
    django.contrib.messages.middleware django.contrib.postgres.fields django.contrib.postgres.search
    django.contrib.sessions.backends.db django.contrib.sessions.middleware
    django.contrib.sites.shortcuts django.contrib.staticfiles.finders
    django.contrib.staticfiles.storage django.core.cache django.core.cache.backends.locmem
    django.core.checks.registry django.core.handlers.asgi django.core.mail
    django.core.management.commands.makemigrations django.core.management.commands.migrate
    django.core.paginator django.core.validators django.db django.db.backends.sqlite3.base
    django.db.models django.db.models.functions django.forms.models django.http
    django.middleware.clickjacking django.middleware.common django.middleware.security
    django.shortcuts django.template.backends.django django.template.loader django.template.response
    django.test.client django.urls django.utils.autoreload django.views.csrf
    django.views.decorators.csrf django.views.decorators.http django.views.defaults
    django_celery_beat.clockedschedule django_celery_beat.tzcrontab encodings.idna environ h11
    httpcore httptools httpx kombu.transport.filesystem kombu.utils.json logging.config msgspec
    orjson psycopg psycopg_pool pygments.formatters.html rest_framework.authentication
    rest_framework.metadata rest_framework.mixins rest_framework.negotiation
    rest_framework.permissions rest_framework.serializers sqlite3 tzdata uvicorn uvicorn.lifespan.on
    uvicorn.loops.uvloop uvicorn.protocols.http.httptools_impl uvloop whitenoise.middleware yaml
    """.split()
# our own packages whose modules read neither settings nor the environment while they are imported
PACKAGES = """
    conversations.messages conversations.text providers.adapters providers.dialects
    providers.exceptions providers.filters providers.network providers.protocol
    providers.queued_sqlite3 providers.upstream providers.wire proxysite.configuration
    """.split()


class Launch(TypedDict):
    """A process to start: `arguments` begins with the absolute path of `manage.py`."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str


def serve_requests(listener: socket.socket, lifeline: int) -> Launch | None:
    """Fork for each connection until the test process ends, which closes its end of the lifeline.

    Returns None then, and in each new process its launch.
    """
    while True:
        readable, _, _ = select.select([listener, lifeline], [], [])
        if lifeline in readable:
            return None
        connection, _ = listener.accept()
        with connection:
            message, descriptors, _, _ = socket.recv_fds(connection, MOST_LAUNCH_BYTES, 4)
        if os.fork() == 0:
            listener.close()
            os.close(lifeline)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            *standard_streams, status_pipe = descriptors
            fork_and_report(status_pipe, standard_streams)
            launch: Launch = json.loads(message)
            return launch
        for descriptor in descriptors:
            os.close(descriptor)


def fork_and_report(status_pipe: int, standard_streams: list[int]) -> None:
    """Fork once more, and return in the new process alone, which has these standard streams.

    Its parent writes the process id and at its end the exit status to the pipe, and ends.
    """
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        os.close(status_pipe)
        for number, descriptor in enumerate(standard_streams):
            os.dup2(descriptor, number)
            os.close(descriptor)
        return
    os.setpgid(pid, pid)  # whoever reads the process id may kill the group at once
    for descriptor in standard_streams:
        os.close(descriptor)
    os.write(status_pipe, b"%d\n" % pid)
    _, status = os.waitpid(pid, 0)
    os.write(status_pipe, b"%d\n" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def run_manage(launch: Launch) -> None:
    """Become the process of this launch: its folder, variables and command line."""
    os.chdir(launch["folder"])
    os.environ.clear()
    os.environ.update(launch["environment"])
    sys.argv = launch["arguments"]
    program = sys.argv[0]
    sys.path[0] = os.path.dirname(program)
    runpy.run_path(program, run_name="__main__")


def import_modules() -> None:
    """Import the libraries and our own packages.

    A module that turns out to need the settings, because it imports models, is left to the forks.
    """
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    for name in LIBRARIES:
        importlib.import_module(name)
    environment = dict(os.environ)
    for package in PACKAGES:
        for name in list_modules(package):
            with contextlib.suppress(ImproperlyConfigured):
                importlib.import_module(name)
    assert not settings.configured, "a module that is imported before the forks reads the settings"
    assert os.environ == environment, "a module that is imported before the forks sets a variable"


def list_modules(package: str) -> list[str]:
    """Return the names of a package's modules, below folders too; nothing is imported."""
    folder = Path(package.replace(".", "/"))
    return sorted(".".join(file.with_suffix("").parts) for file in folder.rglob("[a-z]*.py"))


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # parents of processes are reaped
    sys.path[0] = os.getcwd()
    import_modules()
    gc.freeze()
    listener = socket.socket(fileno=int(sys.argv[1]))
    launch = serve_requests(listener, lifeline=int(sys.argv[2]))
    if launch is not None:
        run_manage(launch)


if __name__ == "__main__":
    main()
