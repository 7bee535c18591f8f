"""Read a backup that `archive_writer` has written, member after member, in constant memory."""

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from proxysite.backup.archive.encrypted_stream import HEADER_BEGIN, EncryptedReader
from proxysite.backup.backup_errors import BackupError, DamagedBackup

GZIP_BEGIN = b"\x1f\x8b"
MOST_MEMBER_BYTES = 2**30  # a slice of rows ends behind a large one


class Member(NamedTuple):
    """One member of the archive. `file` can be read until the next member is asked for."""

    name: str
    size: int
    file: BinaryIO

    def read_bytes(self) -> bytes:
        """Return the content of a member that fits in memory. Raises DamagedBackup."""
        if self.size > MOST_MEMBER_BYTES:
            raise DamagedBackup(f"The backup was changed: {self.name} is too large.")
        return self.file.read()


def require_passphrase(path: Path, passphrase: str) -> None:
    """Raise BackupError unless the file is a backup, and the passphrase is given if it needs one.

    Raises OSError when it cannot be read.
    """
    with path.open("rb") as file:
        begin = file.read(len(HEADER_BEGIN))
    if begin == HEADER_BEGIN:
        if not passphrase:
            raise BackupError(f"{path} is encrypted: give --passphrase-file.")
    elif not begin.startswith(GZIP_BEGIN):
        raise DamagedBackup(f"{path} is no backup.")
    elif passphrase:
        raise BackupError(f"{path} is not encrypted: leave --passphrase-file out.")


@contextmanager
def read_archive(path: Path, passphrase: str) -> Iterator[Iterator[Member]]:
    """Yield the members of a backup. Raises BackupError, OSError.

    When the members are read to their end, the archive is whole.
    """
    require_passphrase(path, passphrase)
    with path.open("rb") as file, translate_errors(path):
        source = EncryptedReader(file, passphrase) if passphrase else file
        with gzip.GzipFile(fileobj=source, mode="rb") as unpacked:  # type: ignore[arg-type]
            yield read_members(unpacked)


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Raise DamagedBackup in place of the errors of gzip and tar."""
    try:
        yield
    except (EOFError, tarfile.TarError, zlib.error, gzip.BadGzipFile) as error:
        cut_off = isinstance(error, EOFError) or "unexpected end" in str(error)
        fault = "is cut off" if cut_off else "was changed"
        raise DamagedBackup(f"The backup {path} {fault}.") from None


def read_members(unpacked: gzip.GzipFile) -> Iterator[Member]:
    """Yield the members, and read the archive to its checksum."""
    with tarfile.open(fileobj=unpacked, mode="r|") as tar:
        for entry in iter(tar.next, None):
            file = tar.extractfile(entry)
            if file is not None:
                yield Member(entry.name, entry.size, file)  # type: ignore[arg-type]
            tar.members = []  # type: ignore[attr-defined] # it would remember each one
    while unpacked.read(2**20):  # the checksum behind the last block
        pass
