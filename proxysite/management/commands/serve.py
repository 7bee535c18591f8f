"""`serve`: prepare the home and run the gateway."""

import fcntl
import resource
import socket
from argparse import SUPPRESS, ArgumentParser
from typing import Any, TextIO

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from proxysite.bootstrap import FirstRun

REACHABLE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - where "everywhere" answers here
HIGHEST_PORT = 65_535
FILES = 65_536  # 1,000 streams are 2,000 sockets


class Command(BaseCommand):
    help = "Prepare the database, show the first secrets once, and serve."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.HOST, help=f"address to listen on (default {settings.HOST})")
        parser.add_argument(
            "--port", type=int, default=settings.PORT, help=f"port to listen on (default {settings.PORT})"
        )
        parser.add_argument("--workers", type=int, default=1, help="processes (more than one needs Postgres)")
        parser.add_argument("--listening-on", type=int, help=SUPPRESS)  # a worker's inherited socket
        parser.add_argument("--parent", type=int, help=SUPPRESS)  # its supervisor's process id

    def handle(self, *args: Any, host: str, port: int, workers: int, **options: Any) -> None:
        from api import journal
        from proxysite import bootstrap, running

        if options["listening_on"] is not None:
            return running.one(socket.socket(fileno=options["listening_on"]), parent=options["parent"])
        if workers > 1 and settings.EMBEDDED_DATABASE:
            raise CommandError("Several workers need Postgres: set DATABASE_URL, or serve with one.")
        raise_file_limit()
        self._lock = self.own_home()
        listener = listen(host, port)
        try:
            journal.require_room(settings.HOME.root / "journal")
            first = bootstrap.prepare()
            self.check(databases=["default"])
        except OSError as error:
            raise CommandError(f"Cannot write to {settings.HOME.root}: {error.strerror or error}.") from None
        except DatabaseError as error:
            raise CommandError(f"No usable database: {str(error).splitlines()[0]}. See DATABASE_URL.") from None
        address = f"http://{REACHABLE.get(host, host)}:{listener.getsockname()[1]}"
        if first is not None:
            self.stdout.write(welcome(first, address))
        self.stdout.write(f"proxysite {settings.VERSION} serves {address} (Ctrl+C ends it)")
        self.stdout.flush()
        running.run(listener, workers)
        return None

    @staticmethod
    def own_home() -> TextIO:
        """Hold the home's lock, so that two gateways never share one."""
        lock = open(settings.HOME.path("serve.lock"), "w")  # noqa: SIM115 - held as long as the process lives
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandError(
                f"Another instance is running on {settings.HOME.root}; give this one its own PROXYSITE_HOME."
            ) from None
        return lock


def raise_file_limit() -> None:
    """As many open files as the system allows, up to FILES."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def listen(host: str, port: int) -> socket.socket:
    """The listening socket. Raises CommandError with one clear line."""
    if not 0 <= port <= HIGHEST_PORT:  # the resolver would take the remainder
        raise CommandError(f"Cannot listen on port {port}: ports end at {HIGHEST_PORT}.")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
            0
        ]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(4096)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CommandError(f"Cannot listen on {host}:{port}: {reason}. Choose another with --port or PORT.") from None
    listener.set_inheritable(True)
    return listener


def welcome(first: FirstRun, address: str) -> str:
    """What the first run shows, once."""
    hello = '{"model": "echo", "messages": [{"role": "user", "content": "Hello!"}]}'
    headers = f"-H 'Authorization: Bearer {first.key}' -H 'Content-Type: application/json'"
    curl = f"curl {address}/v1/chat/completions {headers} -d '{hello}'"
    return "\n".join(
        (
            "",
            "This is shown once:",
            f"  administrator  {first.username}",
            f"  password       {first.password}",
            f"  admin          {address}/admin/",
            f"  API key        {first.key}",
            "",
            "Try it:",
            f"  {curl}",
            "",
            *(f"  {line}" for line in first.taken),
            *([""] if first.taken else []),
        )
    )
