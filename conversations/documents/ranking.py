"""Rank the passages of one text by how well they answer a question.

The text's outline is searched by words (BM25) and, where its passages have embeddings, also by
these; the two rankings are fused by place. This process remembers outlines and embeddings of the
documents used last (`DocumentCache`).
"""

import asyncio
import logging
import threading
import zlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from django.conf import settings

from conversations.documents.index import vectors
from conversations.documents.index.bm25 import PassageHit, fuse_rankings
from conversations.documents.index_worker import Outline
from conversations.models import Document, Passage
from providers.database.database_threads import LONG, await_in_time
from providers.exceptions import GatewayError

logger = logging.getLogger(__name__)
PASSAGE_BYTES = 24  # memory of an outline for each passage, in addition to its packed bytes
MOST_CACHE_SHARE = 0.5  # of the cache that one entry may take; a larger one is not kept
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


class DocumentCache:
    """A cache of outlines and embeddings of the documents used last, for threads.

    Outlines are kept packed, as they are searched. Both take at most DOCUMENT_CACHE_BYTES.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[tuple[str, str], tuple[Any, int]] = OrderedDict()
        self._cached_bytes = 0

    def load_outline(self, document_id: str) -> Outline | None:
        """Return the outline of an ingested document, or None. For a database thread."""
        found = self.get_cached_outline(document_id)
        packed = read_packed_outline(document_id) if found is None else None
        return store_readable_outline(document_id, packed) if packed is not None else found

    def get_cached_outline(self, document_id: str) -> Outline | None:
        """Return the outline if it is in the cache, else None."""
        found: Outline | None = self._get_entry(("outline", document_id))
        return found

    def store_packed_outline(self, document_id: str, packed_outline: bytes) -> Outline:
        """Unpack the outline and keep it. Raises ValueError, zlib.error for other bytes."""
        found = Outline.from_packed(packed_outline)
        self._store_entry(
            ("outline", document_id), found, len(packed_outline) + PASSAGE_BYTES * len(found)
        )
        return found

    def load_vectors(self, document_id: str) -> Any:
        """Return the embeddings of a document's passages as `load_vectors.Matrix`.

        None while they are not complete. For a database thread.
        """
        found = self._get_entry(("vectors", document_id))
        if found is None:
            rows = Passage.objects.filter(document_id=document_id).order_by("number")
            if not rows.filter(number=0, embedding__isnull=False).exists():
                return None
            packed = [bytes(one or b"") for one in rows.values_list("embedding", flat=True)]
            found = vectors.VectorMatrix.from_packed(packed)
            self._store_entry(("vectors", document_id), found, sum(map(len, packed)))
        return found

    def clear_entries(self) -> None:
        with self._lock:
            self._entries.clear()
            self._cached_bytes = 0

    def _get_entry(self, key: tuple[str, str]) -> Any:
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def _store_entry(self, key: tuple[str, str], value: Any, size_bytes: int) -> None:
        with self._lock:
            _, before = self._entries.pop(key, (None, 0))
            self._cached_bytes -= before
            if size_bytes > MOST_CACHE_SHARE * settings.DOCUMENT_CACHE_BYTES:
                return
            self._entries[key] = value, size_bytes
            self._cached_bytes += size_bytes
            while self._cached_bytes > settings.DOCUMENT_CACHE_BYTES and self._entries:
                _, (_, gone) = self._entries.popitem(last=False)
                self._cached_bytes -= gone


document_cache = DocumentCache()


def read_packed_outline(document_id: str) -> bytes | None:
    packed = Document.objects.filter(pk=document_id).values_list("index", flat=True).first()
    return None if packed is None else bytes(packed)


async def find_outline(document_id: str) -> Outline | None:
    """Return the outline like `DocumentCache.outline`, for the event loop.

    Only the database has a time limit. Raises DatabaseUnavailable.
    """
    found = document_cache.get_cached_outline(document_id)
    if (
        found is None
        and (packed := await await_in_time(LONG.run_work(read_packed_outline, document_id)))
        is not None
    ):
        found = await asyncio.to_thread(store_readable_outline, document_id, packed)
    return found


def store_readable_outline(document_id: str, packed_outline: bytes) -> Outline | None:
    """Return the outline in these bytes and keep it in the cache.

    None for bytes of an older format.
    """
    try:
        return document_cache.store_packed_outline(document_id, packed_outline)
    except (ValueError, zlib.error):
        logger.warning("the index of the document %s cannot be read", document_id)
        return None


def rank_passages(ingested_text: IngestedText, question: Question) -> list[PassageHit]:
    """Return the passages of a text that fit the question, best first.

    The keys of the hits are the passages' numbers. For a database thread.
    """
    by_words = ingested_text.outline.index.search_passages(question.text, MOST_RANKED_PASSAGES)
    near: list[PassageHit] = []
    if question.vector is not None and ingested_text.document_id:
        matrix = document_cache.load_vectors(ingested_text.document_id)
        near = (
            matrix.find_nearest(question.vector, MOST_RANKED_PASSAGES) if matrix is not None else []
        )
    hits = (
        fuse_rankings(
            [[hit.key for hit in ranked] for ranked in (by_words, near)], MOST_RANKED_PASSAGES
        )
        if near
        else by_words
    )
    return hits[: question.most_passages] if question.most_passages else hits


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
