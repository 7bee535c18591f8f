"""PartedUpload: a file that a user sends in parts; UploadPart: one of its parts.

The bytes of a part are a file in the home, named by the row's id
(`conversations/files/parted_uploads_store.py`). Source: OpenAI's API reference, "Uploads".
"""

import secrets
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q, Sum
from django.utils import timezone

from conversations.models.files import FilePurpose, StoredFile


class UploadStatus(models.TextChoices):
    """The states of an upload; a pending one whose time is over is shown as expired."""

    PENDING = "pending", "pending"
    COMPLETED = "completed", "completed"
    CANCELLED = "cancelled", "cancelled"


def new_upload_id() -> str:
    """Return a new id of an upload."""
    return f"upload_{secrets.token_hex(16)}"


def new_part_id() -> str:
    """Return a new id of a part."""
    return f"part_{secrets.token_hex(16)}"


class PartedUpload(models.Model):
    """A file that is sent in parts, and becomes a StoredFile when it is completed."""

    id = models.CharField(primary_key=True, max_length=48, default=new_upload_id, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="parted_uploads", editable=False
    )
    filename = models.CharField(max_length=255, editable=False)
    content_type = models.CharField(max_length=100, blank=True, editable=False)
    purpose = models.CharField(max_length=16, choices=FilePurpose, editable=False)
    size_bytes = models.BigIntegerField(
        editable=False, help_text="Size of the whole file as it was announced, in bytes."
    )
    file_lifetime_seconds = models.IntegerField(
        null=True, editable=False, help_text="The file is deleted so long after it is complete."
    )
    status = models.CharField(
        max_length=16, choices=UploadStatus, default=UploadStatus.PENDING, editable=False
    )
    file = models.ForeignKey(
        StoredFile, models.SET_NULL, null=True, related_name="+", editable=False
    )
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(db_index=True, editable=False)

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=UploadStatus.values), name="partedupload_status_known"
            ),
            models.CheckConstraint(
                condition=Q(purpose__in=FilePurpose.values), name="partedupload_purpose_known"
            ),
            models.CheckConstraint(
                condition=Q(size_bytes__gt=0), name="partedupload_size_positive"
            ),
        ]

    def __str__(self) -> str:
        return self.filename

    @property
    def shown_status(self) -> str:
        """Return the status for callers."""
        if self.status == UploadStatus.PENDING and self.expires_at <= timezone.now():
            return "expired"
        return str(self.status)

    def as_openai(self) -> dict[str, Any]:
        """Return OpenAI's upload object."""
        return {
            "id": self.pk,
            "object": "upload",
            "bytes": self.size_bytes,
            "created_at": int(self.created_at.timestamp()),
            "filename": self.filename,
            "purpose": self.purpose,
            "status": self.shown_status,
            "expires_at": int(self.expires_at.timestamp()),
            "file": self.file.as_openai() if self.file is not None else None,
        }


class UploadPartQuerySet(models.QuerySet["UploadPart"]):
    """Parts of uploads."""

    def of_user(self, user_id: int) -> "UploadPartQuerySet":
        """Return the parts of a user's uploads, which take room until these end."""
        return self.filter(upload__user_id=user_id)

    def sum_bytes(self) -> int:
        """Return the bytes of all of them together."""
        total: int | None = self.aggregate(total=Sum("size_bytes"))["total"]
        return total or 0


class UploadPart(models.Model):
    """One part of an upload; the order of the parts is named when the upload is completed."""

    id = models.CharField(primary_key=True, max_length=48, default=new_part_id, editable=False)
    upload = models.ForeignKey(PartedUpload, models.CASCADE, related_name="parts", editable=False)
    size_bytes = models.BigIntegerField(editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = UploadPartQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(size_bytes__gte=0), name="uploadpart_size_positive")
        ]

    def __str__(self) -> str:
        return self.pk

    def as_openai(self) -> dict[str, Any]:
        """Return OpenAI's object of a part."""
        return {
            "id": self.pk,
            "object": "upload.part",
            "created_at": int(self.created_at.timestamp()),
            "upload_id": self.upload_id,
        }
