"""Questions find their passages through the rows, within a budget, and read no more of them than
they need.
"""

# ruff: noqa: RUF001 - Chinese punctuation is the matter here

import threading
import zlib

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from conversations.documents import ingest
from conversations.documents import ranking as recall
from conversations.documents.index import vectors
from conversations.documents.index_worker import Outline, Splitting
from conversations.documents.ranking import (
    IngestedText,
    Question,
    document_cache,
    find_outline,
    rank_passages,
)
from conversations.models import Document, Passage
from providers.database.database_threads import run_in_thread
from providers.exceptions import ProviderDown

pytestmark = pytest.mark.usefixtures("transactional_db")
TOWNS = "Arden Bexley Corby Dunmore Elstow Farley Girton Hexham Ilkley Jarrow".split()
TRADES = "baker cooper weaver miller tanner fletcher glazier mason potter smith".split()
STÄDTE = "东城 西城 南城 北城 山城 水城 花城 石城 古城 新城".split()
WERKE = "面包师 铁匠 织工 磨坊主 皮匠 箭匠 玻璃匠 石匠 陶工 木匠".split()
ENGLISH = "\n\n".join(
    (
        f"In {town} the {trade} keeps his shop open late. The street is quiet in winter, and the "
        "people of the town like "
        f"to meet there in the evening. His number in the register of the guild is {n}{k}."
    )
    for n, town in enumerate(TOWNS)
    for k, trade in enumerate(TRADES)
)
CHINESE = "\n\n".join(
    f"在{town}，{trade}的店铺很晚才关门。冬天街上很安静，镇上的人喜欢傍晚在那里见面。他在行会名册上的号码是{n}{k}。"
    for n, town in enumerate(STÄDTE)
    for k, trade in enumerate(WERKE)
)


@pytest.fixture(autouse=True)
def _empty_shelf():
    document_cache.clear_entries()


async def taken(person, text, splitting=None):
    return (
        await ingest.ingest_text(person.user.pk, text, splitting or Splitting(size=200))
    ).document_id


async def search(document_id, question):
    """The numbers of the passages that answer the question, best first."""
    outline = await find_outline(document_id)
    if outline is None:
        return []
    hits = await run_in_thread(rank_passages, IngestedText(document_id, outline), question)
    return [hit.key for hit in hits]


async def passage(document_id, number):
    rows = Passage.objects.filter(document_id=document_id, number=number)
    return await run_in_thread(lambda: rows.get().text)


@pytest.mark.parametrize(
    ("text", "question", "said"),
    [
        (ENGLISH, "What is the number of the potter in Hexham?", "In Hexham the potter"),
        (CHINESE, "石城的陶工的号码是多少？", "在石城，陶工的店铺"),
    ],
)
async def test_the_best_passage_is_the_one_that_answers(alice, text, question, said):
    document_id = await taken(alice, text)
    best, *others = await search(document_id, Question(question))
    assert said in await passage(document_id, best)
    assert others
    assert await search(document_id, Question(question, most_passages=1)) == [best]
    assert await search(document_id, Question("zebra")) == []


async def test_a_second_question_reads_nothing_from_the_database(alice):
    document_id = await taken(alice, ENGLISH)
    outline = await find_outline(document_id)

    def ask():
        with CaptureQueriesContext(connection) as queries:
            assert rank_passages(
                IngestedText(document_id, outline), Question("the potter in Hexham")
            )
        return len(queries)

    assert await find_outline(document_id) is outline
    assert await run_in_thread(ask) == 0


async def test_what_was_deleted_is_not_found(alice):
    document_id = await taken(alice, ENGLISH)
    await run_in_thread(Document.objects.all().delete)
    document_cache.clear_entries()
    assert await search(document_id, Question("potter")) == []


@pytest.mark.settings(DOCUMENT_CACHE_BYTES=1)
async def test_a_shelf_without_room_still_answers(alice):
    document_id = await taken(alice, ENGLISH)
    assert await search(document_id, Question("potter"))
    assert document_cache._entries == {}


async def test_the_shelf_keeps_what_was_used_last(alice, settings):
    first, second, third = [await taken(alice, f"{ENGLISH} {n}") for n in range(3)]
    (size, *_) = {size for _, size in document_cache._entries.values()}
    document_cache.clear_entries()
    settings.DOCUMENT_CACHE_BYTES = int(2.5 * size)
    for document_id in (first, second, first, third):
        await run_in_thread(document_cache.load_outline, document_id)
    assert [key for _, key in document_cache._entries] == [first, third]


