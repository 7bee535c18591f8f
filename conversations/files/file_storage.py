"""Store, find, open and delete the files of users.

A file is one row (`StoredFile`). Below PROXYSITE_HOME/files, its bytes are under the row's id and
its extracted text under `<id>.text`, both with mode 0600. The bytes are written first and whole
(`durable_files`), then the row. When a row is deleted, in whatever way, its bytes are deleted too.
`delete_stale_files` deletes the remains of a crash.
"""

import hashlib
import re
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils import timezone

from conversations.files import storage_quota
from conversations.models import FilePurpose, FileStatus, StoredFile, new_id
from conversations.text import extract
from providers.database.keyed_locks import KeyedLocks
from providers.durable_files import write_durable_file
from providers.exceptions import BodyTooLarge, InvalidRequest, Saturated, UnknownUrl

FILE_ID_PATTERN = re.compile(r"file-[0-9a-f]{32}", re.ASCII)
ORPHAN_SECONDS = 3_600.0  # age at which bytes without a row are deleted
PIECE_BYTES = 65_536
FILES_AT_A_TIME = 500
# documents that are read at the same time
reader_threads = ThreadPoolExecutor(4, thread_name_prefix="documents")
upload_locks = KeyedLocks(threading.Lock)  # by user id: a user's uploads are read one at a time


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that a user sends: its pieces and its description."""

    filename: str
    content_type: str
    purpose: str
    pieces: Iterable[bytes]
    expires_seconds: int | None = None  # after which it is deleted


def find_files_folder() -> Path:
    path: Path = settings.HOME.make_path("files", "x").parent
    return path


def path_of(file_id: str) -> Path:
    return find_files_folder() / file_id


def text_path_of(file_id: str) -> Path:
    return find_files_folder() / f"{file_id}.text"


# --- store ----------------------------------------------------------------------------------------
def store_file(user_id: int, upload: Upload) -> StoredFile:
    """Write the file, its text and its row; return the row.

    Raises InvalidRequest (`param`), BodyTooLarge, Saturated.
    """
    if upload.purpose not in FilePurpose.values:
        raise InvalidRequest(
            f"The purpose is one of: {', '.join(FilePurpose.values)}.", param="purpose"
        )
    filename = sanitize_line(upload.filename, 255) or "file"
    content_type = sanitize_line(upload.content_type, 100)
    what = extract.detect_file_type(filename, content_type)
    if what is None:
        raise InvalidRequest(
            f"Files of the type of {filename!r} are not taken; PDF, Word (.docx), HTML, images "
            "and plain text are.",
            param="file",
            code="unsupported_file",
        )
    require_file_room(user_id, 0)
    if not connection.in_atomic_block:
        connection.close()  # reading a document takes seconds; the connection is free meanwhile
    file_id = new_id()
    try:
        size, digest = write_file_bytes(path_of(file_id), upload.pieces)
        reason = (
            ""
            if what in extract.IMAGE_TYPES
            else write_text_in_turn(user_id, file_id, filename, content_type)
        )
        with transaction.atomic():
            # concurrent uploads of a user count each other
            get_user_model().objects.select_for_update().get(pk=user_id)
            require_file_room(user_id, size)
            return StoredFile.objects.create(
                id=file_id,
                user_id=user_id,
                filename=filename,
                content_type=content_type,
                purpose=upload.purpose,
                size_bytes=size,
                sha256=digest,
                status=FileStatus.ERROR if reason else FileStatus.PROCESSED,
                reason=reason,
                expires_at=timezone.now() + timedelta(seconds=upload.expires_seconds)
                if upload.expires_seconds
                else None,
            )
    except OSError as error:
        remove_file_bytes(file_id)
        raise Saturated("There is no room for files here now.", retry_after_seconds=60) from error
    except BaseException:
        remove_file_bytes(file_id)
        raise


def require_file_room(user_id: int, size_bytes: int) -> None:
    """Raise InvalidRequest when the user may not have one more file of this size."""
    mine = StoredFile.objects.of_user(user_id)
    if mine.count() >= settings.FILES_PER_USER:
        raise InvalidRequest(
            f"You have {settings.FILES_PER_USER} files; delete some first.", code="too_many_files"
        )
    if mine.total_bytes() + size_bytes > settings.FILES_BYTES_PER_USER:
        raise InvalidRequest(
            "Your files take up all the room you have; delete some first.", code="too_many_files"
        )
    storage_quota.require_storage_room(user_id, size_bytes)


def write_file_bytes(path: Path, pieces: Iterable[bytes]) -> tuple[int, str]:
    """Write the file whole or not at all; return its size and SHA-256.

    Raises BodyTooLarge, OSError.
    """
    size = 0
    digest = hashlib.sha256()

    def measure_pieces() -> Iterator[bytes]:
        nonlocal size
        for piece in pieces:
            size += len(piece)
            if size > settings.FILE_LIMIT_BYTES:
                most = settings.FILE_LIMIT_BYTES
                raise BodyTooLarge(f"A file has at most {most} bytes.", param="file")
            digest.update(piece)
            yield piece

    write_durable_file(path, measure_pieces())
    return size, digest.hexdigest()


def write_text_in_turn(user_id: int, file_id: str, filename: str, content_type: str) -> str:
    """Run `write_extracted_text` once at a time for each user, so that no user takes all readers.

    Raises Saturated.
    """
    lock = upload_locks.get_lock(user_id)
    if not lock.acquire(timeout=2 * settings.FILE_TEXT_SECONDS):
        raise Saturated("Your other documents are still being read.", retry_after_seconds=5)
    try:
        return write_extracted_text(file_id, filename, content_type)
    finally:
        lock.release()


def write_extracted_text(file_id: str, filename: str, content_type: str) -> str:
    """Write the text of a stored file beside it; return an empty string, or why there is none.

    Raises Saturated.
    """
    reading = reader_threads.submit(
        extract.extract_document_text, filename, content_type, path_of(file_id)
    )
    try:
        text = reading.result(2 * settings.FILE_TEXT_SECONDS)
    except extract.UnreadableDocument as error:
        return str(error)
    except TookTooLong:
        reading.cancel()
        raise Saturated("Too many documents are being read.", retry_after_seconds=5) from None
    write_text(file_id, text)
    return ""


def write_text(file_id: str, text: str) -> None:
    """Write the text of a stored file beside it, whole or not at all. Raises OSError."""
    write_durable_file(text_path_of(file_id), [text.encode("utf-8", "replace")])


def sanitize_line(text: str, most_chars: int) -> str:
    """Return a string without unprintable characters, its last `most_chars` characters.

    For a filename (`most_chars` 255), only the last part of the path is used.
    """
    name = re.split(r"[/\\]", text)[-1] if most_chars == 255 else text
    return "".join(c for c in name if c.isprintable()).strip()[-most_chars:]


# --- find, open, delete ---------------------------------------------------------------------------
def find_stored_file(user_id: int, file_id: str) -> StoredFile:
    """Return a user's own file.

    Raises UnknownUrl, the same for another user's file and for an unknown id.
    """
    found = (
        StoredFile.objects.of_user(user_id).filter(pk=file_id).first()
        if FILE_ID_PATTERN.fullmatch(file_id)
        else None
    )
    if found is None:
        raise UnknownUrl(f"There is no file {file_id[:48]!r}.", param="id", code="file_not_found")
    return found


def open_stored_file(file: StoredFile) -> BinaryIO:
    """Open the bytes of a file. Raises FileNotFoundError when this home does not have them."""
    return path_of(file.pk).open("rb")


@receiver(post_delete, sender=StoredFile)
def delete_bytes_on_commit(instance: StoredFile, **signal: Any) -> None:
    """Delete the bytes of a deleted row once its transaction is committed."""
    file_id = instance.pk
    transaction.on_commit(lambda: remove_file_bytes(file_id))


def remove_file_bytes(file_id: str) -> None:
    for path in (path_of(file_id), text_path_of(file_id)):
        path.unlink(missing_ok=True)


def delete_stale_files(older_seconds: float = ORPHAN_SECONDS) -> int:
    """Delete expired files, bytes without a row, and remains of broken uploads.

    Returns how many files without a row were deleted from the disk.
    """
    StoredFile.objects.filter(expires_at__lte=timezone.now()).delete()
    before = time.time() - older_seconds
    gone = 0
    old = [path for path in find_files_folder().iterdir() if modified_timestamp(path) < before]
    for start in range(0, len(old), FILES_AT_A_TIME):
        names = {
            path: path.name.removeprefix(".").removesuffix(".text")
            for path in old[start : start + FILES_AT_A_TIME]
        }
        known = set(
            StoredFile.objects.filter(pk__in=set(names.values())).values_list("pk", flat=True)
        )
        for path, file_id in names.items():
            if file_id not in known or path.name.startswith("."):
                path.unlink(missing_ok=True)
                gone += 1
    for path in Path(settings.FILE_UPLOAD_TEMP_DIR).iterdir():
        if modified_timestamp(path) < before:
            path.unlink(missing_ok=True)
            gone += 1
    return gone


def modified_timestamp(path: Path) -> float:
    """Return when the file was written; infinity for one that has just been deleted."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
