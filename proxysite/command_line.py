"""The checks that every management command passes before it runs.

Only `serve` makes a home, secrets and a database. Every other command needs an existing one, and is
refused with one line where it would write to another database than the gateway that runs here. No
command takes abbreviated options.
"""

import errno
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from django.conf import settings
from django.core.management import ManagementUtility
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, InterfaceError, OperationalError, connection

from proxysite.audit.command_runs import is_recorded, run_and_record
from proxysite.configuration.setting_types import DeclaredSetting
from proxysite.configuration.setting_values import DEFAULT, ENVIRONMENT
from proxysite.first_run import markers

HOME_MAKING_COMMANDS = ("serve",)
# Django's commands that work without the gateway's rows
COMMANDS_WITHOUT_DATABASE = """
    check collectstatic compilemessages diffsettings findstatic makemessages makemigrations
    optimizemigration sendtestemail sqlflush sqlmigrate sqlsequencereset squashmigrations startapp
    startproject test testserver
    """.split()
TABLE_MAKING_COMMANDS = ("migrate",)
READING_COMMANDS = ("dumpdata", "inspectdb", "showmigrations", "axes_list_attempts")
CONTROL_C_STATUS = 130
COPY_NOTES_TABLE = "proxysite_copy"  # the table that marks an unfinished `copy_database`
RESTORE_MARK_TABLE = "proxysite_restore"  # the table that marks an unfinished `restore`


class CommandLine(ManagementUtility):
    """Django's command line with our checks around each command."""

    def execute(self) -> None:
        """Run the command. Exits with status 1 and one line when the user made a mistake."""
        try:
            super().execute()
        except CommandError as error:
            sys.stderr.write(f"CommandError: {error}\n")
            sys.exit(1)
        except KeyboardInterrupt:
            sys.exit(CONTROL_C_STATUS)
        except BrokenPipeError:  # the reader of our output has closed the pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            place = f" to {error.filename}" if error.filename else ""
            sys.exit(f"The disk is full: nothing more can be written{place}.")

    def fetch_command(self, subcommand: str) -> BaseCommand:
        """Return the command with our checks around its `execute`."""
        command = super().fetch_command(subcommand)
        run = partial(run_command, subcommand, command, command.execute)
        strict = partial(command.create_parser, allow_abbrev=False)
        command.execute = run  # type: ignore[method-assign]
        command.create_parser = strict  # type: ignore[method-assign]
        return command


def run_command(
    name: str,
    command: BaseCommand,
    execute: Callable[..., str | None],
    /,
    *args: object,
    **options: object,
) -> str | None:
    """Check that the command may run, and run it.

    Raises CommandError, also in place of a DatabaseError unless --traceback is given.
    """
    if options.get("listening_on") is None:
        print_setting_warnings()
    needs_database = getattr(
        command, "needs_database", name not in (*COMMANDS_WITHOUT_DATABASE, *HOME_MAKING_COMMANDS)
    )
    try:
        if needs_database:
            os.umask(0o077)
            require_database(makes_tables=name in TABLE_MAKING_COMMANDS)
            if getattr(command, "writes", name not in READING_COMMANDS) and not options.get(
                "dry_run"
            ):
                print_used_database()
        if is_recorded(name, command, options):
            return run_and_record(name, execute, *args, **options)
        return execute(*args, **options)
    except DatabaseError as error:
        if options.get("traceback"):
            raise
        raise CommandError(describe_database_error(error)) from None


def print_setting_warnings() -> None:
    for line in settings.SETTING_WARNINGS:
        sys.stderr.write(f"Warning: {line}\n")


def describe_database_error(error: DatabaseError) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if "no such table" in reason or "no such column" in reason or "does not exist" in reason:
        return (
            f"The database does not fit this program: {reason}. Run `make serve` first, which "
            "brings it up to date."
        )
    if isinstance(error, OperationalError | InterfaceError):
        return f"The database cannot be used: {reason}. See DATABASE_URL."
    return f"The database refused it: {reason}. --traceback shows more."


