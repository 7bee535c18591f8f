"""Uploads in parts: begin one, add its parts, and make a file of them, or give it up.

The bytes of a part are beside those of files, under the row's id. They take room among the user's
files until the upload is completed, cancelled or expired. Source: OpenAI's API reference,
"Uploads".
"""

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.utils import timezone

from conversations.files import file_storage
from conversations.models import PartedUpload, UploadPart, UploadStatus
from providers.exceptions import BodyTooLarge, InvalidRequest, Saturated, UnknownUrl

UPLOAD_ID_PATTERN = re.compile(r"upload_[0-9a-f]{32}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AnnouncedFile:
    """The file that an upload will bring, as the caller announces it."""

    filename: str
    content_type: str
    purpose: str
    size_bytes: int
    lifetime_seconds: int | None = None


def create_upload(user_id: int, announced: AnnouncedFile) -> PartedUpload:
    """Begin an upload, and write its row. Raises InvalidRequest."""
    file_storage.require_known_purpose(announced.purpose)
    if announced.size_bytes > settings.UPLOAD_LIMIT_BYTES:
        raise InvalidRequest(
            f"A file that comes in parts has at most {settings.UPLOAD_LIMIT_BYTES} bytes.",
            param="bytes",
        )
    file_storage.require_file_room(user_id, announced.size_bytes)
    pending = PartedUpload.objects.filter(
        user_id=user_id, status=UploadStatus.PENDING, expires_at__gt=timezone.now()
    )
    if pending.count() >= settings.UPLOADS_PENDING_PER_USER:
        raise InvalidRequest(
            f"You have {settings.UPLOADS_PENDING_PER_USER} uploads that are not complete; complete "
            "or cancel some first.",
            code="too_many_uploads",
        )
    return PartedUpload.objects.create(
        user_id=user_id,
        filename=file_storage.sanitize_filename(announced.filename) or "file",
        content_type=file_storage.sanitize_line(
            announced.content_type, file_storage.CONTENT_TYPE_CHARS
        ),
        purpose=announced.purpose,
        size_bytes=announced.size_bytes,
        file_lifetime_seconds=announced.lifetime_seconds,
        expires_at=timezone.now() + timedelta(seconds=settings.UPLOAD_LIFETIME_SECONDS),
    )


def find_upload(user_id: int, upload_id: str) -> PartedUpload:
    """Return a user's own upload.

    Raises UnknownUrl, the same for another user's upload and for an unknown id.
    """
    row = None
    if UPLOAD_ID_PATTERN.fullmatch(upload_id):
        uploads = PartedUpload.objects.select_related("file")
        row = uploads.filter(user_id=user_id, pk=upload_id).first()
    if row is None:
        raise UnknownUrl(f"There is no upload {upload_id[:48]!r}.", param="id")
    return row


def require_pending(upload: PartedUpload) -> None:
    """Raise InvalidRequest when an upload takes no more parts and cannot be completed."""
    if upload.shown_status != UploadStatus.PENDING:
        raise InvalidRequest(
            f"The upload is {upload.shown_status}.", param="id", code="upload_not_pending"
        )


def add_part(upload: PartedUpload, pieces: Iterable[bytes]) -> UploadPart:
    """Write the bytes of a part and its row. Raises InvalidRequest, BodyTooLarge, Saturated."""
    require_pending(upload)
    part = UploadPart(upload=upload)
    path = file_storage.path_of(part.pk)
    try:
        part.size_bytes, _ = file_storage.write_file_bytes(path, pieces, settings.UPLOAD_PART_BYTES)
        create_part_row(part)
    except OSError as error:
        file_storage.remove_file_bytes(part.pk)
        raise Saturated("There is no room for files here now.", retry_after_seconds=60) from error
    except BodyTooLarge as error:
        most = settings.UPLOAD_PART_BYTES
        raise BodyTooLarge(f"A part has at most {most} bytes.", param="data") from error
    except BaseException:  # whatever ends it: bytes without a row would stay for an hour
        file_storage.remove_file_bytes(part.pk)
        raise
    return part


@transaction.atomic
def create_part_row(part: UploadPart) -> None:
    """Write the row of a part whose bytes are written. Raises InvalidRequest.

    The user's row is locked, so that concurrent parts and files count each other.
    """
    upload = part.upload
    get_user_model().objects.select_for_update().get(pk=upload.user_id)
    upload.refresh_from_db()
    require_pending(upload)
    parts = UploadPart.objects.filter(upload=upload)
    if parts.sum_bytes() + part.size_bytes > upload.size_bytes:
        raise InvalidRequest(
            f"The parts have more than the {upload.size_bytes} bytes that were announced.",
            param="data",
        )
    if parts.count() >= settings.UPLOAD_PARTS:
        raise InvalidRequest(f"An upload has at most {settings.UPLOAD_PARTS} parts.", param="data")
    file_storage.require_file_room(upload.user_id, part.size_bytes)
    part.save(force_insert=True)


# --- complete or cancel ---------------------------------------------------------------------------
def complete_upload(upload: PartedUpload, part_ids: Sequence[str], md5: str = "") -> PartedUpload:
    """Make a file of these parts in this order, and delete the parts.

    Writes the file and its row. Raises InvalidRequest when the parts are not those of the upload,
    or have not the announced size or this MD5 digest.
    """
    require_pending(upload)
    require_matching_parts(upload, part_ids)
    claim_upload(upload, UploadStatus.COMPLETED)
    try:
        file = file_storage.store_file(
            upload.user_id,
            file_storage.Upload(
                upload.filename,
                upload.content_type,
                upload.purpose,
                read_checked_parts(part_ids, md5),
                upload.file_lifetime_seconds,
                limit_bytes=settings.UPLOAD_LIMIT_BYTES,
                upload_id=upload.pk,
            ),
        )
    except BaseException:  # whatever fails: the upload can be completed once more
        PartedUpload.objects.filter(pk=upload.pk).update(status=UploadStatus.PENDING)
        raise
    with transaction.atomic():
        PartedUpload.objects.filter(pk=upload.pk).update(file=file)
        UploadPart.objects.filter(upload=upload).delete()
    upload.status = UploadStatus.COMPLETED
    upload.file = file
    return upload


def require_matching_parts(upload: PartedUpload, part_ids: Sequence[str]) -> None:
    """Raise InvalidRequest unless these are different parts with the announced size together."""
    sizes = dict(UploadPart.objects.filter(upload=upload).values_list("pk", "size_bytes"))
    for position, part_id in enumerate(part_ids):
        if part_id not in sizes:
            raise InvalidRequest(
                f"The upload has no part {part_id[:48]!r}.", param=f"part_ids[{position}]"
            )
    if len(set(part_ids)) != len(part_ids):
        raise InvalidRequest("A part is named twice.", param="part_ids")
    size_bytes = sum(sizes[part_id] for part_id in part_ids)
    if size_bytes != upload.size_bytes:
        raise InvalidRequest(
            f"The parts have {size_bytes} bytes together, not the {upload.size_bytes} that were "
            "announced.",
            param="part_ids",
        )


def read_checked_parts(part_ids: Sequence[str], md5: str) -> Iterator[bytes]:
    """Yield the bytes of the parts; raise InvalidRequest at their end if MD5 was announced wrongly.

    The digest only finds errors of the transfer.
    """
    digest = hashlib.md5(usedforsecurity=False)
    for part_id in part_ids:
        with file_storage.path_of(part_id).open("rb") as file:
            while piece := file.read(file_storage.PIECE_BYTES):
                digest.update(piece)
                yield piece
    if md5 and digest.hexdigest() != md5.lower():
        raise InvalidRequest(
            f"The MD5 digest of the file is {digest.hexdigest()}.", param="md5", code="md5_mismatch"
        )


def claim_upload(upload: PartedUpload, status: UploadStatus) -> None:
    """Write the new status of a pending upload.

    Raises InvalidRequest when another request has just completed or cancelled it.
    """
    pending = PartedUpload.objects.filter(pk=upload.pk, status=UploadStatus.PENDING)
    if not pending.update(status=status):
        upload.refresh_from_db()
        require_pending(upload)


def cancel_upload(upload: PartedUpload) -> PartedUpload:
    """Give an upload up, and delete its parts. Raises InvalidRequest when it has ended."""
    require_pending(upload)
    claim_upload(upload, UploadStatus.CANCELLED)
    UploadPart.objects.filter(upload=upload).delete()
    upload.status = UploadStatus.CANCELLED
    return upload


def delete_stale_uploads() -> None:
    """Delete uploads whose time is over, with the bytes of their parts; files stay."""
    PartedUpload.objects.filter(expires_at__lte=timezone.now()).delete()


@receiver(post_delete, sender=UploadPart)
def delete_part_bytes_on_commit(instance: UploadPart, **signal: object) -> None:
    """Delete the bytes of a deleted part once its transaction is committed."""
    part_id = instance.pk
    transaction.on_commit(lambda: file_storage.remove_file_bytes(part_id))
