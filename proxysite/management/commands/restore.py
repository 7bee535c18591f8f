"""The command `restore`: put a backup into an empty home and database, or check it."""

import os
import sqlite3
from argparse import ArgumentParser
from pathlib import Path

import psycopg
from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError

from providers.management.base import GatewayCommand
from proxysite.backup import check_backup
from proxysite.backup.archive.archive_reader import require_passphrase
from proxysite.backup.archive.manifest import Begin, Manifest
from proxysite.backup.backup_errors import BackupError
from proxysite.backup.passphrase import read_passphrase
from proxysite.backup.progress_line import ProgressLine
from proxysite.backup.restoring import restore_backup

BackupEnds = tuple[Begin, Manifest]
CHECKED_TEXT = "The file is whole: counts and digests agree. Nothing was written: --check."


class Command(GatewayCommand):
    help = (
        "Restore a backup into an empty PROXYSITE_HOME and database, and prove by counts and "
        "digests that everything is there. serve brings an older release's up to date."
    )
    requires_system_checks: list[str] = []
    needs_database = False
    writes = False  # to no database that exists

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="a file that backup has written")
        parser.add_argument(
            "--passphrase-file", metavar="F", help="the passphrase; - is standard input"
        )
        parser.add_argument(
            "--check", action="store_true", help="read and prove the file, write nothing"
        )

    def handle(
        self,
        *args: object,
        file: str,
        passphrase_file: str | None,
        check: bool,
        verbosity: int,
        **options: object,
    ) -> None:
        os.umask(0o077)
        progress = ProgressLine(self.stderr, is_silent=not verbosity)
        try:
            begin, manifest = self.read(Path(file), passphrase_file, check, progress)
        except BackupError as error:
            progress.clear()
            raise CommandError(str(error)) from None
        except OSError as error:
            progress.clear()
            place = error.filename or file
            raise CommandError(f"{place}: {error.strerror or error}.") from None
        except (DatabaseError, sqlite3.Error, psycopg.Error) as error:
            progress.clear()
            reason = (str(error).strip().splitlines() or ["no answer"])[0].rstrip(".")
            raise CommandError(f"The database cannot be used: {reason}.") from None
        progress.clear()
        self.stdout.write(describe_content(begin, manifest))
        self.stdout.write(CHECKED_TEXT if check else describe_restored())

    def read(
        self, path: Path, passphrase_file: str | None, check: bool, progress: ProgressLine
    ) -> BackupEnds:
        """Check or restore the backup. Raises BackupError, OSError, DatabaseError."""
        passphrase = read_passphrase(passphrase_file) if passphrase_file else ""
        require_passphrase(path, passphrase)
        if check:
            return check_backup.read_backup(path, passphrase, check_backup.IgnoringReader())
        return restore_backup.restore_backup(path, passphrase, progress.report)


def describe_content(begin: Begin, manifest: Manifest) -> str:
    """Return the tables with rows, each with its count and digest, and the files."""
    lines = [
        f"{name:<48} {facts.rows:>10}  {facts.digest}"
        for name, facts in manifest.tables.items()
        if facts.rows
    ]
    rows = sum(facts.rows for facts in manifest.tables.values())
    lines.append(
        f"{rows} rows of {len(manifest.tables)} tables and {manifest.files.count} files, of "
        f"release {begin.program_version}, {begin.made_at}."
    )
    if manifest.files.missing:
        lines.append(f"The bytes of {manifest.files.missing} files were missing at the backup.")
    if not begin.has_files:
        lines.append("The files of users are not in it (--without-files).")
    return "\n".join(lines)


def describe_restored() -> str:
    """Return the next step after a restore."""
    return (
        f"Restored into {settings.HOME.root}; counts and digests agree. Next: make serve, with "
        "this PROXYSITE_HOME and DATABASE_URL."
    )