# --- the database -------------------------------------------------------------------------------
def require_database(makes_tables: bool = False) -> None:
    """Check that there is a database, and that it is the one that is meant. Writes nothing.

    With `makes_tables` an empty Postgres database is enough. Raises CommandError.
    """
    refuse_ambiguous_home()
    home: Path = settings.HOME.root
    refuse_unfinished_restore(home)
    if not settings.HAS_SECRETS or not home.is_dir():
        raise missing_database_error()
    refuse_other_database(home)
    if settings.EMBEDDED_DATABASE and not Path(settings.DATABASES["default"]["NAME"]).is_file():
        raise missing_database_error()
    tables = connection.introspection.table_names()
    if not makes_tables and "django_migrations" not in tables:
        raise missing_database_error()
    refuse_unfinished_copy(tables)


def refuse_unfinished_restore(home: Path) -> None:
    """Raise CommandError when a `restore` into this home has begun and has not finished."""
    if (home / markers.UNFINISHED_RESTORE_NAME).exists():
        raise unfinished_restore_error()


def unfinished_restore_error() -> CommandError:
    return CommandError(
        f"The restore into {format_path(settings.HOME.root)} is not finished: run restore again."
    )


def refuse_unfinished_copy(tables: Sequence[str]) -> None:
    """Raise CommandError when `copy_database` or `restore` has not finished in this database."""
    if RESTORE_MARK_TABLE in tables:
        raise unfinished_restore_error()
    if COPY_NOTES_TABLE in tables:
        database = format_database(markers.describe_database(settings.DATABASES["default"]))
        raise CommandError(
            f"The copy into {database} is not finished: run copy_database again, without "
            "DATABASE_URL."
        )


def missing_database_error() -> CommandError:
    where = f"in {format_path(settings.HOME.root)}"
    is_in_home = settings.EMBEDDED_DATABASE or not settings.HAS_SECRETS
    if not is_in_home and settings.HOME.root.is_dir():
        where = f"at {markers.describe_database(settings.DATABASES['default'])}"
    return CommandError(
        f"There is no database {where} yet: run `make serve` first, or check PROXYSITE_HOME and "
        "DATABASE_URL."
    )


def refuse_ambiguous_home() -> None:
    """Raise CommandError when several gateways run here and nothing says which one is meant."""
    if settings.DECLARED["PROXYSITE_HOME"].source != DEFAULT:
        return
    running = markers.find_running_gateways(settings.MARKER_FILE)
    if len(running) > 1:
        homes = ", ".join(format_path(Path(record.home)) for record in running)
        raise CommandError(f"Several gateways run from here ({homes}): set PROXYSITE_HOME.")


def refuse_other_database(home: Path) -> None:
    """Raise CommandError when the running gateway uses another database than this command would."""
    record = markers.read_record(home)
    if record is None and settings.DECLARED["PROXYSITE_HOME"].source != ENVIRONMENT:
        record = next(iter(markers.find_running_gateways(settings.MARKER_FILE)), None)
    ours = markers.describe_database(settings.DATABASES["default"])
    if record is not None and not markers.is_same_database(record.database, ours):
        raise CommandError(
            f"The gateway that runs here (process {record.pid}, home "
            f"{format_path(Path(record.home))}) uses {format_database(record.database)}, and this "
            f"command would use {format_database(ours)}: give it the same PROXYSITE_HOME and "
            "DATABASE_URL."
        )


def print_used_database() -> None:
    """Print the database that is written to on standard error, unless it is the default one."""
    reasons = [
        f"{declared.name} of {describe_source(declared)}"
        for declared in (settings.DECLARED["PROXYSITE_HOME"], settings.DECLARED["DATABASE_URL"])
        if declared.source != DEFAULT
    ]
    if reasons:
        database = format_database(markers.describe_database(settings.DATABASES["default"]))
        sys.stderr.write(f"Database: {database} ({', '.join(reasons)})\n")


def describe_source(declared: DeclaredSetting) -> str:
    return "the environment" if declared.source == ENVIRONMENT else declared.source


def format_database(address: str) -> str:
    return address if "://" in address else format_path(Path(address))


def format_path(path: Path) -> str:
    """Return the path as a person in this directory would write it."""
    try:
        return f"./{path.relative_to(Path.cwd())}"
    except (ValueError, OSError):
        return str(path)
