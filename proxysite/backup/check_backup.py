"""Read a backup from its begin to its end, and prove that it is whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from proxysite.backup import home_files
from proxysite.backup.archive import manifest
from proxysite.backup.archive.archive_reader import Member, read_archive
from proxysite.backup.archive.manifest import Begin, Manifest, TableFacts, TablePlan
from proxysite.backup.archive.row_digest import RowDigest
from proxysite.backup.backup_errors import DamagedBackup
from proxysite.backup.home_files import DigestingFile, FileDigest
from proxysite.backup.restoring.restored_secrets import Secrets, parse_secrets


class BackupReader(Protocol):
    """Receive the parts of a backup; none of them is proved before the whole was read."""

    def take_begin(self, begin: Begin, secrets: Secrets | None) -> None: ...

    def take_rows(self, plan: TablePlan, lines: list[bytes]) -> None: ...

    def take_file(self, name: str, file: DigestingFile) -> None: ...

    def take_renewal(self, name: str, data: bytes) -> None: ...


class IgnoringReader:
    """A reader that only wants to know whether the backup is whole."""

    def take_begin(self, begin: Begin, secrets: Secrets | None) -> None:
        """Do nothing."""

    def take_rows(self, plan: TablePlan, lines: list[bytes]) -> None:
        """Do nothing."""

    def take_file(self, name: str, file: DigestingFile) -> None:
        """Do nothing; what is left of the file is read afterwards."""

    def take_renewal(self, name: str, data: bytes) -> None:
        """Do nothing."""


def read_backup(path: Path, passphrase: str, reader: BackupReader) -> tuple[Begin, Manifest]:
    """Give all parts of a backup to `reader`, then compare counts and digests.

    Raises BackupError, OSError, and what the reader raises.
    """
    with read_archive(path, passphrase) as members:
        begin = take_begin(members, reader)
        walk = BackupWalk(begin, reader)
        for member in members:
            walk.take_member(member)
    return begin, walk.prove()


def take_begin(members: Iterator[Member], reader: BackupReader) -> Begin:
    """Give the first members to the reader, and return the begin. Raises BackupError."""
    first = next(members, None)
    if first is None or first.name != manifest.BEGIN_NAME:
        raise DamagedBackup("This is no backup: its first member is another one.")
    begin = manifest.decode_begin(first.read_bytes())
    secrets = None
    if begin.has_secrets:
        second = next(members, None)
        if second is None or second.name != manifest.SECRETS_NAME:
            raise DamagedBackup("The backup was changed: its secrets are not there.")
        secrets = parse_secrets(second.read_bytes())
    reader.take_begin(begin, secrets)
    return begin


class BackupWalk:
    """The way through the members of a backup behind its begin."""

    def __init__(self, begin: Begin, reader: BackupReader) -> None:
        self._reader = reader
        self._plans = {plan.name: plan for plan in begin.tables}
        self._digests = {name: RowDigest() for name in self._plans}
        self._files = FileDigest()
        self._manifest: Manifest | None = None

    def take_member(self, member: Member) -> None:
        """Give a member to the reader, and count it. Raises DamagedBackup."""
        folder, _, name = member.name.partition("/")
        if self._manifest is not None:
            raise DamagedBackup(f"The backup was changed: {member.name} follows its end.")
        if member.name == manifest.MANIFEST_NAME:
            self._manifest = manifest.decode_part(member.read_bytes(), Manifest)
        elif folder == manifest.ROWS_FOLDER and name.partition("/")[0] in self._plans:
            self._take_rows(self._plans[name.partition("/")[0]], member)
        elif folder == manifest.FILES_FOLDER and home_files.is_file_name(name):
            file = DigestingFile(member.file)
            self._reader.take_file(name, file)
            for _ in file.read_pieces():  # the rest, which the reader did not read
                pass
            self._files.add_file(name, member.size, file.sha256)
        elif folder == manifest.RENEWALS_FOLDER and home_files.is_renewal_name(name):
            self._reader.take_renewal(name, member.read_bytes())
        else:
            raise DamagedBackup(f"The backup was changed: {member.name} does not belong to one.")

    def _take_rows(self, plan: TablePlan, member: Member) -> None:
        """Give a slice of rows to the reader, and count them."""
        lines = [line + b"\n" for line in member.read_bytes().split(b"\n")[:-1]]
        digest = self._digests[plan.name]
        for line in lines:
            digest.add_row(line)
        self._reader.take_rows(plan, lines)

    def prove(self) -> Manifest:
        """Return the manifest, which agrees with what was read. Raises DamagedBackup."""
        if self._manifest is None:
            raise DamagedBackup("The backup is cut off: its manifest is not there.")
        if self._manifest.tables.keys() != self._digests.keys():
            raise DamagedBackup("The backup was changed: its manifest has other tables.")
        for name, promised in self._manifest.tables.items():
            require_same_rows(f"The table {name} of the backup", self._digests[name], promised)
        home_files.require_same_files(self._files.facts, self._manifest.files)
        return self._manifest


def require_same_rows(where: str, found: RowDigest, promised: TableFacts) -> None:
    """Raise DamagedBackup unless rows are those of the manifest."""
    if found.row_count != promised.rows:
        raise DamagedBackup(
            f"{where} has {found.row_count} rows, and its manifest says {promised.rows}."
        )
    if found.hex_digest != promised.digest:
        raise DamagedBackup(f"{where} has other rows than its manifest says.")
