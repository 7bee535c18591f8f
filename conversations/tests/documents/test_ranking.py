"""Questions find their passages by words and by embeddings."""

# ruff: noqa: RUF001 - Chinese punctuation is the matter here

import pytest

from conversations.documents import ranking
from conversations.documents.index import vectors
from conversations.documents.ranking import Question
from conversations.models import Passage
from conversations.tests.documents.guilds import CHINESE, ENGLISH, search, take_in
from providers.database.database_threads import run_in_thread
from providers.exceptions import ProviderDown

pytestmark = pytest.mark.usefixtures("transactional_db")


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
    document_id = await take_in(alice, text)
    best, *others = await search(document_id, Question(question))
    assert said in await passage(document_id, best)
    assert others
    assert await search(document_id, Question(question, most_passages=1)) == [best]
    assert await search(document_id, Question("zebra")) == []


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
    document_id = await take_in(alice, ENGLISH)
    question = Question("Wer formt Ton?", (3.0, 0.0))
    assert await search(document_id, question) == []
    await run_in_thread(near(5), document_id)
    found = await search(document_id, question)
    assert found[0] == 5
    other = Question("Wer formt Ton?", (3.0, 0.0, 1.0))  # of another model
    assert await search(document_id, other) == []


async def test_both_rankings_count(alice):
    document_id = await take_in(alice, ENGLISH)
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
        assert await ranking.embed_question("what?", embed) == Question("what?")

    async def quick(texts):
        return [[1.0, 2.0]]

    assert (await ranking.embed_question("what?", quick, 3)) == Question("what?", [1.0, 2.0], 3)
    assert (await ranking.embed_question(" ", quick)).vector is None


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
