"""The bytes on the disk of a deleted user: files, parts of uploads, and running batches."""

from datetime import timedelta

import pytest
from django.utils import timezone

from api.batches import part_files
from api.models import Batch
from conversations.files import file_storage, parted_uploads_store
from conversations.files.parted_uploads_store import AnnouncedFile
from conversations.models import PartedUpload, StoredFile, UploadPart
from providers.deletions import deletion_jobs

pytestmark = pytest.mark.usefixtures("transactional_db")
FOREVER = 3_600.0
# a command imports no view and no task, where such bytes are written
LISTENS = """
from django.db.models.signals import post_delete
from api.models import Batch
from conversations.models import StoredFile, UploadPart
print(*(post_delete.has_listeners(model) for model in (Batch, StoredFile, UploadPart)))
"""
LINES = b'{"custom_id": "1"}\n'


def create_files(user):
    """Create a file, an upload with one part, and a batch; return the paths of their bytes."""
    announced = AnnouncedFile("b.jsonl", "", "batch", 2 * len(LINES))
    upload = parted_uploads_store.create_upload(user.pk, announced)
    part = parted_uploads_store.add_part(upload, [LINES])
    file = file_storage.store_file(
        user.pk, file_storage.Upload("a.txt", "text/plain", "user_data", [LINES])
    )
    batch = Batch.objects.create(
        user=user,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        input_file_id=file.pk,
        expires_at=timezone.now() + timedelta(days=1),
    )
    part_files.keep_input(batch.pk, file_storage.path_of(file.pk))
    return [
        file_storage.path_of(part.pk),
        file_storage.path_of(file.pk),
        file_storage.text_path_of(file.pk),
        part_files.find_input(batch.pk),
    ]


def test_a_deleted_user_leaves_no_bytes_of_files_uploads_and_batches(alice, mallory):
    paths = create_files(alice.user)
    kept = create_files(mallory.user)
    assert all(path.exists() for path in paths + kept)
    (deletion,) = deletion_jobs.create_deletions([alice.user], "operator")
    assert deletion_jobs.continue_deletion(deletion, FOREVER)
    assert [path.name for path in paths if path.exists()] == []
    assert all(path.exists() for path in kept)
    for model in (Batch, PartedUpload, StoredFile):
        assert [row.user_id for row in model.objects.all()] == [mallory.user.pk], model
    assert [row.upload.user_id for row in UploadPart.objects.all()] == [mallory.user.pk]


def test_every_process_deletes_the_bytes_of_deleted_rows(house):
    said = house.run_manage_command("shell", "-c", LISTENS)
    assert "True True True" in said
