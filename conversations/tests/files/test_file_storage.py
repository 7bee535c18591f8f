"""The bytes of users' files: whole or not there, and gone with their row."""

import hashlib
import os
import time
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import Client

from conversations import tasks
from conversations.files import file_storage
from conversations.files.file_storage import Upload
from conversations.models import StoredFile
from providers.exceptions import BodyTooLarge, InternalError, InvalidRequest, Saturated, UnknownUrl

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture(autouse=True)
def _empty_folders():
    for folder in (file_storage.find_files_folder(), uploads()):
        for path in folder.iterdir():
            path.unlink()


def uploads():
    from django.conf import settings

    return Path(settings.FILE_UPLOAD_TEMP_DIR)


def upload(*pieces, name="a.txt"):
    return Upload(name, "text/plain", "user_data", pieces or (b"one ", b"two"))


def on_disk():
    return sorted(path.name for path in file_storage.find_files_folder().iterdir())


def test_a_stored_file_is_its_bytes_its_text_and_its_row(alice):
    row = file_storage.store_file(alice.user.pk, upload())
    assert on_disk() == [row.pk, f"{row.pk}.text"]
    with file_storage.open_stored_file(row) as file:
        assert file.read() == b"one two"
    assert file_storage.text_path_of(row.pk).read_text() == "one two"
    assert row.size_bytes == 7
    assert row.sha256 == hashlib.sha256(b"one two").hexdigest()
    assert StoredFile.objects.get() == row


def test_an_upload_that_breaks_off_leaves_nothing(alice):
    def broken():
        yield b"one"
        raise OSError("the disk is full")

    with pytest.raises(Saturated, match="no room"):
        file_storage.store_file(alice.user.pk, Upload("a.txt", "", "user_data", broken()))
    assert on_disk() == []
    assert not StoredFile.objects.exists()


def test_a_row_that_cannot_be_written_leaves_nothing(alice, monkeypatch):
    def refuse(row, **options):
        raise RuntimeError("no row")

    monkeypatch.setattr(StoredFile, "save", refuse)
    with pytest.raises(RuntimeError):
        file_storage.store_file(alice.user.pk, upload())
    assert on_disk() == []


def test_a_file_beyond_the_limit_leaves_nothing(alice, settings):
    settings.FILE_LIMIT_BYTES = 10
    with pytest.raises(BodyTooLarge):
        file_storage.store_file(alice.user.pk, upload(b"x" * 6, b"x" * 5))
    assert on_disk() == []


@pytest.mark.parametrize(
    "change",
    [
        {"purpose": "fine-tune-results"},
        {"filename": "a.exe", "pieces": [b"MZ\0"], "is_document": True},
        {"filename": "", "pieces": [b"PK\3\4"], "is_document": True},
    ],
)
def test_what_is_not_taken_is_refused(alice, change):
    given = {
        "filename": "a.txt",
        "content_type": "",
        "purpose": "user_data",
        "pieces": [b"x"],
    } | change
    with pytest.raises(InvalidRequest):
        file_storage.store_file(alice.user.pk, Upload(**given))
    assert on_disk() == []


@pytest.mark.parametrize("how", ["row", "query", "user", "admin"])
def test_however_a_row_goes_its_bytes_go_too(alice, operator, how):
    row = file_storage.store_file(alice.user.pk, upload())
    if how == "row":
        row.delete()
    elif how == "query":
        StoredFile.objects.filter(pk=row.pk).delete()
    elif how == "user":
        alice.user.delete()
    else:
        browser = Client()
        browser.force_login(operator.user)
        address = f"/admin/conversations/storedfile/{row.pk}"
        assert b"a.txt" in browser.get(f"{address}/change/").content
        assert b"a.txt" in browser.get("/admin/conversations/storedfile/").content
        browser.post(f"{address}/delete/", {"post": "yes"})
    assert not StoredFile.objects.exists()
    assert on_disk() == []


def test_a_deletion_that_is_taken_back_leaves_the_bytes(alice):
    from django.db import transaction

    row = file_storage.store_file(alice.user.pk, upload())
    with transaction.atomic():
        StoredFile.objects.all().delete()
        transaction.set_rollback(True)
    assert on_disk() == [row.pk, f"{row.pk}.text"]


def test_the_sweep_takes_what_belongs_to_nobody_once_it_is_old(alice):
    row = file_storage.store_file(alice.user.pk, upload())
    orphans = [
        file_storage.path_of(f"file-{'0' * 32}"),
        file_storage.text_path_of(f"file-{'0' * 32}"),
    ]
    orphans += [
        file_storage.find_files_folder() / f".{row.pk}",
        file_storage.find_files_folder() / "something",
        uploads() / "tmp.upload",
    ]
    for path in orphans:
        path.write_bytes(b"x")
    assert file_storage.delete_stale_files() == 0
    past = time.time() - file_storage.ORPHAN_SECONDS - 1
    for path in (*file_storage.find_files_folder().iterdir(), *uploads().iterdir()):
        os.utime(path, (past, past))
    tasks.sweep_files()
    assert on_disk() == [row.pk, f"{row.pk}.text"]
    assert list(uploads().iterdir()) == []


def test_a_user_finds_his_own_only(alice, mallory):
    row = file_storage.store_file(alice.user.pk, upload())
    assert file_storage.find_stored_file(alice.user.pk, row.pk) == row
    for user, name in (
        (mallory.user, row.pk),
        (alice.user, row.pk[:-1]),
        (alice.user, "\0"),
        (alice.user, "../x"),
    ):
        with pytest.raises(UnknownUrl):
            file_storage.find_stored_file(user.pk, name)


def test_bytes_that_are_not_in_this_home_are_our_fault(alice):
    from conversations.files.attachments import load_own_files
    from conversations.files.file_forms import WantedForms

    row = file_storage.store_file(alice.user.pk, upload())
    file_storage.remove_file_bytes(row.pk)
    for wanted in (
        WantedForms(wants_file_data=True, wants_file_text=False),
        WantedForms(wants_file_data=False, wants_file_text=True),
    ):
        with pytest.raises(InternalError):
            load_own_files({"messages[0].content[0]": row.pk}, alice.user.pk, wanted)


def test_the_migrations_are_what_the_models_say():
    call_command("makemigrations", "conversations", check=True, dry_run=True, verbosity=0)
