"""The command `backup`: write everything that the gateway keeps into one file."""

import sqlite3
import time
from argparse import ArgumentParser
from pathlib import Path

import psycopg
from django.core.management.base import CommandError
from django.db import DatabaseError

from providers.management.base import GatewayCommand
from proxysite.backup import create_backup
from proxysite.backup.archive.manifest import Manifest
from proxysite.backup.backup_errors import BackupError
from proxysite.backup.backup_run import BackupRun, record_run
from proxysite.backup.create_backup import BackupOrder
from proxysite.backup.passphrase import read_passphrase
from proxysite.backup.progress_line import ProgressLine


class Command(GatewayCommand):
    help = (
        "Write database, files and secrets into one file, while the gateway serves. restore reads "
        "it. Nothing has the name FILE before it is whole."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="the new file, for example 2026-11-30.backup")
        parser.add_argument(
            "--passphrase-file",
            metavar="F",
            help="encrypt with the first line of this file; - is standard input",
        )
        parser.add_argument(
            "--no-encryption",
            action="store_true",
            help="write a .tar.gz without the secrets of the gateway, which anybody can read",
        )
        parser.add_argument(
            "--without-files", action="store_true", help="leave out the files that users stored"
        )

    def handle(
        self,
        *args: object,
        file: str,
        passphrase_file: str | None,
        no_encryption: bool,
        without_files: bool,
        verbosity: int,
        **options: object,
    ) -> None:
        if bool(passphrase_file) == no_encryption:
            raise CommandError("Give either --passphrase-file or --no-encryption.")
        path = Path(file).absolute()
        require_new_file(path)
        try:
            passphrase = read_passphrase(passphrase_file) if passphrase_file else ""
        except BackupError as error:
            raise CommandError(str(error)) from None
        run = BackupRun(
            file_name=str(path), is_encrypted=not no_encryption, has_files=not without_files
        )
        progress = ProgressLine(self.stderr, is_silent=not verbosity)
        manifest = self.write(BackupOrder(path, passphrase, not without_files), run, progress)
        self.stdout.write(describe_backup(run, manifest))

    def write(self, order: BackupOrder, run: BackupRun, progress: ProgressLine) -> Manifest:
        """Write the backup and the row of this run. Raises CommandError."""
        begin = time.monotonic()
        try:
            manifest = create_backup.write_backup(order, progress.report)
            run.size_bytes = order.path.stat().st_size
        except (OSError, DatabaseError, sqlite3.Error, psycopg.Error) as error:
            reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[0]
            run.reason = f"The backup cannot be written: {reason.rstrip('.')}."
            raise CommandError(run.reason) from None
        finally:
            progress.clear()
            run.seconds = time.monotonic() - begin
            if run.size_bytes or run.reason:
                record_run(run)
        return manifest


def require_new_file(path: Path) -> None:
    """Raise CommandError when the file exists, or its folder does not."""
    if path.exists():
        raise CommandError(f"{path} exists already: give the name of a new file.")
    if not path.parent.is_dir():
        raise CommandError(f"There is no folder {path.parent}.")


def describe_backup(run: BackupRun, manifest: Manifest) -> str:
    """Return the size of a backup, and what is missing in it."""
    rows = sum(table.rows for table in manifest.tables.values())
    files = f"{manifest.files.count} files" if run.has_files else "no files"
    text = (
        f"{run.file_name}: {rows} rows of {len(manifest.tables)} tables, {files}, "
        f"{run.size_bytes} bytes."
    )
    if manifest.files.missing:
        text += f"\n{manifest.files.missing} files are in the database, but not on this disk."
    if not run.is_encrypted:
        text += "\nIt is not encrypted and has no secrets: keep FIELD_KEYS and KEY_PEPPER yourself."
    return text
