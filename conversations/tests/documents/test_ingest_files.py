"""The texts of files become rows in the background or when they are asked for, and go with their
files; what a model made of a text is kept like one.
"""

import asyncio

import pytest

from conversations import tasks
from conversations.documents import document_store, ingest, made_texts
from conversations.documents.index_worker import Splitting
from conversations.files import file_storage
from conversations.models import Document, Passage
from conversations.tests.lamps import TEXT, at, state, stored, taking
from providers.database.database_threads import run_in_thread
from providers.exceptions import Saturated
from proxysite.testing import wait_until_true

pytestmark = pytest.mark.usefixtures("transactional_db")


async def test_a_file_is_taken_in_in_the_background(alice):
    document = await run_in_thread(lambda: ingest.start_file_ingestion(stored(alice)))
    assert (document.state, document.title) == ("uploaded", "lamps.txt")

    async def done():
        return (await state()).state == "ingested"

    await wait_until_true(done)
    row = await state()
    assert (row.chars, row.digest, row.expires_at) == (
        len(TEXT),
        Splitting().compute_digest(TEXT),
        None,
    )
    assert (await run_in_thread(lambda: ingest.start_file_ingestion(row.file))).state == "ingested"


async def test_a_request_with_the_text_of_a_file_uses_the_files_document(alice, divisions):
    document = await run_in_thread(lambda: ingest.create_or_reset_document(stored(alice)))
    await run_in_thread(ingest.ingest_file_document, document.pk)
    assert (await taking(alice)).document_id == document.pk
    assert len(divisions) == 1


async def test_the_text_of_a_file_becomes_the_files_document_and_goes_with_it(alice, divisions):
    file = await run_in_thread(stored, alice)
    file_id = file.pk
    known = await ingest.ingest_text(alice.user.pk, TEXT, Splitting(), file_id=file_id)
    row = await state()
    assert (row.pk, row.file_id, row.title, row.expires_at) == (
        known.document_id,
        file_id,
        "lamps.txt",
        None,
    )
    again = await ingest.ingest_text(alice.user.pk, TEXT, Splitting(size=300), file_id=file_id)
    assert again.document_id == known.document_id
    assert len(divisions) == 1
    await run_in_thread(file.delete)
    assert not await run_in_thread(Passage.objects.exists)
    gone = await ingest.ingest_text(alice.user.pk, TEXT, Splitting(), file_id=file_id)
    assert gone.document_id == ""
    assert len(gone.outline) == len(known.outline)
    assert not await run_in_thread(Document.objects.exists)


async def test_two_files_of_one_text_have_a_document_each_when_the_first_goes(alice, divisions):
    first, second = await run_in_thread(stored, alice), await run_in_thread(stored, alice)
    known = await ingest.ingest_text(alice.user.pk, TEXT, Splitting(), file_id=first.pk)
    assert (
        await ingest.ingest_text(alice.user.pk, TEXT, Splitting(), file_id=second.pk)
    ).document_id == known.document_id
    await run_in_thread(first.delete)
    await ingest.ingest_text(alice.user.pk, TEXT, Splitting(), file_id=second.pk)
    assert (await state()).file_id == second.pk


async def test_a_strangers_file_gets_no_document(alice, mallory):
    file = await run_in_thread(stored, mallory)
    assert (
        await ingest.ingest_text(alice.user.pk, TEXT, Splitting(), file_id=file.pk)
    ).document_id == ""
    assert not await run_in_thread(Document.objects.exists)


async def test_a_file_ingested_with_another_text_is_not_mistaken_for_it(alice):
    file = await run_in_thread(stored, alice)
    first = await ingest.ingest_text(alice.user.pk, TEXT, Splitting(), file_id=file.pk)
    other = await ingest.ingest_text(alice.user.pk, TEXT * 2, Splitting(), file_id=file.pk)
    assert other.document_id == ""
    assert len(other.outline) > len(first.outline)


def test_a_file_that_cannot_be_read_stops_nobody_elses(alice, settings):
    settings.DOCUMENT_SECONDS = 5
    broken, away, whole = (
        ingest.create_or_reset_document(stored(alice, TEXT.encode() + b"%d" % n)) for n in range(3)
    )
    file_storage.text_path_of(broken.file_id).write_bytes(b"\xff\xfe\xff")
    path = file_storage.text_path_of(away.file_id)
    path.unlink()
    path.mkdir()
    Document.objects.update(created_at=at(-60))
    assert tasks.sweep_documents() == 3
    states = dict(Document.objects.values_list("pk", "state"))
    assert states == {broken.pk: "error", away.pk: "error", whole.pk: "ingested"}
    assert Document.objects.get(pk=broken.pk).reason == "Its text cannot be read."
    path.rmdir()