async def test_an_index_that_cannot_be_read_is_none(alice):
    document_id = await taken(alice, ENGLISH)
    await run_in_thread(
        Document.objects.update, index=zlib.compress(b'{"starts": [], "index": {}}')
    )
    document_cache.clear_entries()
    assert await run_in_thread(document_cache.load_outline, document_id) is None
    assert await search(document_id, Question("potter")) == []
    assert await taken(alice, ENGLISH) == ""  # divided, and not stored again


async def test_one_too_large_for_the_shelf_throws_nobody_out(alice, settings):
    small, large = await taken(alice, ENGLISH), await taken(alice, ENGLISH * 8)
    sizes = {key: size for (_, key), (_, size) in document_cache._entries.items()}
    settings.DOCUMENT_CACHE_BYTES = int(1.5 * sizes[large])
    document_cache.clear_entries()
    for document_id in (small, large):
        assert await run_in_thread(document_cache.load_outline, document_id)
    assert [key for _, key in document_cache._entries] == [small]
    assert document_cache._cached_bytes == sizes[small]


async def test_what_is_read_from_the_database_is_unpacked_elsewhere(alice, monkeypatch):
    """So that a slow processor is not taken for a silent database."""
    document_id = await taken(alice, ENGLISH)
    threads, unpack = [], Outline.from_packed

    def noted(packed):
        threads.append(threading.current_thread().name)
        return unpack(packed)

    monkeypatch.setattr(Outline, "from_packed", noted)
    document_cache.clear_entries()
    assert (await taken(alice, ENGLISH)) == document_id
    document_cache.clear_entries()
    assert await search(document_id, Question("potter"))
    assert len(threads) == 2
    assert not any(name.startswith(("database", "MainThread")) for name in threads)


# --- embeddings -----------------------------------------------------------------------------------
def near(*numbers):
    """An embedding for each passage that is near to (1, 0) for these."""

    def write(document_id):
        for row in Passage.objects.filter(document_id=document_id):
            row.embedding = vectors.pack_vector(
                [2.0, 0.1] if row.number in numbers else [-0.1, 2.0]
            )
            row.save()

    return write


async def test_what_words_do_not_find_embeddings_do(alice):
    document_id = await taken(alice, ENGLISH)
    question = Question("Wer formt Ton?", (3.0, 0.0))
    assert await search(document_id, question) == []
    await run_in_thread(near(5), document_id)
    found = await search(document_id, question)
    assert found[0] == 5
    other = Question("Wer formt Ton?", (3.0, 0.0, 1.0))  # of another model
    assert await search(document_id, other) == []


async def test_both_rankings_count(alice):
    document_id = await taken(alice, ENGLISH)
    await run_in_thread(near(5), document_id)
    question = Question("the potter in Hexham", (3.0, 0.0))
    found = await search(document_id, question)
    said = [await passage(document_id, number) for number in found[:4]]
    assert 5 in found[:4]
    assert any("Hexham the potter" in text for text in said)


async def test_a_question_without_an_embedding_in_time_is_searched_by_its_words(settings):
    settings.EMBEDDING_SECONDS = 0.05

    async def down(texts):
        raise ProviderDown("down")

    async def slow(texts):
        import asyncio

        await asyncio.sleep(5)

    for embed in (down, slow, None):
        assert await recall.embed_question("what?", embed) == Question("what?")

    async def quick(texts):
        return [[1.0, 2.0]]

    assert (await recall.embed_question("what?", quick, 3)) == Question("what?", [1.0, 2.0], 3)
    assert (await recall.embed_question(" ", quick)).vector is None


@pytest.mark.parametrize("numpy", [True, False])
def test_vectors_are_compared_by_direction_with_and_without_numpy(numpy, monkeypatch):
    if not numpy:
        monkeypatch.setattr(vectors, "numpy", None)
    matrix = vectors.VectorMatrix.from_packed(
        [vectors.pack_vector(one) for one in ([1, 1], [9, 0], [-1, 0], [0, 0])] + [b""]
    )
    hits = matrix.find_nearest([0.5, 0.0], 9)
    assert [hit.key for hit in hits] == [1, 0]
    assert hits[0].score == pytest.approx(1)
    assert hits[1].score == pytest.approx(0.5**0.5, abs=1e-6)
    assert vectors.VectorMatrix.from_packed([]).find_nearest([1.0], 3) == []
