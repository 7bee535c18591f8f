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
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TookTooLong
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection, transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils import timezone

from conversations.files import storage_quota
from conversations.models import FilePurpose, FileStatus, StoredFile, UploadPart, new_id
from conversations.models.files import (
    DEFAULT_LIFETIME_SECONDS,
    TEXTLESS_PURPOSES,
    UPLOAD_PURPOSES,
)
from conversations.text import extract
from providers.database.keyed_locks import KeyedLocks
from providers.durable_files import write_durable_file
from providers.exceptions import BodyTooLarge, InvalidRequest, Saturated, UnknownUrl

FILE_ID_PATTERN = re.compile(r"file-[0-9a-f]{32}", re.ASCII)
ORPHAN_SECONDS = 3_600.0  # age at which bytes without a row are deleted
PIECE_BYTES = 65_536
FILES_AT_A_TIME = 500
TOO_LARGE_TO_READ = "The file is too large to be read."
FILENAME_CHARS = 255
CONTENT_TYPE_CHARS = 100
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
    is_document: bool = False  # it is uploaded to be read
    limit_bytes: int | None = None  # how large it may be; None: FILE_LIMIT_BYTES
    upload_id: str = ""  # of the upload whose parts it is made of


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
    row = StoredFile(
        id=new_id(),
        user_id=user_id,
        filename=sanitize_filename(upload.filename) or "file",
        content_type=sanitize_line(upload.content_type, CONTENT_TYPE_CHARS),
        purpose=upload.purpose,
    )
    require_known_purpose(upload.purpose)
    file_type = extract.detect_file_type(row.filename, row.content_type)
    require_file_room(user_id, 0)
    if not connection.in_atomic_block:
        connection.close()  # reading a document takes seconds; the connection is free meanwhile
    try:
        row.size_bytes, row.sha256 = write_file_bytes(
            path_of(row.id), upload.pieces, upload.limit_bytes or find_most_bytes(row.purpose)
        )
        if row.purpose in TEXTLESS_PURPOSES or file_type in extract.IMAGE_TYPES:
            row.reason = ""
        elif row.size_bytes > settings.FILE_LIMIT_BYTES:
            row.reason = TOO_LARGE_TO_READ
        else:
            row.reason = write_text_in_turn(row)
        if row.reason and file_type is not None:
            row.status = FileStatus.ERROR
        elif row.reason and upload.is_document:
            raise unreadable_type_error(row.filename)
        lifetime_seconds = upload.expires_seconds or DEFAULT_LIFETIME_SECONDS.get(row.purpose)
        create_file_row(row, lifetime_seconds, upload.upload_id)
    except OSError as error:
        remove_file_bytes(row.id)
        raise Saturated("There is no room for files here now.", retry_after_seconds=60) from error
    except BaseException:  # whatever ends the upload: bytes without a row would never be deleted
        remove_file_bytes(row.id)
        raise
    return row


def require_known_purpose(purpose: str) -> None:
    """Raise InvalidRequest for a purpose that a caller cannot give a file here."""
    if purpose not in UPLOAD_PURPOSES:
        raise InvalidRequest(
            f"The purpose is one of: {', '.join(UPLOAD_PURPOSES)}.", param="purpose"
        )


def unreadable_type_error(filename: str) -> InvalidRequest:
    """Return the error for a document that can be stored, but never be read."""
    return InvalidRequest(
        f"The type of {filename!r} cannot be read; PDF, Word (.docx), HTML and plain text can.",
        param="file",
        code="unsupported_file",
    )


@transaction.atomic
def create_file_row(row: StoredFile, expires_seconds: int | None, upload_id: str) -> None:
    """Write the row of a file whose bytes are written. Raises InvalidRequest.

    The parts of its own upload (`upload_id`) take no room beside it.

    The user's row is locked, so that concurrent uploads of a user count each other.
    """
    get_user_model().objects.select_for_update().get(pk=row.user_id)
    require_file_room(row.user_id, row.size_bytes, upload_id)
    if expires_seconds:
        row.expires_at = timezone.now() + timedelta(seconds=expires_seconds)
    row.save(force_insert=True)


def require_file_room(user_id: int, size_bytes: int, upload_id: str = "") -> None:
    """Raise InvalidRequest when the user may not have one more file of this size.

    The parts of uploads take room, too, but for those of `upload_id`.
    """
    part_bytes = UploadPart.objects.of_user(user_id).exclude(upload_id=upload_id).sum_bytes()
    mine = StoredFile.objects.of_user(user_id)
    if mine.count() >= settings.FILES_PER_USER:
        raise InvalidRequest(
            f"You have {settings.FILES_PER_USER} files; delete some first.", code="too_many_files"
        )
    if mine.sum_bytes() + part_bytes + size_bytes > settings.FILES_BYTES_PER_USER:
        raise InvalidRequest(
            "Your files take up all the room you have; delete some first.", code="too_many_files"
        )
    storage_quota.require_storage_room(user_id, size_bytes + part_bytes)