def test_a_file_is_tried_again_when_no_process_could_be_started(alice, settings, monkeypatch):
    def fails(*args):
        raise BlockingIOError("no process")

    document = ingest.create_or_reset_document(stored(alice))
    with monkeypatch.context() as patched:
        patched.setattr(document_store, "divide_text", fails)
        ingest.ingest_file_document(document.pk)
    document.refresh_from_db()
    assert (document.state, document.alive_until) == ("uploaded", None)
    ingest.ingest_file_document(document.pk)
    document.refresh_from_db()
    assert document.state == "ingested"


@pytest.mark.parametrize(
    ("data", "name", "found"),
    [
        (b" \n", "a.txt", "empty"),
        (b"%PDF-1.7 nonsense", "a.pdf", "error"),
        (b"\x89PNG", "a.png", "error"),
    ],
)
def test_a_file_without_text_says_so(alice, data, name, found):
    document = ingest.create_or_reset_document(stored(alice, data, name))
    ingest.ingest_file_document(document.pk)
    document.refresh_from_db()
    assert document.state == found
    assert document.reason
    again = ingest.create_or_reset_document(document.file)
    assert again.state == ("uploaded" if found == "error" else "empty")


def test_the_sweep_takes_up_what_dead_processes_left(alice, settings):
    settings.DOCUMENT_SECONDS = 5
    dead, waiting, young = (
        ingest.create_or_reset_document(stored(alice, TEXT.encode() + b"%d" % n)) for n in range(3)
    )
    Document.objects.filter(pk=dead.pk).update(state="processing", alive_until=at(-1))
    text = Document.objects.create(
        user=alice.user, digest="d", state="processing", alive_until=at(-1)
    )
    alive = Document.objects.create(
        user=alice.user, digest="e", state="processing", alive_until=at(60)
    )
    Document.objects.exclude(pk=young.pk).update(created_at=at(-60))
    assert tasks.sweep_documents() == 2
    states = dict(Document.objects.values_list("pk", "state"))
    assert states == {
        dead.pk: "ingested",
        waiting.pk: "ingested",
        young.pk: "uploaded",
        alive.pk: "processing",
    }
    assert text.pk not in states
    assert tasks.sweep_documents() == 0


def test_a_document_goes_with_its_file_and_its_user(alice, mallory):
    for person in (alice, mallory):
        ingest.ingest_file_document(ingest.create_or_reset_document(stored(person)).pk)
    assert Passage.objects.values("document__user").distinct().count() == 2
    Document.objects.of_user(alice.user.pk).get().file.delete()
    mallory.user.delete()
    assert not Document.objects.exists()
    assert not Passage.objects.exists()


def test_a_document_of_a_file_that_has_expired_is_no_ones(alice):
    ingest.ingest_file_document(ingest.create_or_reset_document(stored(alice)).pk)
    assert Document.objects.of_user(alice.user.pk).exists()
    Document.objects.get().file.__class__.objects.update(expires_at=at(-1))
    assert not Document.objects.of_user(alice.user.pk).exists()


# --- texts that are made --------------------------------------------------------------------------
async def test_what_takes_long_to_make_is_made_once(alice, settings):
    settings.DOCUMENT_SECONDS = 2
    enough, made = asyncio.Event(), []

    async def make():
        made.append(1)
        await enough.wait()
        return "In short."

    tasks = [
        asyncio.create_task(made_texts.create_text_once(alice.user.pk, "d", make)) for _ in range(3)
    ]

    await wait_until_true(lambda: made)
    first = (await state()).alive_until

    async def renewed():
        return (await state()).alive_until > first

    await wait_until_true(renewed)
    await run_in_thread(Document.objects.update, created_at=at(-60))
    await run_in_thread(ingest.resume_abandoned_documents)
    enough.set()
    row = await state()
    assert set(await asyncio.gather(*tasks)) == {("In short.", row.pk)}
    assert made == [1]


async def test_what_was_made_after_its_document_went_is_not_kept(alice):
    async def make():
        await run_in_thread(Document.objects.all().delete)
        return "In short."

    assert await made_texts.create_text_once(alice.user.pk, "d", make) == ("In short.", "")


async def test_what_could_not_be_made_is_free_for_the_next(alice):
    async def fails():
        raise Saturated("busy")

    async def make():
        return "In short."

    with pytest.raises(Saturated):
        await made_texts.create_text_once(alice.user.pk, "d", fails)
    assert (await made_texts.create_text_once(alice.user.pk, "d", make))[1]
