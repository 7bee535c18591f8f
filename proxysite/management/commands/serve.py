"""The command `serve`: prepare the home and run the gateway."""

import logging
import os
import resource
import socket
from argparse import SUPPRESS, ArgumentParser
from pathlib import Path
from typing import TextIO

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError, connection

from providers.management.base import GatewayCommand
from proxysite import command_line
from proxysite.configuration import locations
from proxysite.configuration.setting_values import DEFAULT
from proxysite.first_run import markers
from proxysite.first_run.bootstrap import FirstRun, PreparedDatabase
from proxysite.home import tighten_mode
from proxysite.server import host_names

logger = logging.getLogger(__name__)
# where a server that listens everywhere is reached on this machine
REACHABLE_HOSTS = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104
HIGHEST_PORT = 65_535
MOST_OPEN_FILES = 65_536  # open files; 1,000 streams are 2,000 sockets


class Command(GatewayCommand):
    help = "Prepare the database, show the first secrets once, and serve."
    requires_system_checks: list[str] = []
    needs_database = False
    writes = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--host", default=settings.HOST, help=f"address to listen on (default {settings.HOST})"
        )
        parser.add_argument(
            "--port",
            type=int,
            default=settings.PORT,
            help=f"port to listen on (default {settings.PORT})",
        )
        parser.add_argument(
            "--workers", type=int, default=1, help="processes (more than one needs Postgres)"
        )
        # the socket that a worker inherits
        parser.add_argument("--listening-on", type=int, help=SUPPRESS)
        # the process id of a worker's supervisor
        parser.add_argument("--parent", type=int, help=SUPPRESS)

    def handle(
        self,
        *args: object,
        host: str,
        port: int,
        workers: int,
        listening_on: int | None,
        parent: int | None,
        **options: object,
    ) -> None:
        from proxysite.server import run_server

        if listening_on is not None:
            listener = socket.socket(fileno=listening_on)
            run_server.run_one_process(listener, supervisor_pid=parent)
            return
        if workers < 1:
            raise CommandError("--workers is at least 1.")
        if workers > 1 and settings.EMBEDDED_DATABASE:
            raise CommandError(
                "Several workers need Postgres: set DATABASE_URL, or serve with one."
            )
        raise_file_limit()
        lock = prepare_home()
        listener = open_listener(host, port)
        prepared = self.prepare_database()
        port = listener.getsockname()[1]
        write_marker(lock, host, port)
        self.stdout.write(describe_start(prepared, host, port))
        self.stdout.flush()
        run_server.serve_listener(listener, workers)

    def prepare_database(self) -> PreparedDatabase:
        """Bring the database up to date; return the secrets of a first run, and what was imported.

        Raises CommandError with one line when the home or the database cannot be used.
        """
        from api.accounting import journal
        from proxysite.first_run import bootstrap

        try:
            command_line.refuse_unfinished_restore(settings.HOME.root)
            journal.require_journal_writable(settings.HOME.root / "journal")
            command_line.refuse_unfinished_copy(connection.introspection.table_names())
            prepared = bootstrap.prepare_database()
            self.check(databases=["default"])
        except OSError as error:
            raise CommandError(
                f"Cannot write to {settings.HOME.root}: {error.strerror or error}."
            ) from None
        except DatabaseError as error:
            raise CommandError(
                f"No usable database: {str(error).splitlines()[0]}. See DATABASE_URL."
            ) from None
        return prepared


def prepare_home() -> TextIO:
    """Make the home private to its owner, and take its lock, so that two gateways never share one.

    Returns the lock's open file. Raises CommandError.
    """
    os.umask(0o077)
    home: Path = settings.HOME.root
    for line in settings.HOME.tighten_modes():
        logger.warning("%s", line)
    if settings.EMBEDDED_DATABASE:  # its file may lie outside the home
        outside = tighten_mode(Path(settings.DATABASES["default"]["NAME"]))
        if outside is not None:
            logger.warning("%s", outside)
    try:
        lock = markers.claim_home(home)
    except OSError as error:
        raise CommandError(
            f"Cannot write to {home}: {error.strerror}. See PROXYSITE_HOME."
        ) from None
    if lock is None:
        raise CommandError(
            f"Another instance is running on {home}; give this one its own PROXYSITE_HOME."
        )
    return lock


def write_marker(lock: TextIO, host: str, port: int) -> None:
    """Write down where this gateway runs, for commands in other terminals."""
    config = settings.DATABASES["default"]
    url = ""
    if settings.DECLARED["DATABASE_URL"].source != DEFAULT:
        url = settings.DATABASE_URL
        if settings.EMBEDDED_DATABASE:
            url = locations.sqlite_url(Path(config["NAME"]))
    record = markers.GatewayRecord(
        home=str(settings.HOME.root),
        pid=os.getpid(),
        database=markers.describe_database(config),
        url=markers.strip_password(url),
        needs_password=bool(config.get("PASSWORD")),
        host=host,
        port=port,
    )
    markers.write_record(lock, record)
    markers.add_home(settings.MARKER_FILE, settings.HOME.root)


def raise_file_limit() -> None:
    """Raise the limit of open files to the system's maximum, MOST_OPEN_FILES at most."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(MOST_OPEN_FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def open_listener(host: str, port: int) -> socket.socket:
    """Return the listening socket. Raises CommandError with one clear line."""
    if not 0 <= port <= HIGHEST_PORT:  # the resolver would reduce the number modulo 65,536
        raise CommandError(f"Cannot listen on port {port}: ports end at {HIGHEST_PORT}.")
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(4096)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CommandError(
            f"Cannot listen on {host}:{port}: {reason}. Choose another with --port or PORT."
        ) from None
    listener.set_inheritable(True)
    return listener


def describe_start(prepared: PreparedDatabase, host: str, port: int) -> str:
    """Return the text that a start prints.

    It has the first secrets (once), what was imported, the address, and a hint when host names are
    not allowed yet.
    """
    address = f"http://{REACHABLE_HOSTS.get(host, format_host(host))}:{port}"
    lines = []
    if prepared.first_run is not None:
        lines.append(describe_first_run(prepared.first_run, address))
    if prepared.import_lines:
        lines += [*(f"  {line}" for line in prepared.import_lines), ""]
    listens = ""
    if host in REACHABLE_HOSTS:
        listens = f" listens on {format_host(host)}:{port} (all addresses) and"
    lines.append(
        f"proxysite {settings.VERSION}{listens} serves {address}, admin {address}/admin/ "
        "(Ctrl+C ends it)"
    )
    if hint := host_names.describe_missing_names(host):
        lines.append(hint)
    return "\n".join(lines)


def format_host(host: str) -> str:
    return host_names.bracket_ipv6(host) or "0.0.0.0"  # noqa: S104 - shown, not listened on


def describe_first_run(first_run: FirstRun, address: str) -> str:
    """Return the text that the first run shows, once."""
    hello = '{"model": "echo", "messages": [{"role": "user", "content": "Hello!"}]}'
    headers = f"-H 'Authorization: Bearer {first_run.api_key}' -H 'Content-Type: application/json'"
    curl = f"curl {address}/v1/chat/completions {headers} -d '{hello}'"
    lines = [
        "",
        "This is shown once:",
        f"  administrator  {first_run.username}",
        f"  password       {first_run.password}",
        f"  admin          {address}/admin/",
        f"  API key        {first_run.api_key}",
        "",
        "Try it:",
        f"  {curl}",
        "",
    ]
    return "\n".join(lines)