def find_most_bytes(purpose: str) -> int:
    """Return the size of the largest file with this purpose that may be uploaded."""
    most_bytes: int = settings.FILE_LIMIT_BYTES
    if purpose == FilePurpose.BATCH:
        most_bytes = max(most_bytes, settings.BATCH_FILE_BYTES)
    return most_bytes


def write_file_bytes(path: Path, pieces: Iterable[bytes], most_bytes: int) -> tuple[int, str]:
    """Write the file whole or not at all; return its size and SHA-256.

    Raises BodyTooLarge when it has more than `most_bytes`; OSError.
    """
    size = 0
    digest = hashlib.sha256()

    def measure_pieces() -> Iterator[bytes]:
        nonlocal size
        for piece in pieces:
            size += len(piece)
            if size > most_bytes:
                raise BodyTooLarge(f"A file has at most {most_bytes} bytes.", param="file")
            digest.update(piece)
            yield piece

    write_durable_file(path, measure_pieces())
    return size, digest.hexdigest()


def write_text_in_turn(row: StoredFile) -> str:
    """Run `write_extracted_text` once at a time for each user, so that no user takes all readers.

    Raises Saturated.
    """
    lock = upload_locks.get_lock(row.user_id)
    if not lock.acquire(timeout=2 * settings.FILE_TEXT_SECONDS):
        raise Saturated("Your other documents are still being read.", retry_after_seconds=5)
    try:
        return write_extracted_text(row)
    finally:
        lock.release()


def write_extracted_text(row: StoredFile) -> str:
    """Write the text of a stored file beside it; return an empty string, or why there is none.

    Raises Saturated.
    """
    job = reader_threads.submit(
        extract.extract_document_text, row.filename, row.content_type, path_of(row.id)
    )
    try:
        text = job.result(2 * settings.FILE_TEXT_SECONDS)
    except extract.UnreadableDocument as error:
        return str(error)
    except TookTooLong:
        job.cancel()
        raise Saturated("Too many documents are being read.", retry_after_seconds=5) from None
    write_text(row.id, text)
    return ""


def write_text(file_id: str, text: str) -> None:
    """Write the text of a stored file beside it, whole or not at all. Raises OSError."""
    write_durable_file(text_path_of(file_id), [text.encode("utf-8", "replace")])


def sanitize_filename(filename: str) -> str:
    """Return the last part of a path, without unprintable characters and not too long."""
    return sanitize_line(re.split(r"[/\\]", filename)[-1], FILENAME_CHARS)


def sanitize_line(text: str, most_chars: int) -> str:
    """Return the last `most_chars` characters of a text without its unprintable ones."""
    printable = "".join(char for char in text if char.isprintable())
    return printable.strip()[-most_chars:]


# --- find, open, delete ---------------------------------------------------------------------------
def find_stored_file(user_id: int, file_id: str) -> StoredFile:
    """Return a user's own file.

    Raises UnknownUrl, the same for another user's file and for an unknown id.
    """
    row = None
    if FILE_ID_PATTERN.fullmatch(file_id):
        row = StoredFile.objects.of_user(user_id).filter(pk=file_id).first()
    if row is None:
        raise UnknownUrl(f"There is no file {file_id[:48]!r}.", param="id", code="file_not_found")
    return row


def open_stored_file(file: StoredFile) -> BinaryIO:
    """Open the bytes of a file. Raises FileNotFoundError when this home does not have them."""
    return path_of(file.pk).open("rb")


@receiver(post_delete, sender=StoredFile)
def delete_bytes_on_commit(instance: StoredFile, **signal: object) -> None:
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
    newest_timestamp = time.time() - older_seconds
    orphan_count = 0
    old_paths = list_old_files(find_files_folder(), newest_timestamp)
    for start in range(0, len(old_paths), FILES_AT_A_TIME):
        orphans = select_orphans(old_paths[start : start + FILES_AT_A_TIME])
        orphan_count += unlink_files(orphans)
    uploads = list_old_files(Path(settings.FILE_UPLOAD_TEMP_DIR), newest_timestamp)
    return orphan_count + unlink_files(uploads)


def list_old_files(folder: Path, newest_timestamp: float) -> list[Path]:
    """Return the files of a folder that were written before this time."""
    return [path for path in folder.iterdir() if modified_timestamp(path) < newest_timestamp]


def select_orphans(paths: Iterable[Path]) -> list[Path]:
    """Return those of the stored files and parts without a row, and drafts of broken uploads."""
    file_id_by_path = {path: path.name.removeprefix(".").removesuffix(".text") for path in paths}
    rows = StoredFile.objects.filter(pk__in=set(file_id_by_path.values()))
    parts = UploadPart.objects.filter(pk__in=set(file_id_by_path.values()))
    known_ids = {*rows.values_list("pk", flat=True), *parts.values_list("pk", flat=True)}
    return [
        path
        for path, file_id in file_id_by_path.items()
        if file_id not in known_ids or path.name.startswith(".")
    ]


def unlink_files(paths: Sequence[Path]) -> int:
    """Delete these files from the disk; return how many there are."""
    for path in paths:
        path.unlink(missing_ok=True)
    return len(paths)


def modified_timestamp(path: Path) -> float:
    """Return when the file was written; infinity for one that has just been deleted."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
