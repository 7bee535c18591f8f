"""Questions find their passages through the rows, within a budget, and read no more of them than they need."""

# ruff: noqa: RUF001 - Chinese punctuation is the matter here

import threading
import zlib

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from conversations.documents import ingest, recall, vectors
from conversations.documents.divide import Outline, Splitting
from conversations.documents.recall import Question, shelf
from conversations.models import Document, Passage
from providers.exceptions import ProviderDown
from providers.offloop import off_loop

pytestmark = pytest.mark.usefixtures("transactional_db")
TOWNS = "Arden Bexley Corby Dunmore Elstow Farley Girton Hexham Ilkley Jarrow".split()
TRADES = "baker cooper weaver miller tanner fletcher glazier mason potter smith".split()
STÄDTE = "东城 西城 南城 北城 山城 水城 花城 石城 古城 新城".split()
WERKE = "面包师 铁匠 织工 磨坊主 皮匠 箭匠 玻璃匠 石匠 陶工 木匠".split()
ENGLISH = "\n\n".join(
    f"In {town} the {trade} keeps his shop open late. The street is quiet in winter, and the people of the town like "
    f"to meet there in the evening. His number in the register of the guild is {n}{k}."
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
    shelf.forget()


async def taken(person, text, splitting=None):
    return (await ingest.take_in(person.user.pk, text, splitting or Splitting(size=200))).document_id


@pytest.mark.parametrize(
    ("text", "asked", "towns", "trades"),
    [
        (ENGLISH, "What is the number of the {trade} in {town}?", TOWNS, TRADES),
        (CHINESE, "{town}的{trade}的号码是多少？", STÄDTE, WERKE),
    ],
)
async def test_the_answer_is_found_within_a_tenth_of_the_text(alice, text, asked, towns, trades):
    document_id = await taken(alice, text)
    found = 0
    for n, town in enumerate(towns):
        for k, trade in enumerate(trades):
            question = Question(asked.format(town=town, trade=trade))
            passages = await recall.recall(alice.user.pk, [document_id], question, len(text) // 10)
            assert sum(len(one.text) for one in passages) <= len(text) // 10
            assert [one.number for one in passages] == sorted(one.number for one in passages)
            assert all(text[one.start : one.end] == one.text for one in passages)
            found += any(town in one.text and trade in one.text and f"{n}{k}" in one.text for one in passages)
    assert found >= 90


async def test_a_second_question_reads_the_passages_it_needs_and_nothing_else(alice, monkeypatch):
    document_id = await taken(alice, ENGLISH)

    statements = []

    async def noted(function, *args):
        def work():
            with CaptureQueriesContext(connection) as queries:
                found = function(*args)
            statements.extend(query["sql"] for query in queries)
            return found

        return await off_loop(work)

    async def ask():
        return await recall.recall(alice.user.pk, [document_id], Question("the potter in Hexham"), 400)

    await ask()
    monkeypatch.setattr(recall.LONG, "run", noted)
    found = await ask()
    assert 1 <= len(found) <= 2
    assert len(statements) == 2
    assert not any('"index"' in one for one in statements)
    assert '"number" IN' in statements[1]


async def test_several_documents_are_searched_together_each_user_his_own(alice, mallory):
    first, second = await taken(alice, ENGLISH), await taken(alice, CHINESE)
    strange = await taken(mallory, ENGLISH + " ")
    question = Question("the potter in Hexham 山城的石匠")
    found = await recall.recall(alice.user.pk, [second, strange, first, "doc_x"], question, 2_000)
    order = [one.document_id for one in found]
    assert order == sorted(order, key=[second, first].index)
    assert set(order) == {first, second}
    assert await recall.recall(mallory.user.pk, [first, second], question, 2_000) == []
    assert await recall.recall(alice.user.pk, [first], Question("zebra"), 2_000) == []
    few = await recall.recall(alice.user.pk, [first, second], Question(question.text, most=1), 2_000)
    assert len(few) == 1


async def test_what_was_deleted_is_not_found(alice):
    document_id = await taken(alice, ENGLISH)
    await off_loop(Document.objects.all().delete)
    assert await recall.recall(alice.user.pk, [document_id], Question("potter"), 2_000) == []


@pytest.mark.settings(DOCUMENT_CACHE_BYTES=1)
async def test_a_shelf_without_room_still_answers(alice):
    document_id = await taken(alice, ENGLISH)
    assert await recall.recall(alice.user.pk, [document_id], Question("potter"), 2_000)
    assert shelf._kept == {}


async def test_the_shelf_keeps_what_was_used_last(alice, settings):
    first, second, third = [await taken(alice, f"{ENGLISH} {n}") for n in range(3)]
    (size, *_) = {size for _, size in shelf._kept.values()}
    shelf.forget()
    settings.DOCUMENT_CACHE_BYTES = int(2.5 * size)
    for document_id in (first, second, first, third):
        await off_loop(shelf.outline, document_id)
    assert [key for _, key in shelf._kept] == [first, third]


async def test_an_index_that_cannot_be_read_is_none(alice):
    document_id = await taken(alice, ENGLISH)
    await off_loop(Document.objects.update, index=zlib.compress(b'{"starts": [], "index": {}}'))
    shelf.forget()
    assert await off_loop(shelf.outline, document_id) is None
    assert await recall.recall(alice.user.pk, [document_id], Question("potter"), 2_000) == []
    assert await taken(alice, ENGLISH) == ""  # divided, and not stored again


async def test_one_too_large_for_the_shelf_throws_nobody_out(alice, settings):
    small, large = await taken(alice, ENGLISH), await taken(alice, ENGLISH * 8)
    sizes = {key: size for (_, key), (_, size) in shelf._kept.items()}
    settings.DOCUMENT_CACHE_BYTES = int(1.5 * sizes[large])
    shelf.forget()
    for document_id in (small, large):
        assert await off_loop(shelf.outline, document_id)
    assert [key for _, key in shelf._kept] == [small]
    assert shelf._bytes == sizes[small]


async def test_what_is_read_from_the_database_is_unpacked_elsewhere(alice, monkeypatch):
    """So that a slow processor is not taken for a silent database."""
    document_id = await taken(alice, ENGLISH)
    threads, unpack = [], Outline.unpack

    def noted(packed):
        threads.append(threading.current_thread().name)
        return unpack(packed)

    monkeypatch.setattr(Outline, "unpack", noted)
    shelf.forget()
    assert (await taken(alice, ENGLISH)) == document_id
    shelf.forget()
    assert await recall.recall(alice.user.pk, [document_id], Question("potter"), 2_000)
    assert len(threads) == 2
    assert not any(name.startswith(("database", "MainThread")) for name in threads)


# --- embeddings -------------------------------------------------------------------------------------------------------
def near(*numbers):
    """An embedding for each passage that is near to (1, 0) for these."""

    def write(document_id):
        for row in Passage.objects.filter(document_id=document_id):
            row.embedding = vectors.pack([2.0, 0.1] if row.number in numbers else [-0.1, 2.0])
            row.save()

    return write


async def test_what_words_do_not_find_embeddings_do(alice):
    document_id = await taken(alice, ENGLISH)
    question = Question("Wer formt Ton?", (3.0, 0.0))
    assert await recall.recall(alice.user.pk, [document_id], question, 1_000) == []
    await off_loop(near(5), document_id)
    found = await recall.recall(alice.user.pk, [document_id], question, 230)
    assert [one.number for one in found] == [5]
    other = Question("Wer formt Ton?", (3.0, 0.0, 1.0))  # of another model
    assert await recall.recall(alice.user.pk, [document_id], other, 1_000) == []


async def test_both_rankings_count(alice):
    document_id = await taken(alice, ENGLISH)
    await off_loop(near(5), document_id)
    question = Question("the potter in Hexham", (3.0, 0.0))
    found = await recall.recall(alice.user.pk, [document_id], question, 900)
    assert 5 in [one.number for one in found]
    assert any("Hexham the potter" in one.text for one in found)


async def test_a_question_without_an_embedding_in_time_is_searched_by_its_words(settings):
    settings.EMBEDDING_SECONDS = 0.05

    async def down(texts):
        raise ProviderDown("down")

    async def slow(texts):
        import asyncio

        await asyncio.sleep(5)

    for embed in (down, slow, None):
        assert await recall.asked("what?", embed) == Question("what?")

    async def quick(texts):
        return [[1.0, 2.0]]

    assert (await recall.asked("what?", quick, 3)) == Question("what?", [1.0, 2.0], 3)
    assert (await recall.asked(" ", quick)).vector is None


@pytest.mark.parametrize("numpy", [True, False])
def test_vectors_are_compared_by_direction_with_and_without_numpy(numpy, monkeypatch):
    if not numpy:
        monkeypatch.setattr(vectors, "numpy", None)
    matrix = vectors.Matrix.of([vectors.pack(one) for one in ([1, 1], [9, 0], [-1, 0], [0, 0])] + [b""])
    hits = matrix.nearest([0.5, 0.0], 9)
    assert [hit.key for hit in hits] == [1, 0]
    assert hits[0].score == pytest.approx(1)
    assert hits[1].score == pytest.approx(0.5**0.5, abs=1e-6)
    assert vectors.Matrix.of([]).nearest([1.0], 3) == []
