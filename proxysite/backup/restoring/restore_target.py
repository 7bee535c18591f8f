"""The empty home and database that a backup is restored into.

Everything gets its place at the end of a restore. Until then the file `restore.unfinished` in the
home, and on Postgres the table `proxysite_restore`, say that it is not finished: no gateway starts
there, and another `restore` begins anew.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper

from providers.durable_files import sync_directory, write_durable_file
from proxysite.backup.archive.manifest import Begin
from proxysite.backup.backup_errors import BackupError
from proxysite.backup.own_connection import open_own_connection
from proxysite.backup.postgres_rows import PostgresLoader
from proxysite.backup.restoring import restored_schema
from proxysite.backup.sqlite_rows import SqliteLoader
from proxysite.command_line import RESTORE_MARK_TABLE
from proxysite.first_run import markers
from proxysite.home import STARTUP_FOLDERS

FILES = "files"
DRAFT_FILES = ".files.restoring"
RENEWALS = "renewals"
# what an empty home may have
HARMLESS_NAMES = frozenset((*STARTUP_FOLDERS, "secrets.env", markers.LOCK_NAME, "lost+found"))
MOST_NAMED = 3
Loader = SqliteLoader | PostgresLoader


def find_mark_file() -> Path:
    """Return the path of the mark of an unfinished restore."""
    return settings.HOME.root / markers.UNFINISHED_RESTORE_NAME


def find_database_file() -> Path:
    """Return the path of the SQLite database."""
    return Path(settings.DATABASES["default"]["NAME"])


def find_draft_file() -> Path:
    """Return where the SQLite database is until the restore is finished."""
    file = find_database_file()
    return file.with_name(f".{file.name}.restoring")


@contextmanager
def claim_empty_home() -> Iterator[None]:
    """Make the home if it does not exist, and hold its lock during the block.

    Raises BackupError when a gateway runs on it or it is not empty.
    """
    settings.HOME.make_path("x")
    lock = markers.claim_home(settings.HOME.root)
    if lock is None:
        raise BackupError(f"A gateway runs on {settings.HOME.root}: restore into an empty home.")
    try:
        require_empty_home()
        yield
    finally:
        lock.close()


def require_empty_home() -> None:
    """Raise BackupError when the home has something, unless it is of an unfinished restore."""
    if has_own_mark():
        delete_unfinished_files()
    found = {path.name for path in settings.HOME.root.iterdir()} - HARMLESS_NAMES
    if has_own_mark():
        found.discard(find_mark_file().name)
    files = [path for path in list_database_files() if path.exists()]
    if names := sorted(found | {path.name for path in files}):
        shown = ", ".join(names[:MOST_NAMED])
        raise BackupError(
            f"{settings.HOME.root} is not empty, it has {shown}: restore into an empty "
            "PROXYSITE_HOME."
        )


def has_own_mark() -> bool:
    """Return whether a restore into this home and this database is not finished."""
    try:
        lines = find_mark_file().read_text("utf-8").splitlines()
    except FileNotFoundError:
        return False
    return lines[1:2] == [describe_own_database()]


def describe_own_database() -> str:
    """Return a line that names this gateway's database, without its password."""
    return markers.describe_database(settings.DATABASES["default"])


def list_database_files() -> list[Path]:
    """Return the files of the SQLite database; none on Postgres."""
    if not settings.EMBEDDED_DATABASE:
        return []
    file = find_database_file()
    return [file.with_name(f"{file.name}{suffix}") for suffix in ("", "-wal", "-shm")]


def delete_unfinished_files() -> None:
    """Delete the files of a restore that was interrupted."""
    for name in (FILES, DRAFT_FILES, RENEWALS):
        shutil.rmtree(settings.HOME.root / name, ignore_errors=True)
    for path in list_database_files():
        path.unlink(missing_ok=True)
    if settings.EMBEDDED_DATABASE:
        draft = find_draft_file()
        for suffix in ("", "-wal", "-shm", "-journal"):
            draft.with_name(f"{draft.name}{suffix}").unlink(missing_ok=True)


def mark_unfinished(backup_name: str) -> None:
    """Write the mark, which names the backup and the database that is not filled yet."""
    write_durable_file(find_mark_file(), [f"{backup_name}\n{describe_own_database()}\n".encode()])


def clear_mark() -> None:
    """Delete the mark."""
    find_mark_file().unlink(missing_ok=True)
    sync_directory(settings.HOME.root)


# --- the database -------------------------------------------------------------------------------
@contextmanager
def open_loader(begin: Begin) -> Iterator[Loader]:
    """Make the tables of a backup, and yield their loader. Raises BackupError, DatabaseError."""
    loader: Loader
    if settings.EMBEDDED_DATABASE:
        find_draft_file().touch(mode=0o600)
        with open_own_connection(find_draft_file()) as connection:
            restored_schema.create_schema(connection, begin.migrations)
        loader = SqliteLoader(find_draft_file())
        try:
            yield loader
        finally:
            loader.close()
        return
    with open_own_connection() as connection:
        mark_database(connection)
        restored_schema.create_schema(connection, begin.migrations)
        loader = PostgresLoader(connection.connection)
        try:
            yield loader
        finally:
            loader.close()


def mark_database(connection: BaseDatabaseWrapper) -> None:
    """Create the table that says that a restore is not finished.

    Raises BackupError when the database is not empty.
    """
    tables = connection.introspection.table_names()
    if RESTORE_MARK_TABLE in tables:
        return
    if tables:
        shown = ", ".join(sorted(tables)[:MOST_NAMED])
        raise BackupError(
            f"The database is not empty, it has the tables {shown}"
            f"{', …' if tables[MOST_NAMED:] else ''}: restore into an empty one."
        )
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {RESTORE_MARK_TABLE} (id int)")


def put_sqlite_in_place() -> None:
    """Give the filled draft the name of the database."""
    draft = find_draft_file()
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(find_database_file())
    sync_directory(find_database_file().parent)


def put_files_in_place() -> None:
    """Give the folder of restored files its name."""
    draft = settings.HOME.root / DRAFT_FILES
    if draft.exists():
        shutil.rmtree(settings.HOME.root / FILES, ignore_errors=True)
        draft.replace(settings.HOME.root / FILES)
