"""Run the server: one process, or several that share a listening socket, and embedded Celery."""

import asyncio
import os
import socket
import sys
import threading

from django.conf import settings
from django.db import DatabaseError, connection, connections

EMBEDDED_DELAY_SECONDS = 2.0  # the gateway serves first, then Celery is loaded
STARTUP_FAILED = 3
# so long a computing thread may keep the interpreter from the event loop
SWITCH_SECONDS = 0.0005


def serve_listener(listener: socket.socket, workers: int) -> None:
    """Serve until a signal ends it."""
    connections.close_all()
    if hasattr(connection, "close_pool"):
        connection.close_pool()
    if settings.EMBEDDED_WORKER:
        timer = threading.Timer(EMBEDDED_DELAY_SECONDS, start_embedded_celery)
        timer.daemon = True
        timer.start()
    if workers > 1:
        from proxysite.server.supervisor import Supervisor

        Supervisor(listener, workers).run_workers()
    else:
        run_one_process(listener)


def run_one_process(listener: socket.socket, supervisor_pid: int | None = None) -> None:
    """Run the server of one process, and end the process.

    `supervisor_pid` is the process id of a worker's supervisor.
    """
    from proxysite.server.uvicorn_server import GracefulServer, make_uvicorn_config

    sys.setswitchinterval(SWITCH_SECONDS)
    server = GracefulServer(make_uvicorn_config())
    server.supervisor_pid = supervisor_pid
    factory = server.config.get_loop_factory()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(server.serve(sockets=[listener]))
    sys.stdout.flush()
    sys.stderr.flush()
    # everything is closed; a normal exit could wait for ever for a thread at a frozen database
    os._exit(0 if server.started else STARTUP_FAILED)


def require_secrets_if_reachable() -> None:
    """Raise SecretsDiffer unless this process has the secrets that the database was written with.

    Returns when the database cannot be reached.
    """
    from providers.database.database_errors import is_outage
    from tokens import secret_check

    try:
        secret_check.require_secrets()
    except DatabaseError as error:
        if not is_outage(error):
            raise
    finally:
        connections.close_all()


def start_embedded_celery() -> None:
    from proxysite.celery import EmbeddedCelery

    EmbeddedCelery().start_worker_and_beat()
