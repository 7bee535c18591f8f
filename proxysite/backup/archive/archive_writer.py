"""Write a backup: a tar archive, compressed, and encrypted if there is a passphrase.

It is written to a draft in the same folder, `.<name>.<random>`, and gets its name when all of it is
on disk. So a file with the name of a backup is whole.
"""

import gzip
import io
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from providers.durable_files import sync_directory
from proxysite.backup.archive.encrypted_stream import EncryptedWriter

COMPRESSION_LEVEL = 4  # higher levels take twice the time for some percent
FILE_MODE = 0o600


class ArchiveWriter:
    """The archive that is being written; members are added one after the other."""

    def __init__(self, file: BinaryIO, passphrase: str) -> None:
        self._encrypted = EncryptedWriter(file, passphrase) if passphrase else None
        self._gzip = gzip.GzipFile(
            filename="",
            mode="wb",
            compresslevel=COMPRESSION_LEVEL,
            fileobj=self._encrypted or file,
            mtime=0,
        )
        self._tar = tarfile.open(  # noqa: SIM115 - `finish` closes it
            fileobj=self._gzip, mode="w|", format=tarfile.PAX_FORMAT
        )

    def add_bytes(self, name: str, data: bytes) -> None:
        """Add a member with these bytes."""
        self.add_file(name, io.BytesIO(data), len(data))

    def add_file(self, name: str, file: BinaryIO, size: int) -> None:
        """Add a member of `size` bytes. Raises OSError when the file has fewer."""
        member = tarfile.TarInfo(name)
        member.size = size
        member.mode = FILE_MODE
        self._tar.addfile(member, file)
        self._tar.members = []  # type: ignore[attr-defined] # it would remember each one

    def finish(self) -> None:
        """Write what is left; the file stays open."""
        self._tar.close()
        self._gzip.close()
        if self._encrypted is not None:
            self._encrypted.finish()

    def abandon(self) -> None:
        """Keep the archive from writing its end when it is collected; nothing after `finish`."""
        self._tar.fileobj.closed = True  # type: ignore[attr-defined]
        self._gzip.fileobj = None  # type: ignore[assignment]


@contextmanager
def write_archive(path: Path, passphrase: str) -> Iterator[ArchiveWriter]:
    """Yield an archive that gets the name `path` when the block ends without an error.

    An empty passphrase leaves it unencrypted. Raises OSError.
    """
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(descriptor, "wb") as file:
            archive = ArchiveWriter(file, passphrase)
            try:
                yield archive
                archive.finish()
            finally:
                archive.abandon()
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:  # whatever ends it
        Path(draft).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)
