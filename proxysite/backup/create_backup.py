"""Write a backup of everything a gateway keeps, while it serves.

Rows are read in one snapshot of the database, which keeps no writer waiting. Stored files follow:
their bytes never change, and are on disk before their rows are.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, cast

from django.conf import settings

from proxysite.backup.archive import manifest
from proxysite.backup.archive.archive_writer import ArchiveWriter, write_archive
from proxysite.backup.archive.manifest import Begin, Manifest, TableFacts, TablePlan
from proxysite.backup.archive.row_digest import RowDigest
from proxysite.backup.home_files import DigestingFile, FileDigest, find_stored_files, read_renewals
from proxysite.backup.own_connection import open_own_connection
from proxysite.backup.postgres_rows import PostgresSnapshot
from proxysite.backup.sqlite_rows import SqliteSnapshot

SLICE_BYTES = 4 * 2**20  # a member of rows ends here
SECRET_CHECKS_TABLE = "tokens_secretcheck"  # noqa: S105 - its name
Snapshot = SqliteSnapshot | PostgresSnapshot
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BackupOrder:
    """The wishes for a backup; an empty `passphrase`: not encrypted, and without the secrets."""

    path: Path
    passphrase: str
    with_files: bool


def write_backup(order: BackupOrder, report_progress: Progress) -> Manifest:
    """Write the backup, and return its manifest. Raises OSError, DatabaseError, sqlite3.Error."""
    renewals = read_renewals()
    with open_snapshot() as snapshot, write_archive(order.path, order.passphrase) as archive:
        plans = snapshot.read_plans()
        begin = make_begin(snapshot, plans, order)
        archive.add_bytes(manifest.BEGIN_NAME, manifest.encode_part(begin))
        if begin.has_secrets:
            archive.add_bytes(manifest.SECRETS_NAME, json.dumps(read_own_secrets()).encode())
        for name, data in renewals.items():
            archive.add_bytes(f"{manifest.RENEWALS_FOLDER}/{name}", data)
        tables = {}
        for number, plan in enumerate(plans, start=1):
            report_progress(f"{plan.name} ({number} of {len(plans)} tables)")
            tables[plan.name] = add_table(archive, plan, snapshot.read_rows(plan))
        files = FileDigest()
        if order.with_files:
            add_files(archive, snapshot, files, report_progress)
        end = Manifest(tables, files.facts)
        archive.add_bytes(manifest.MANIFEST_NAME, manifest.encode_part(end))
    return end


@contextmanager
def open_snapshot() -> Iterator[Snapshot]:
    """Yield one state of the database. Raises DatabaseError, sqlite3.Error, psycopg.Error."""
    snapshot: Snapshot
    if settings.EMBEDDED_DATABASE:
        snapshot = SqliteSnapshot(Path(settings.DATABASES["default"]["NAME"]))
        try:
            yield snapshot
        finally:
            snapshot.close()
        return
    with open_own_connection() as connection:
        snapshot = PostgresSnapshot(connection.connection)
        try:
            yield snapshot
        finally:
            snapshot.close()


def make_begin(snapshot: Snapshot, plans: list[TablePlan], order: BackupOrder) -> Begin:
    """Return the first member: the state of the database that is read now."""
    return Begin(
        format_version=manifest.FORMAT_VERSION,
        program_version=settings.VERSION,
        vendor=snapshot.vendor,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        migrations=snapshot.read_migrations(),
        tables=plans,
        sequences=snapshot.read_sequences(),
        secret_checks=read_secret_checks(snapshot, plans),
        has_secrets=bool(order.passphrase),
        has_files=order.with_files,
    )


def read_secret_checks(snapshot: Snapshot, plans: list[TablePlan]) -> dict[str, str]:
    """Return the check values of the secrets; none in a database from before there were any."""
    if SECRET_CHECKS_TABLE not in {plan.name for plan in plans}:
        return {}
    return dict(snapshot.query(f"SELECT name, value FROM {SECRET_CHECKS_TABLE}"))


def read_own_secrets() -> dict[str, str]:
    """Return the secrets in force, as they are written in secrets.env."""
    return {
        "SECRET_KEY": settings.SECRET_KEY,
        "FIELD_KEYS": ",".join(settings.FIELD_KEYS),
        "KEY_PEPPER": settings.KEY_PEPPER,
    }


def add_table(archive: ArchiveWriter, plan: TablePlan, rows: Iterable[bytes]) -> TableFacts:
    """Add the rows of a table, in slices; return their count, size and digest."""
    digest = RowDigest()
    waiting = bytearray()
    number = 0
    for row in rows:
        digest.add_row(row)
        waiting += row
        if len(waiting) >= SLICE_BYTES:
            archive.add_bytes(name_slice(plan, number), bytes(waiting))
            waiting.clear()
            number += 1
    if waiting:
        archive.add_bytes(name_slice(plan, number), bytes(waiting))
    return TableFacts(digest.row_count, digest.byte_count, digest.hex_digest)


def name_slice(plan: TablePlan, number: int) -> str:
    """Return the name of a member with rows."""
    return f"{manifest.ROWS_FOLDER}/{plan.name}/{number:06}"


def add_files(
    archive: ArchiveWriter, snapshot: Snapshot, files: FileDigest, report_progress: Progress
) -> None:
    """Add the stored files; those that were deleted meanwhile are counted as missing."""
    for number, stored in enumerate(find_stored_files(snapshot), start=1):
        report_progress(f"files ({number})")
        try:
            file = stored.path.open("rb")
        except FileNotFoundError:
            files.missing += 1
            continue
        with file:
            size = os.fstat(file.fileno()).st_size
            add_file(archive, stored.name, file, size, files)


def add_file(
    archive: ArchiveWriter, name: str, file: BinaryIO, size: int, files: FileDigest
) -> None:
    """Add the bytes of a stored file, and count it."""
    digesting = DigestingFile(file)
    archive.add_file(f"{manifest.FILES_FOLDER}/{name}", cast(BinaryIO, digesting), size)
    files.add_file(name, size, digesting.sha256)
