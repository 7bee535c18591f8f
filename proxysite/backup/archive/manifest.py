"""The first and the last member of a backup: its needs, and its counts and digests."""

from typing import TypeVar

import msgspec

from proxysite.backup.backup_errors import BackupError, DamagedBackup

FORMAT_VERSION = 1  # a release that reads other members or rows counts on
BEGIN_NAME = "begin.json"  # the first member
SECRETS_NAME = "secrets.json"  # the second member of an encrypted backup
MANIFEST_NAME = "manifest.json"  # the last member
ROWS_FOLDER = "rows"
FILES_FOLDER = "files"
RENEWALS_FOLDER = "renewals"


class TablePlan(msgspec.Struct, frozen=True):
    """A table with its columns, and on Postgres their types (`kinds`)."""

    name: str
    columns: tuple[str, ...]
    kinds: tuple[str, ...] = ()


class Begin(msgspec.Struct, frozen=True):
    """The first member: what a restore must know before the rows.

    `migrations` are those that were applied, as (app, name). `sequences` are the highest ids that
    were ever given, by table. `secret_checks` are the check values of its secrets
    (`tokens/secret_check.py`), which reveal nothing.
    """

    format_version: int
    program_version: str
    vendor: str
    made_at: str
    migrations: list[tuple[str, str]]
    tables: list[TablePlan]
    sequences: dict[str, int]
    secret_checks: dict[str, str]
    has_secrets: bool
    has_files: bool


class TableFacts(msgspec.Struct, frozen=True):
    """The rows of one table: their number, size in the backup, and digest."""

    rows: int
    bytes: int
    digest: str


class FileFacts(msgspec.Struct, frozen=True):
    """The stored files: their number, size and digest, and the rows whose bytes were not there."""

    count: int = 0
    bytes: int = 0
    digest: str = ""
    missing: int = 0


class Manifest(msgspec.Struct, frozen=True):
    """The last member: counts and digests."""

    tables: dict[str, TableFacts]
    files: FileFacts


Part = TypeVar("Part", Begin, Manifest)


def encode_part(part: Begin | Manifest) -> bytes:
    """Return a part of the manifest as JSON."""
    return msgspec.json.format(msgspec.json.encode(part), indent=1)


def decode_part(data: bytes, part_type: type[Part]) -> Part:
    """Return a part of the manifest. Raises DamagedBackup."""
    try:
        return msgspec.json.decode(data, type=part_type)
    except msgspec.DecodeError as error:
        raise DamagedBackup(f"The backup's manifest cannot be read: {error}.") from None


def decode_begin(data: bytes) -> Begin:
    """Return the first member. Raises BackupError when another format was written."""
    try:
        version = msgspec.json.decode(data)["format_version"]
    except (msgspec.DecodeError, KeyError, TypeError):
        raise DamagedBackup("The backup's manifest cannot be read.") from None
    if version != FORMAT_VERSION:
        raise BackupError(
            f"The backup has the format {version}, and this release reads {FORMAT_VERSION}: "
            "restore it with the release that made it, or a later one."
        )
    return decode_part(data, Begin)
