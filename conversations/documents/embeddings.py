"""Embeddings of passages and questions, by the model that EMBEDDING_MODEL names; none is needed.

`embedder` makes what embeds: an upstream's model, asked as the embeddings door asks it, or the
local one (`minilm.py`). Passages get theirs in the background (`keep`), one document at a time in
all processes together by its lease, and nobody waits for it: until a document has all of them its
passages are found by their words alone. Those of another model than the one that is set now say
nothing, and are made anew.
"""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import DatabaseError, transaction

from conversations.documents.index import vectors
from conversations.documents.index.minilm import WIDTH, MiniLM, Missing
from conversations.documents.ranking import Embed, Vector
from conversations.models import Document, DocumentState, Passage
from providers.catalogue import Catalogue
from providers.database.database_threads import LONG
from providers.exceptions import BadResponse, GatewayError, ModelNotFound
from providers.protocol.chat import EMBEDDINGS, ChatRequest, Chunk, Trace
from tokens.failover import loop as failover
from tokens.pool.pool import Pool

logger = logging.getLogger(__name__)
LOCAL = "local"
BATCH = 64  # passages that are embedded by one question
LOOK_SECONDS = 15.0  # between two looks for documents without embeddings
LEASE_SECONDS = 300.0  # for one batch
LARGEST = 1e30  # of a vector's numbers, so that their squares are numbers too
LAST_LATIN = "\u024f"
FOREIGN = 5  # one letter in so many may be of another script


def embedder(catalogue: Catalogue, pool: Pool) -> Embed | None:
    """What embeds texts, as the settings say; None when nothing does."""
    if not settings.EMBEDDING_MODEL:
        return None
    if settings.EMBEDDING_MODEL == LOCAL:
        return Local()
    return partial(by_upstream, catalogue, pool)


async def by_upstream(catalogue: Catalogue, pool: Pool, texts: Sequence[str]) -> list[Vector]:
    """Return one vector for each text, in order, from whichever upstream serves the model.

    It is asked as callers' embeddings are, by the fast client: with failover, and since a caller
    waits for the vector of a question. Raises GatewayError.
    """
    name = settings.EMBEDDING_MODEL
    meant = catalogue.meaning(name)
    if meant is None:
        raise ModelNotFound(f"The model {name!r} of EMBEDDING_MODEL does not exist.")
    body = {"model": name, "input": list(texts), "encoding_format": "float"}
    request = ChatRequest(id=uuid4().hex, endpoint=EMBEDDINGS, model=name, body=body)
    candidates = catalogue.candidates(meant.public_id, request)
    found: dict[int, Vector] = {}
    async with aclosing(failover.answer(request, candidates, pool, Trace(request))) as batches:
        async for answer, *_ in batches:
            found = vectors_in(answer)
    ordered = [found[at] for at in range(len(texts)) if at in found]
    if len(ordered) != len(texts) or len({len(vector) for vector in ordered}) > 1:
        raise BadResponse("The upstream gave no embeddings, or not all.")
    return ordered


def vectors_in(answer: Chunk) -> dict[int, Vector]:
    """The embeddings of an answer by their places, as far as they are some."""
    data = answer.get("data")
    found: dict[int, Vector] = {}
    for at, one in enumerate(data if isinstance(data, list) else ()):
        if isinstance(one, dict):
            place = one.get("index", at)
            vector = one.get("embedding")
            if (
                isinstance(place, int)
                and isinstance(vector, list)
                and vector
                and all(map(is_number, vector))
            ):
                found[place] = vector
    return found


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST


class Local:
    """MiniLM in a thread, loaded when it is first needed. It has learnt English: a text in another
    script gets a null vector, which is near to nothing, so that what words find in it is not mixed
    with guesses.
    """

    def __init__(self) -> None:
        self._model: MiniLM | None = None
        self._one = asyncio.Lock()

    async def __call__(self, texts: Sequence[str]) -> list[Vector]:
        async with self._one:
            if self._model is None:
                try:
                    self._model = await asyncio.to_thread(MiniLM)
                except Missing as error:
                    raise ModelNotFound(str(error)) from None
            known = [text for text in texts if latin(text)]
            found = iter(await asyncio.to_thread(self._model, known))
        return [next(found) if latin(text) else [0.0] * WIDTH for text in texts]


