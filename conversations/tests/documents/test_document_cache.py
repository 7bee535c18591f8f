"""Documents used last are read from the database once."""

import threading
import zlib

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from conversations.documents import document_cache
from conversations.documents.document_cache import (
    PASSAGE_BYTES,
    find_outline,
    read_packed_outline,
)
from conversations.documents.index_worker import Outline
from conversations.documents.ranking import IngestedText, Question, rank_passages
from conversations.models import Document
from conversations.tests.documents.guilds import ENGLISH, search, take_in
from providers.database.database_threads import run_in_thread

pytestmark = pytest.mark.usefixtures("transactional_db")


async def cached_bytes(document_id):
    """Return the bytes that a document's outline takes in the cache."""
    packed = await run_in_thread(read_packed_outline, document_id)
    return len(packed) + PASSAGE_BYTES * len(Outline.from_packed(packed))


def list_cached(*document_ids):
    """Return those of the documents whose outlines are in the cache."""
    return [
        document_id
        for document_id in document_ids
        if document_cache.cache.get_cached_outline(document_id) is not None
    ]


async def test_a_second_question_reads_nothing_from_the_database(alice):
    document_id = await take_in(alice, ENGLISH)
    outline = await find_outline(document_id)

    def ask():
        with CaptureQueriesContext(connection) as queries:
            assert rank_passages(
                IngestedText(document_id, outline), Question("the potter in Hexham")
            )
        return len(queries)

    assert await find_outline(document_id) is outline
    assert await run_in_thread(ask) == 0


async def test_what_was_deleted_is_not_found(alice, empty_cache):
    document_id = await take_in(alice, ENGLISH)
    await run_in_thread(Document.objects.all().delete)
    empty_cache()
    assert await search(document_id, Question("potter")) == []


@pytest.mark.settings(DOCUMENT_CACHE_BYTES=1)
async def test_a_cache_without_room_still_answers(alice):
    document_id = await take_in(alice, ENGLISH)
    assert await search(document_id, Question("potter"))
    assert document_cache.cache.get_cached_outline(document_id) is None


async def test_the_cache_keeps_the_documents_used_last(alice, settings, empty_cache):
    first, second, third = [await take_in(alice, f"{ENGLISH} {n}") for n in range(3)]
    settings.DOCUMENT_CACHE_BYTES = int(2.5 * await cached_bytes(first))
    empty_cache()
    for document_id in (first, second, first, third):
        assert await find_outline(document_id)
    assert list_cached(first, second, third) == [first, third]


async def test_an_index_that_cannot_be_read_is_none(alice, empty_cache):
    document_id = await take_in(alice, ENGLISH)
    await run_in_thread(
        Document.objects.update, index=zlib.compress(b'{"starts": [], "index": {}}')
    )
    empty_cache()
    assert await find_outline(document_id) is None
    assert await search(document_id, Question("potter")) == []
    assert await take_in(alice, ENGLISH) == ""  # divided, and not stored again


async def test_a_document_too_large_for_the_cache_displaces_no_other(alice, settings, empty_cache):
    small, other, large = [await take_in(alice, ENGLISH * times) for times in (1, 2, 8)]
    settings.DOCUMENT_CACHE_BYTES = int(1.5 * await cached_bytes(large))
    empty_cache()
    for document_id in (small, large, other):
        assert await find_outline(document_id)
    assert list_cached(small, large, other) == [small, other]


async def test_what_is_read_from_the_database_is_unpacked_elsewhere(
    alice, monkeypatch, empty_cache
):
    """So that a slow processor is not taken for a silent database."""
    document_id = await take_in(alice, ENGLISH)
    threads = []
    unpack = Outline.from_packed

    def noted(packed):
        threads.append(threading.current_thread().name)
        return unpack(packed)

    monkeypatch.setattr(Outline, "from_packed", noted)
    empty_cache()
    assert (await take_in(alice, ENGLISH)) == document_id
    empty_cache()
    assert await search(document_id, Question("potter"))
    assert len(threads) == 2
    assert not any(name.startswith(("database", "MainThread")) for name in threads)
