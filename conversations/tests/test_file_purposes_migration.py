"""Files of the release before more purposes were accepted stay, and files of the new ones come."""

import pytest
from django.core.management.sql import emit_post_migrate_signal
from django.db import IntegrityError, connection, transaction
from django.db.migrations.executor import MigrationExecutor

from conversations.models import Document, StoredFile

BEFORE = ("conversations", "0010_item_hidden_thinking")


@pytest.fixture
def old_apps(transactional_db):
    """Return the models of the release before; in the end the newest ones are there again."""
    executor = MigrationExecutor(connection)
    executor.migrate([BEFORE])
    yield MigrationExecutor(connection).loader.project_state([BEFORE]).apps
    migrate_to_newest()


def migrate_to_newest():
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())
    emit_post_migrate_signal(verbosity=0, interactive=False, db=connection.alias)


def make_file(files, user_id, name, purpose):
    return files.create(
        id=name, user_id=user_id, filename=name, purpose=purpose, size_bytes=1, sha256="0" * 64
    )


def test_old_files_stay_with_their_documents_and_new_purposes_are_accepted(old_apps):
    user = old_apps.get_model("auth", "User").objects.create(username="ann")
    old_files = old_apps.get_model("conversations", "StoredFile").objects
    old = make_file(old_files, user.pk, "file-1", "vision")
    with pytest.raises(IntegrityError), transaction.atomic():
        make_file(old_files, user.pk, "file-2", "batch")
    documents = old_apps.get_model("conversations", "Document").objects
    documents.create(user_id=user.pk, digest="1" * 64, file=old)
    migrate_to_newest()
    make_file(StoredFile.objects, user.pk, "file-2", "batch")
    with pytest.raises(IntegrityError), transaction.atomic():
        make_file(StoredFile.objects, user.pk, "file-3", "nonsense")
    assert StoredFile.objects.get(pk="file-1").document.digest == "1" * 64
    StoredFile.objects.get(pk="file-1").delete()
    assert not Document.objects.exists()
