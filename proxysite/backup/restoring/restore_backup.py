"""Restore a backup into an empty home and database.

The parts are written while they are read. They get their places when the whole backup was read,
agrees with its manifest, and the rows in the database do too.
"""

import sqlite3
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psycopg
from django.conf import settings

from providers.durable_files import sync_directory, write_durable_file
from proxysite.backup.archive.manifest import Begin, Manifest, TablePlan
from proxysite.backup.archive.row_digest import RowDigest
from proxysite.backup.backup_errors import BackupError, DamagedBackup
from proxysite.backup.check_backup import read_backup, require_same_rows
from proxysite.backup.home_files import DigestingFile
from proxysite.backup.restoring import restore_target, restored_schema, restored_secrets
from proxysite.backup.restoring.restore_target import Loader
from proxysite.backup.restoring.restored_secrets import Secrets

DATABASE_NAMES = {"sqlite": "SQLite", "postgresql": "Postgres"}
LOADING_ERRORS = (psycopg.Error, sqlite3.Error, ValueError, KeyError)
Progress = Callable[[str], None]


class Restore:
    """The parts of a backup on their way into a home: a `BackupReader`."""

    def __init__(self, report_progress: Progress) -> None:
        self._report_progress = report_progress
        self._stack = ExitStack()
        self._loader: Loader | None = None
        self._secrets: Secrets = {}
        self._files = 0
        self._rows = 0

    @property
    def loader(self) -> Loader:
        """Return the loader, which the begin of a backup has opened."""
        if self._loader is None:
            raise RuntimeError("the begin of a backup comes first")
        return self._loader

    def take_begin(self, begin: Begin, secrets: Secrets | None) -> None:
        """Make the tables. Raises BackupError when the backup cannot be restored here."""
        require_same_vendor(begin)
        restored_schema.require_known_migrations(begin.migrations, begin.program_version)
        given = restored_secrets.read_given_secrets(settings.HOME)
        self._secrets = restored_secrets.choose_secrets(secrets, given)
        restored_secrets.use_secrets(self._secrets)
        restored_secrets.require_fitting_secrets(begin.secret_checks)
        self._report_progress("tables")
        self._loader = self._stack.enter_context(restore_target.open_loader(begin))
        self._loader.begin()
        plans = {plan.name: set(plan.columns) for plan in self._loader.read_plans()}
        for plan in begin.tables:
            if plans.get(plan.name) != set(plan.columns):
                raise BackupError(f"The table {plan.name} has other columns in the backup.")

    def take_rows(self, plan: TablePlan, lines: list[bytes]) -> None:
        """Write rows. Raises DamagedBackup."""
        self._rows += len(lines)
        self._report_progress(f"{plan.name} ({self._rows} rows so far)")
        try:
            self.loader.write_rows(plan, lines)
        except LOADING_ERRORS as error:
            raise DamagedBackup(describe_refused_rows(plan, error)) from None

    def take_file(self, name: str, file: DigestingFile) -> None:
        """Write a stored file to the drafts. Raises OSError."""
        self._files += 1
        self._report_progress(f"files ({self._files})")
        path = settings.HOME.make_path(restore_target.DRAFT_FILES, name)
        write_durable_file(path, file.read_pieces())

    def take_renewal(self, name: str, data: bytes) -> None:
        """Write a file of renewed tokens. Raises OSError."""
        write_durable_file(settings.HOME.make_path(restore_target.RENEWALS, name), [data])

    def finish(self, begin: Begin, manifest: Manifest) -> None:
        """Compare the rows of the database with the manifest, and put everything in its place.

        Raises BackupError.
        """
        for plan in begin.tables:
            self._report_progress(f"comparing {plan.name}")
            digest = RowDigest()
            for row in self.loader.read_rows(plan):
                digest.add_row(row)
            where = f"The table {plan.name} of the new database"
            require_same_rows(where, digest, manifest.tables[plan.name])
        restore_target.put_files_in_place()
        restored_secrets.write_secrets(settings.HOME, self._secrets)
        self.loader.finish(begin.sequences)
        self.close()
        if settings.EMBEDDED_DATABASE:
            restore_target.put_sqlite_in_place()
        sync_directory(settings.HOME.root)
        restore_target.clear_mark()

    def close(self) -> None:
        self._stack.close()


def restore_backup(
    path: Path, passphrase: str, report_progress: Progress
) -> tuple[Begin, Manifest]:
    """Restore a backup, and return its first and its last member.

    Raises BackupError, OSError, DatabaseError; home and database are left empty, or marked.
    """
    with restore_target.claim_empty_home():
        restore_target.mark_unfinished(path.name)
        restore = Restore(report_progress)
        try:
            begin, manifest = read_backup(path, passphrase, restore)
            restore.finish(begin, manifest)
        except BaseException:  # whatever ends it, the home stays empty
            restore.close()
            restore_target.delete_unfinished_files()
            restore_target.clear_mark()
            raise
    return begin, manifest


def require_same_vendor(begin: Begin) -> None:
    """Raise BackupError when the backup is of another kind of database than this gateway's."""
    vendor = "sqlite" if settings.EMBEDDED_DATABASE else "postgresql"
    if begin.vendor == vendor:
        return
    if begin.vendor == "sqlite":
        raise BackupError(
            "The backup is of SQLite: restore it without DATABASE_URL; copy_database then moves it "
            "to Postgres."
        )
    raise BackupError("The backup is of Postgres: set DATABASE_URL to an empty Postgres database.")


def describe_refused_rows(plan: TablePlan, error: Exception) -> str:
    """Return the sentence about rows that the database does not take."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return f"The rows of {plan.name} cannot be written: {reason}."
