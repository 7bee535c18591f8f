"""Compute embeddings of passages and questions by the model that EMBEDDING_MODEL names, if any.

`build_embedder` returns the function that does it: a model of an upstream, called like the
embeddings endpoint calls it, or the local one (`minilm.py`). Passages are embedded in the
background (`embed_documents_forever`), one document at a time in all processes together by its
lease, and no request waits for it. Until all passages of a document have embeddings, they are found
by their words alone. Embeddings of another model than the present one are useless and are made
again.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from typing import TypeGuard
from uuid import uuid4

from django.conf import settings
from django.db import DatabaseError, transaction

from conversations.documents.index import vectors
from conversations.documents.index.minilm import EMBEDDING_WIDTH, LocalModelMissing, MiniLM
from conversations.documents.ranking import EmbedTexts, Vector
from conversations.models import Document, DocumentState, Passage
from providers.catalogue import Catalogue
from providers.database.database_threads import LONG
from providers.exceptions import BadResponse, GatewayError, ModelNotFound
from providers.protocol.chunks import Chunk
from providers.protocol.request import EMBEDDINGS, ChatRequest
from providers.protocol.trace import Trace
from tokens.failover import loop as failover
from tokens.pool.pool import Pool

logger = logging.getLogger(__name__)
LOCAL_MODEL = "local"
BATCH_PASSAGES = 64  # passages that are embedded by one call
POLL_SECONDS = 15.0  # between two searches for documents without embeddings
LEASE_SECONDS = 300.0  # for one batch
LARGEST_NUMBER = 1e30  # bound of a vector's numbers, so that their squares stay finite
LAST_LATIN = "\u024f"
LETTERS_PER_FOREIGN = 5  # one letter in so many may be of another script


def build_embedder(catalogue: Catalogue, pool: Pool) -> EmbedTexts | None:
    """Return the function that embeds texts, or None when EMBEDDING_MODEL is not set."""
    if not settings.EMBEDDING_MODEL:
        return None
    if settings.EMBEDDING_MODEL == LOCAL_MODEL:
        return LocalEmbedder()
    return partial(embed_by_upstream, catalogue, pool)


async def embed_by_upstream(catalogue: Catalogue, pool: Pool, texts: Sequence[str]) -> list[Vector]:
    """Return one vector for each text, in order, from whichever upstream serves the model.

    The call goes with failover through the client of the request path, because a caller waits for
    the vector of a question. Raises GatewayError.
    """
    name = settings.EMBEDDING_MODEL
    resolved = catalogue.resolve_name(name)
    if resolved is None:
        raise ModelNotFound(f"The model {name!r} of EMBEDDING_MODEL does not exist.")
    body = {"model": name, "input": list(texts), "encoding_format": "float"}
    request = ChatRequest(id=uuid4().hex, endpoint=EMBEDDINGS, model=name, body=body)
    candidates = catalogue.find_candidates(resolved.public_id, request)
    vector_by_index: dict[int, Vector] = {}
    async with aclosing(failover.answer(request, candidates, pool, Trace(request))) as batches:
        async for answer, *_ in batches:
            vector_by_index = parse_embeddings(answer)
    indexes = range(len(texts))
    ordered = [vector_by_index[index] for index in indexes if index in vector_by_index]
    if len(ordered) != len(texts) or len({len(vector) for vector in ordered}) > 1:
        raise BadResponse("The upstream gave no embeddings, or not all.")
    return ordered


def parse_embeddings(answer: Chunk) -> dict[int, Vector]:
    """Return the valid embeddings of an answer, by their index."""
    data = answer.get("data")
    if not isinstance(data, list):
        return {}
    vector_by_index: dict[int, Vector] = {}
    for position, entry in enumerate(data):
        if isinstance(entry, dict):
            index = entry.get("index", position)
            vector = entry.get("embedding")
            if isinstance(index, int) and is_vector(vector):
                vector_by_index[index] = vector
    return vector_by_index


def is_vector(value: object) -> TypeGuard[Vector]:
    """Return whether a value is a list of usable numbers, and not empty."""
    return isinstance(value, list) and bool(value) and all(map(is_number, value))


def is_number(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return abs(value) < LARGEST_NUMBER


class LocalEmbedder:
    """MiniLM in a thread, loaded when it is first needed.

    The model knows English. A text in another script gets a null vector, which is near to nothing,
    so that no guesses mix with the passages that its words find.
    """

    def __init__(self) -> None:
        self._model: MiniLM | None = None
        self._lock = asyncio.Lock()

    async def __call__(self, texts: Sequence[str]) -> list[Vector]:
        async with self._lock:
            if self._model is None:
                try:
                    self._model = await asyncio.to_thread(MiniLM)
                except LocalModelMissing as error:
                    raise ModelNotFound(str(error)) from None
            known = [text for text in texts if is_mostly_latin(text)]
            vector_by_text = dict(
                zip(known, await asyncio.to_thread(self._model, known), strict=True)
            )
        return [vector_by_text.get(text) or [0.0] * EMBEDDING_WIDTH for text in texts]


def is_mostly_latin(text: str) -> bool:
    """Return whether a text is in Latin letters, but for a word here and there."""
    letters = [char for char in text if char.isalpha()]
    return sum(char > LAST_LATIN for char in letters) * LETTERS_PER_FOREIGN <= len(letters)


# --- in the background ----------------------------------------------------------------------------
async def embed_documents_forever(embed: EmbedTexts) -> None:
    """Embed documents without embeddings of the present model, for ever. Writes their passages."""
    ingested = Document.objects.filter(state=DocumentState.INGESTED)
    embedding_model = ""
    while True:
        try:
            if not embedding_model and await LONG.run_work(ingested.exists):
                embedding_model = await identify_embedding_model(embed)
                await LONG.run_work(mark_embeddings_outdated, embedding_model)
            if embedding_model:
                await embed_documents(embed, embedding_model)
        except (GatewayError, DatabaseError) as error:
            logger.warning("documents are not embedded now: %s", type(error).__name__)
        await asyncio.sleep(POLL_SECONDS)


async def embed_documents(embed: EmbedTexts, embedding_model: str) -> None:
    """Embed the documents that lack embeddings of this model, one after the other.

    Raises GatewayError, DatabaseError.
    """
    while document_id := await LONG.run_work(claim_next_document, embedding_model):
        await embed_document(embed, document_id)


async def identify_embedding_model(embed: EmbedTexts) -> str:
    """Return the model's name and the length of its vectors.

    The length changes when another model is put behind the name. Raises GatewayError.
    """
    (vector,) = await embed(["a"])
    return f"{settings.EMBEDDING_MODEL} {len(vector)}"


def mark_embeddings_outdated(embedding_model: str) -> None:
    """Delete the first passage's embedding of documents that another model has embedded.

    The first passage is written last, so these documents count as incomplete.
    """
    others = Document.objects.exclude(embedding_model=embedding_model).values("pk")
    Passage.objects.filter(number=0, embedding__isnull=False, document__in=others).update(
        embedding=None
    )


def claim_next_document(embedding_model: str) -> str | None:
    """Claim a document that lacks embeddings; return its id, None when there is none.

    Writes its lease. When its embeddings are of another model, deletes them. For a database thread.
    """
    lacking = Document.objects.filter_lacking_embeddings()
    document_id = lacking.order_by("created_at").values_list("pk", flat=True).first()
    if document_id is None:
        return None
    if not lacking.filter(pk=document_id).claim_lease("alive_until", LEASE_SECONDS):
        return None
    outdated = Document.objects.filter(pk=document_id).exclude(embedding_model=embedding_model)
    if outdated.exists():
        embedded = Passage.objects.filter(document_id=document_id, embedding__isnull=False)
        with transaction.atomic():
            embedded.update(embedding=None)
            outdated.update(embedding_model=embedding_model)
    return document_id


async def embed_document(embed: EmbedTexts, document_id: str) -> None:
    """Embed and write a document's passages, the last first.

    So the first passage has an embedding only when all have one. Raises GatewayError,
    DatabaseError.
    """
    while rows := await LONG.run_work(renew_and_list_passages, document_id):
        passage_vectors = await embed([text for _, text in rows])
        numbers = [number for number, _ in rows]
        await LONG.run_work(write_embeddings, document_id, numbers, passage_vectors)
    await LONG.run_work(Document.objects.filter(pk=document_id).release_lease, "alive_until")


def renew_and_list_passages(document_id: str) -> list[tuple[int, str]]:
    """Renew the lease and return the last passages without an embedding as (number, text)."""
    Document.objects.filter(pk=document_id).renew_lease("alive_until", LEASE_SECONDS)
    rows = Passage.objects.filter(document_id=document_id, embedding=None).order_by("-number")
    return list(rows.values_list("number", "text")[:BATCH_PASSAGES])


def write_embeddings(
    document_id: str, numbers: Sequence[int], passage_vectors: Sequence[Vector]
) -> None:
    with transaction.atomic():
        rows = list(
            Passage.objects.filter(document_id=document_id, number__in=numbers).only("pk", "number")
        )
        by_number = dict(zip(numbers, passage_vectors, strict=True))
        for row in rows:
            row.embedding = vectors.pack_vector(by_number[row.number])
        Passage.objects.bulk_update(rows, ["embedding"])
