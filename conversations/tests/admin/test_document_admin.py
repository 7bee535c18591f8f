"""Documents in the admin: given to a user by a form, shown without what stands in them."""

import pytest
from django.contrib.admin.utils import quote
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from conversations.documents import ingest
from conversations.files import file_storage
from conversations.models import Document, Passage, StoredFile
from providers.database.database_threads import run_in_thread
from proxysite.testing import wait_until_true

pytestmark = pytest.mark.usefixtures("transactional_db")
TEXT = "".join(f"Verse {n} of the canary song.\n\n" for n in range(100))
BYTES = TEXT.encode()
LIST, ADD = "/admin/conversations/document/", "/admin/conversations/document/add/"


@pytest.fixture
def browser(operator):
    found = Client()
    found.force_login(operator.user)
    return found


def form(person, data=BYTES, name="song.md"):
    return {"user": person.user.pk, "upload": SimpleUploadedFile(name, data)}


async def test_a_document_is_uploaded_for_a_user_and_taken_in(browser, alice):
    page = await run_in_thread(browser.get, ADD)
    assert b'type="file"' in page.content
    answer = await run_in_thread(browser.post, ADD, form(alice))
    assert (answer.status_code, answer["location"]) == (302, LIST)

    async def ingested():
        return await run_in_thread(
            lambda: (
                Document.objects.defer_index()
                .filter(state="ingested")
                .select_related("file")
                .first()
            )
        )

    row = await wait_until_true(ingested)
    assert (row.user_id, row.title, row.file.filename, row.file.user_id) == (
        alice.user.pk,
        "song.md",
        "song.md",
        alice.user.pk,
    )
    for address in (
        LIST,
        f"{LIST}{quote(row.pk)}/change/",
        f"{LIST}?q={row.pk}",
        f"{LIST}?q=alice",
    ):
        content = (await run_in_thread(browser.get, address)).content
        assert b"song.md" in content
        assert b"ingested" in content
        assert b"canary song" not in content


def test_what_cannot_be_read_is_said_on_the_form(browser, alice):
    page = browser.post(ADD, form(alice, b"MZ\x90\x00\x03\x00\xff\xff", "a.exe"))
    assert page.status_code == 200
    assert b"cannot be read; PDF, Word" in page.content
    assert b"required" in browser.post(ADD, {"user": alice.user.pk}).content
    assert not StoredFile.objects.exists()
    assert not Document.objects.exists()


def test_a_form_from_another_site_is_refused(operator, alice):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(operator.user)
    assert browser.post(ADD, form(alice)).status_code == 403
    assert not Document.objects.exists()


def test_deleting_one_deletes_its_passages(browser, alice):
    from conversations.files import file_storage

    file = file_storage.store_file(
        alice.user.pk, file_storage.Upload("song.md", "", "user_data", [TEXT.encode()])
    )
    document = ingest.create_or_reset_document(file)
    ingest.ingest_file_document(document.pk)
    assert Passage.objects.exists()
    address = f"{LIST}{quote(document.pk)}/delete/"
    page = browser.get(address)
    assert b"passages" in page.content
    browser.post(address, {"post": "yes"})
    assert not Document.objects.exists()
    assert not Passage.objects.exists()
    assert StoredFile.objects.exists()


def test_those_without_permission_see_nothing(alice):
    alice.user.is_staff = True
    alice.user.save()
    browser = Client()
    browser.force_login(alice.user)
    assert [browser.get(address).status_code for address in (LIST, ADD)] == [403, 403]


@pytest.mark.settings(DOCUMENTS_PER_USER=0)
def test_a_user_at_his_limit_is_told_of_on_the_form_and_no_file_is_left(browser, alice):
    before = set(file_storage.find_files_folder().iterdir())
    page = browser.post(ADD, form(alice))
    assert page.status_code == 200
    assert b"You have 0 documents" in page.content
    assert not StoredFile.objects.exists()
    assert not Document.objects.exists()
    assert set(file_storage.find_files_folder().iterdir()) == before
