"""Texts become rows once, whoever asks and however often; what a dead process left is taken up."""

import asyncio
import threading

import pytest
from django.db import OperationalError

from conversations.documents import document_rows, document_store, ingest
from conversations.documents.index_worker import IndivisibleText, Splitting, divide_text
from conversations.models import Document, DocumentState, Passage
from conversations.tests.lamps import TEXT, at, state, stored, taking
from providers.database.database_threads import run_in_thread
from providers.exceptions import DatabaseUnavailable, InvalidRequest, Saturated
from proxysite.testing import wait_until_true

pytestmark = pytest.mark.usefixtures("transactional_db")


async def test_a_text_becomes_a_document_with_its_passages(alice, divisions):
    known = await taking(alice)
    row = await state()
    assert (row.pk, row.state, row.chars, row.user_id) == (
        known.document_id,
        "ingested",
        len(TEXT),
        alice.user.pk,
    )
    assert row.alive_until is None
    assert row.expires_at > at(3_600)
    found = await run_in_thread(lambda: list(Passage.objects.all()))
    assert [one.number for one in found] == list(range(len(known.outline)))
    assert "".join(one.text for one in found) == TEXT
    assert [(one.start, one.end, one.score) for one in found] == list(
        zip(known.outline.starts, known.outline.ends, known.outline.scores, strict=True)
    )


async def test_the_same_text_is_divided_once_for_each_user_and_way(
    alice, mallory, divisions, empty_cache
):
    known = await taking(alice)
    empty_cache()
    assert (await taking(alice)).document_id == known.document_id
    assert len(divisions) == 1
    other = await taking(alice, splitting=Splitting(size=300))
    assert other.document_id != known.document_id
    assert (await taking(mallory)).document_id not in (known.document_id, other.document_id)
    assert len(divisions) == 3


async def test_the_same_text_at_once_is_divided_once(alice, divisions):
    found = await asyncio.gather(*(taking(alice) for _ in range(6)))
    assert len({known.document_id for known in found}) == 1
    assert len(divisions) == 1
    assert await run_in_thread(Document.objects.count) == 1


async def test_a_caller_who_leaves_does_not_undo_it(alice, divisions):
    task = asyncio.create_task(taking(alice))
    await wait_until_true(lambda: divisions)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await ingest.wait_for_texts()
    assert (await state()).state == "ingested"
    await taking(alice)
    assert len(divisions) == 1


async def test_the_loop_divides_nothing_itself(alice, monkeypatch):
    threads = []

    def noted(*args):
        threads.append(threading.current_thread().name)
        return divide_text(*args)

    monkeypatch.setattr(document_store, "divide_text", noted)
    await taking(alice)
    await ingest.ingest_text(None, TEXT, Splitting())
    assert len(threads) == 2
    assert all(name.startswith("dividing") for name in threads)


async def test_for_nobody_nothing_is_stored(alice):
    known = await ingest.ingest_text(None, TEXT, Splitting())
    assert known.document_id == ""
    assert known.outline.index.search_passages("lamp 77")
    assert not await run_in_thread(Document.objects.exists)


async def test_a_text_of_spaces_is_empty(alice):
    known = await taking(alice, " " * 5_000)
    assert len(known.outline) == 0
    assert (await state()).state == "empty"


async def test_a_text_that_cannot_be_divided_is_refused_and_not_tried_at_once_again(
    alice, monkeypatch
):
    tried = []

    def refuse(*args):
        tried.append(args)
        raise IndivisibleText("Dividing it takes too long.")

    monkeypatch.setattr(document_store, "divide_text", refuse)
    for _ in range(2):
        with pytest.raises(InvalidRequest, match="Dividing it takes too long") as caught:
            await taking(alice)
        assert caught.value.shown_code == "context_length_exceeded"
    assert len(tried) == 1
    row = await state()
    assert (row.state, row.reason) == ("error", "Dividing it takes too long.")
    monkeypatch.setattr(document_store, "divide_text", divide_text)
    await run_in_thread(Document.objects.update, alive_until=at(-1))
    assert (await taking(alice)).document_id == row.pk


async def test_a_dead_process_is_followed_by_the_next_request(alice, divisions):
    digest = Splitting().compute_digest(TEXT)
    await run_in_thread(
        lambda: Document.objects.create(
            user=alice.user, digest=digest, state=DocumentState.PROCESSING, alive_until=at(-1)
        )
    )
    await taking(alice)
    assert (await state()).state == "ingested"


async def test_what_another_process_takes_in_is_waited_for(alice, divisions):
    text = document_store.SourceText.from_content(TEXT, Splitting())
    lease = (
        await run_in_thread(
            document_rows.create_or_claim_document,
            document_rows.DocumentKey(alice.user.pk, text.digest),
        )
    ).lease
    waiting = [asyncio.create_task(taking(alice)) for _ in range(2)]
    done, _ = await asyncio.wait(waiting, timeout=0.2)
    assert not done
    await run_in_thread(
        document_store.write_passages, lease, text, divide_text(TEXT, Splitting(), 30)
    )
    assert {known.document_id for known in await asyncio.gather(*waiting)} == {lease.document_id}
    assert divisions == []


