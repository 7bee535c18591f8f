"""StoredFile: a file that a user uploaded.

Its bytes and its text are files in the home, named by the row's id
(`conversations/files/file_storage.py`).
"""

import secrets

from django.conf import settings
from django.db import models
from django.db.models import Q, Sum
from django.utils import timezone


class FilePurpose(models.TextChoices):
    """The purposes of files, in OpenAI's and Moonshot's words.

    A caller can give each of them but `batch_output`: such files are made by batches. Files for
    services that are not offered here are only stored. Source: OpenAI's API description,
    `CreateFileRequest`; `file-extract` is Moonshot's.
    """

    USER_DATA = "user_data", "user data"
    ASSISTANTS = "assistants", "assistants"
    VISION = "vision", "vision"
    BATCH = "batch", "batch"
    BATCH_OUTPUT = "batch_output", "batch output"
    FINE_TUNE = "fine-tune", "fine-tune"
    EVALS = "evals", "evals"
    FILE_EXTRACT = "file-extract", "file extract"


UPLOAD_PURPOSES = tuple(p for p in FilePurpose.values if p != FilePurpose.BATCH_OUTPUT)
# nobody reads their text
TEXTLESS_PURPOSES = (FilePurpose.BATCH, FilePurpose.BATCH_OUTPUT)
# a file for a batch expires if its upload does not say when; source: as above
DEFAULT_LIFETIME_SECONDS: dict[str, int] = {
    FilePurpose.BATCH: 30 * 86_400,
    FilePurpose.BATCH_OUTPUT: 30 * 86_400,
}


class FileStatus(models.TextChoices):
    PROCESSED = "processed", "processed"
    ERROR = "error", "no text could be read"


class FileQuerySet(models.QuerySet["StoredFile"]):
    def of_user(self, user_id: int) -> "FileQuerySet":
        """Return a user's own files that have not expired."""
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()), user_id=user_id)

    def sum_bytes(self) -> int:
        """Return the bytes of all of them together."""
        total: int | None = self.aggregate(total=Sum("size_bytes"))["total"]
        return total or 0


def new_id() -> str:
    return f"file-{secrets.token_hex(16)}"


class StoredFile(models.Model):
    """One uploaded file of one user."""

    id = models.CharField(primary_key=True, max_length=48, default=new_id, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="stored_files", editable=False
    )
    filename = models.CharField(max_length=255, editable=False)
    content_type = models.CharField(max_length=100, blank=True, editable=False)
    purpose = models.CharField(max_length=16, choices=FilePurpose, editable=False)
    size_bytes = models.BigIntegerField(editable=False)
    sha256 = models.CharField(max_length=64, editable=False)
    status = models.CharField(
        max_length=16, choices=FileStatus, default=FileStatus.PROCESSED, editable=False
    )
    reason = models.CharField(max_length=200, blank=True, editable=False)  # why there is no text
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True, db_index=True, editable=False)

    objects = FileQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(status__in=FileStatus.values), name="storedfile_status_known"
            ),
            models.CheckConstraint(
                condition=Q(purpose__in=FilePurpose.values), name="storedfile_purpose_known"
            ),
            models.CheckConstraint(condition=Q(size_bytes__gte=0), name="storedfile_size_positive"),
        ]
        indexes = [
            models.Index(fields=["user", "created_at", "id"], name="storedfile_user_created")
        ]

    def __str__(self) -> str:
        return self.filename

    def as_openai(self) -> dict[str, object]:
        """Return OpenAI's file object, with the reason of an error in `status_details`."""
        file: dict[str, object] = {
            "id": self.pk,
            "object": "file",
            "bytes": self.size_bytes,
            "created_at": int(self.created_at.timestamp()),
            "filename": self.filename,
            "purpose": self.purpose,
            "status": self.status,
        }
        if self.expires_at:
            file["expires_at"] = int(self.expires_at.timestamp())
        if self.status == FileStatus.ERROR:
            file["status_details"] = self.reason
        return file
