"""The files of a home that belong into a backup: stored files, their texts, renewed tokens."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from conversations.files import file_storage
from conversations.files.file_storage import FILE_ID_PATTERN
from proxysite.backup.archive.manifest import FileFacts
from proxysite.backup.archive.row_digest import RowDigest
from proxysite.backup.backup_errors import DamagedBackup
from tokens.renewal import unsaved_secrets

PIECE_BYTES = 2**18
IDS_AT_ONCE = 1_000
NEXT_IDS = "SELECT id FROM conversations_storedfile WHERE id > %s ORDER BY id LIMIT %s"
TEXT_SUFFIX = ".text"


class Snapshot(Protocol):
    """A state of the database that answers queries."""

    def query(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...


class HomeFile(NamedTuple):
    """A file of the home; `path` does not exist where the bytes of a row are missing."""

    name: str
    path: Path


def find_stored_files(snapshot: Snapshot) -> Iterator[HomeFile]:
    """Yield the bytes, and the text if there is one, of each row of the snapshot.

    Bytes are written before their row, so those of a row are there until it is deleted.
    """
    last = ""
    while ids := [row[0] for row in snapshot.query(NEXT_IDS, [last, IDS_AT_ONCE])]:
        for file_id in ids:
            yield HomeFile(file_id, file_storage.path_of(file_id))
            text_path = file_storage.text_path_of(file_id)
            if text_path.is_file():
                yield HomeFile(f"{file_id}{TEXT_SUFFIX}", text_path)
        last = ids[-1]


def read_renewals() -> dict[str, bytes]:
    """Return the files of renewed tokens that are not in the database yet.

    They are read before the database is: once they are in it, they are deleted.
    """
    contents = {}
    for path in unsaved_secrets.find_secrets_files():
        try:
            contents[path.name] = path.read_bytes()
        except FileNotFoundError:
            continue
    return contents


def is_file_name(name: str) -> bool:
    """Return whether a member of a backup is a stored file, and no path to another place."""
    return FILE_ID_PATTERN.fullmatch(name.removesuffix(TEXT_SUFFIX)) is not None


def is_renewal_name(name: str) -> bool:
    """Return whether a name is one of a file, and no path to another place."""
    return bool(name) and "/" not in name and name.strip(".") != ""


class FileDigest:
    """The facts of stored files, added up one after the other, whatever their order."""

    def __init__(self) -> None:
        self._digest = RowDigest()
        self._bytes = 0
        self.missing = 0

    def add_file(self, name: str, size: int, sha256: str) -> None:
        """Count a file of `size` bytes."""
        self._digest.add_row(f"{name} {size} {sha256}".encode())
        self._bytes += size

    @property
    def facts(self) -> FileFacts:
        digest = self._digest
        return FileFacts(digest.row_count, self._bytes, digest.hex_digest, self.missing)


class DigestingFile:
    """A file that is read through, while its SHA-256 is made."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()

    def read(self, size: int = PIECE_BYTES) -> bytes:
        """Return at most `size` bytes, none at the end."""
        data = self._file.read(size)
        self._sha256.update(data)
        return data

    def read_pieces(self) -> Iterator[bytes]:
        """Yield the rest of the file in pieces."""
        while piece := self.read():
            yield piece

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


def require_same_files(found: FileFacts, promised: FileFacts) -> None:
    """Raise DamagedBackup unless the files are those of the manifest."""
    if (found.count, found.bytes, found.digest) != (
        promised.count,
        promised.bytes,
        promised.digest,
    ):
        raise DamagedBackup(
            f"The backup was changed: it has {found.count} files, its manifest {promised.count}, "
            "or their bytes differ."
        )