async def test_a_database_that_is_away_is_told(alice, monkeypatch):
    def away(*args):
        raise OperationalError("no connection")

    for name in ("find_and_record_use", "create_or_claim_document", "write_passages"):
        with monkeypatch.context() as patched:
            patched.setattr(ingest, name, away)
            with pytest.raises(DatabaseUnavailable):
                await taking(alice)


@pytest.mark.settings(DOCUMENT_SECONDS=0.2)
async def test_who_waits_for_another_process_waits_not_for_ever(alice):
    digest = Splitting().compute_digest(TEXT)
    fields = {"digest": digest, "state": DocumentState.PROCESSING, "alive_until": at(3_600)}
    await run_in_thread(lambda: Document.objects.create(user=alice.user, **fields))
    with pytest.raises(Saturated):
        await taking(alice)


def test_who_lost_his_lease_writes_nothing(alice):
    row = Document.objects.create(user=alice.user, digest="d")
    lease = document_store.claim_document(row.pk)
    assert document_store.claim_document(row.pk) is None
    Document.objects.update(alive_until=at(-1))
    second = document_store.claim_document(row.pk)
    text = document_store.SourceText.from_content("Something was said.", Splitting())
    assert not document_store.write_passages(lease, text, text.make_division())
    assert not Passage.objects.exists()
    assert document_store.write_passages(second, text, text.make_division())
    assert not document_store.write_passages(second, text, text.make_division())
    assert Passage.objects.count() == 1


@pytest.mark.settings(DOCUMENTS_PER_USER=2)
async def test_the_text_unused_for_longest_makes_way_for_a_new_one(alice, mallory):
    other = await taking(mallory)
    first, second = await taking(alice, TEXT + "1"), await taking(alice, TEXT + "2")
    await run_in_thread(Document.objects.filter(pk=first.document_id).update, used_at=at(-7_200))
    await taking(alice, TEXT + "1")  # used again
    await run_in_thread(Document.objects.filter(pk=second.document_id).update, used_at=at(-3_600))
    third = await taking(alice, TEXT + "3")
    left = await run_in_thread(lambda: set(Document.objects.values_list("pk", flat=True)))
    assert left == {other.document_id, first.document_id, third.document_id}


@pytest.mark.settings(DOCUMENTS_PER_USER=1)
async def test_where_files_have_all_the_room_a_text_is_not_stored(alice):
    await run_in_thread(
        lambda: ingest.ingest_file_document(ingest.create_or_reset_document(stored(alice)).pk)
    )
    known = await taking(alice, TEXT + "more")
    assert known.document_id == ""
    assert await run_in_thread(Document.objects.count) == 1
    with pytest.raises(InvalidRequest) as caught:
        await run_in_thread(lambda: ingest.start_file_ingestion(stored(alice)))
    assert caught.value.shown_code == "too_many_documents"


async def test_use_puts_off_the_end(alice):
    known = await taking(alice)
    await run_in_thread(Document.objects.update, used_at=at(-120), expires_at=at(5))
    await taking(alice)
    row = await state(pk=known.document_id)
    assert row.used_at > at(-60)
    assert row.expires_at > at(3_600)


def test_what_has_expired_is_told_from_what_is_used(alice):
    def make(**fields):
        return Document.objects.create(user=alice.user, **fields).pk

    old = make(digest="1", expires_at=at(-1))
    make(digest="2", expires_at=at(60))
    make(digest="3", expires_at=at(-1), state="processing", alive_until=at(60))
    dead = make(digest="4", expires_at=at(-1), state="processing", alive_until=at(-1))
    make(digest="5")
    assert set(Document.objects.filter_expired().values_list("pk", flat=True)) == {old, dead}


async def test_a_frozen_database_is_told(alice, monkeypatch, settings):
    settings.DATABASE_TIMEOUT_SECONDS = 0.05
    thawed = threading.Event()
    monkeypatch.setattr(ingest, "find_and_record_use", lambda *args: thawed.wait(5) and None)
    with pytest.raises(DatabaseUnavailable):
        await taking(alice)
    thawed.set()


async def test_text_that_postgres_cannot_hold_is_held_all_the_same(alice):
    known = await taking(alice, "Be\0fore. " * 600)
    assert known.document_id
    assert (await run_in_thread(Passage.objects.first)).text.startswith("Be\ufffdfore.")


@pytest.mark.parametrize(
    ("error", "shown"),
    [(BlockingIOError("no process"), Saturated), (RuntimeError("a mistake"), RuntimeError)],
)
async def test_a_failure_that_passes_blocks_nothing(alice, monkeypatch, error, shown):
    def fails(*args):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(document_store, "divide_text", fails)
        with pytest.raises(shown):
            await taking(alice)
    row = await state()
    assert (row.state, row.alive_until) == ("uploaded", None)
    assert (await taking(alice)).document_id == row.pk


@pytest.mark.settings(DOCUMENTS_PER_USER=3)
async def test_many_texts_at_once_are_no_more_than_a_user_may_have(alice):
    places = [document_rows.DocumentKey(alice.user.pk, str(number)) for number in range(12)]
    found = await asyncio.gather(
        *(run_in_thread(document_rows.create_or_claim_document, place) for place in places)
    )
    assert sum(one is not None for one in found) == 3
    assert await run_in_thread(Document.objects.count) == 3
