"""Rank the passages of one text by how well they answer a question.

The text's outline is searched by words (BM25) and, where its passages have embeddings, also by
these; the two rankings are fused by place.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from django.conf import settings

from conversations.documents import document_cache
from conversations.documents.index.bm25 import PassageHit, fuse_rankings
from conversations.documents.index_worker import Outline
from providers.exceptions import GatewayError

logger = logging.getLogger(__name__)
MOST_RANKED_PASSAGES = 400  # passages that a ranking has at most
Vector = Sequence[float]
EmbedTexts = Callable[[Sequence[str]], Awaitable[list[Vector]]]


@dataclass(frozen=True, slots=True)
class IngestedText:
    """The outline of a text, and its document's id, which is empty when nothing is stored."""

    document_id: str
    outline: Outline


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and its embedding when there is one.

    `most_passages` is the greatest number of passages to find; 0 means any number.
    """

    text: str
    vector: Vector | None = None
    most_passages: int = 0


def rank_passages(ingested_text: IngestedText, question: Question) -> list[PassageHit]:
    """Return the passages of a text that fit the question, best first.

    The keys of the hits are the passages' numbers. For a database thread.
    """
    hits = ingested_text.outline.index.search_passages(question.text, MOST_RANKED_PASSAGES)
    nearest = find_nearest_passages(ingested_text.document_id, question.vector)
    if nearest:
        rankings = [[hit.key for hit in ranking] for ranking in (hits, nearest)]
        hits = fuse_rankings(rankings, MOST_RANKED_PASSAGES)
    return hits[: question.most_passages] if question.most_passages else hits


def find_nearest_passages(document_id: str, vector: Vector | None) -> list[PassageHit]:
    """Return the passages of a document whose embeddings are near to a vector, nearest first.

    None of them without a vector, or while the document's embeddings are not complete.
    """
    if vector is None or not document_id:
        return []
    matrix = document_cache.cache.load_vectors(document_id)
    return matrix.find_nearest(vector, MOST_RANKED_PASSAGES) if matrix is not None else []


async def embed_question(text: str, embed: EmbedTexts | None, most_passages: int = 0) -> Question:
    """Return the question, with its embedding if that comes within EMBEDDING_SECONDS."""
    if embed is None or not text.strip():
        return Question(text, None, most_passages)
    try:
        async with asyncio.timeout(settings.EMBEDDING_SECONDS):
            (vector,) = await embed([text])
    except (TimeoutError, GatewayError) as error:
        logger.warning("a question is searched by its words alone: %s", type(error).__name__)
        return Question(text, None, most_passages)
    return Question(text, vector, most_passages)