def latin(text: str) -> bool:
    """Whether a text is written in Latin letters, but for a word here and there."""
    letters = [char for char in text if char.isalpha()]
    return sum(char > LAST_LATIN for char in letters) * FOREIGN <= len(letters)


# --- in the background ----------------------------------------------------------------------------
async def keep(embed: Embed) -> None:
    """Housekeeping: embed what was taken in and has no embeddings of the present model, for
    ever.
    """
    maker = ""
    while True:
        try:
            if not maker and await LONG.run(
                Document.objects.filter(state=DocumentState.INGESTED).exists
            ):
                maker = await maker_of(embed)
                await LONG.run(outdate, maker)
            document_id = await LONG.run(claim_next_document, maker) if maker else None
            while document_id is not None:
                await document(embed, document_id)
                document_id = await LONG.run(claim_next_document, maker)
        except (GatewayError, DatabaseError) as error:
            logger.warning("documents are not embedded now: %s", type(error).__name__)
        await asyncio.sleep(LOOK_SECONDS)


async def maker_of(embed: Embed) -> str:
    """The model and how many numbers it gives: another model may have been put behind the name.
    Raises GatewayError.
    """
    (vector,) = await embed(["a"])
    return f"{settings.EMBEDDING_MODEL} {len(vector)}"


def outdate(maker: str) -> None:
    """Documents with embeddings of another model lack some now: that of the first passage, which is
    written last.
    """
    others = Document.objects.exclude(embedding_model=maker).values("pk")
    Passage.objects.filter(number=0, embedding__isnull=False, document__in=others).update(
        embedding=None
    )


def claim_next_document(maker: str) -> str | None:
    """Claim a document that lacks embeddings; return its id, None when there is none.

    Writes its lease and, when its embeddings are of another model, takes them out. For a
    database thread.
    """
    lacking = Document.objects.lacking_embeddings()
    found = lacking.order_by("created_at").values_list("pk", flat=True).first()
    if found is None or not lacking.filter(pk=found).claim_lease("alive_until", LEASE_SECONDS):
        return None
    others = Document.objects.filter(pk=found).exclude(embedding_model=maker)
    if others.exists():
        with transaction.atomic():
            Passage.objects.filter(document_id=found, embedding__isnull=False).update(
                embedding=None
            )
            others.update(embedding_model=maker)
    return found


async def document(embed: Embed, document_id: str) -> None:
    """Embed a document's passages, the last first: its first one has an embedding when all have.
    Raises GatewayError, DatabaseError.
    """
    while rows := await LONG.run(lacking, document_id):
        found = await embed([text for _, text in rows])
        await LONG.run(write, document_id, [number for number, _ in rows], found)
    await LONG.run(Document.objects.filter(pk=document_id).release_lease, "alive_until")


def lacking(document_id: str) -> list[tuple[int, str]]:
    """Return the last passages without an embedding, (number, text) each. Renews the lease."""
    Document.objects.filter(pk=document_id).renew_lease("alive_until", LEASE_SECONDS)
    rows = Passage.objects.filter(document_id=document_id, embedding=None).order_by("-number")
    return list(rows.values_list("number", "text")[:BATCH])


def write(document_id: str, numbers: Sequence[int], found: Sequence[Vector]) -> None:
    with transaction.atomic():
        rows = list(
            Passage.objects.filter(document_id=document_id, number__in=numbers).only("pk", "number")
        )
        by_number = dict(zip(numbers, found, strict=True))
        for row in rows:
            row.embedding = vectors.pack(by_number[row.number])
        Passage.objects.bulk_update(rows, ["embedding"])
