"""Rank the passages of one text by how well they answer a question.

The text's outline is searched by words (BM25) and, where its passages have embeddings, also by
these; the two rankings are fused by place. This process remembers outlines and embeddings of the
documents used last (`Shelf`).
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
from conversations.documents.index.bm25 import Hit, fuse
from conversations.documents.index_worker import Outline
from conversations.models import Document, Passage
from providers.database.database_threads import LONG, in_time
from providers.exceptions import GatewayError

logger = logging.getLogger(__name__)
PASSAGE_BYTES = 24  # memory of an outline for each passage, in addition to its packed bytes
SHARE = 0.5  # of the cache that one entry may take; a larger one is not kept
CANDIDATES = 400  # passages that a ranking has at most
Vector = Sequence[float]
Embed = Callable[[Sequence[str]], Awaitable[list[Vector]]]


@dataclass(frozen=True, slots=True)
class Known:
    """The outline of a text, and its document's id, which is empty when nothing is stored."""

    document_id: str
    outline: Outline


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and its embedding when there is one.

    `most` is the greatest number of passages to find; 0 means any number.
    """

    text: str
    vector: Vector | None = None
    most: int = 0


class Shelf:
    """A cache of outlines and embeddings of the documents used last, for threads.

    Outlines are kept packed, as they are searched. Both take at most DOCUMENT_CACHE_BYTES.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    def outline(self, document_id: str) -> Outline | None:
        """Return the outline of an ingested document, or None. For a database thread."""
        found = self.kept(document_id)
        packed = read_packed(document_id) if found is None else None
        return opened(document_id, packed) if packed is not None else found

    def kept(self, document_id: str) -> Outline | None:
        """Return the outline if it is in the cache, else None."""
        found: Outline | None = self._get(("outline", document_id))
        return found

    def keep(self, document_id: str, packed: bytes) -> Outline:
        """Unpack the outline and keep it. Raises ValueError, zlib.error for other bytes."""
        found = Outline.unpack(packed)
        self._put(("outline", document_id), found, len(packed) + PASSAGE_BYTES * len(found))
        return found

    def vectors(self, document_id: str) -> Any:
        """Return the embeddings of a document's passages as `vectors.Matrix`.

        None while they are not complete. For a database thread.
        """
        found = self._get(("vectors", document_id))
        if found is None:
            rows = Passage.objects.filter(document_id=document_id).order_by("number")
            if not rows.filter(number=0, embedding__isnull=False).exists():
                return None
            packed = [bytes(one or b"") for one in rows.values_list("embedding", flat=True)]
            found = vectors.Matrix.of(packed)
            self._put(("vectors", document_id), found, sum(map(len, packed)))
        return found

    def forget(self) -> None:
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _get(self, key: tuple[str, str]) -> Any:
        with self._lock:
            if key not in self._kept:
                return None
            self._kept.move_to_end(key)
            return self._kept[key][0]

    def _put(self, key: tuple[str, str], value: Any, size: int) -> None:
        with self._lock:
            _, before = self._kept.pop(key, (None, 0))
            self._bytes -= before
            if size > SHARE * settings.DOCUMENT_CACHE_BYTES:
                return
            self._kept[key] = value, size
            self._bytes += size
            while self._bytes > settings.DOCUMENT_CACHE_BYTES and self._kept:
                _, (_, gone) = self._kept.popitem(last=False)
                self._bytes -= gone


shelf = Shelf()


def read_packed(document_id: str) -> bytes | None:
    packed = Document.objects.filter(pk=document_id).values_list("index", flat=True).first()
    return None if packed is None else bytes(packed)


async def outline_of(document_id: str) -> Outline | None:
    """Return the outline like `Shelf.outline`, for the event loop.

    Only the database has a time limit. Raises DatabaseUnavailable.
    """
    found = shelf.kept(document_id)
    if found is None and (packed := await in_time(LONG.run(read_packed, document_id))) is not None:
        found = await asyncio.to_thread(opened, document_id, packed)
    return found


def opened(document_id: str, packed: bytes) -> Outline | None:
    """Return the outline in these bytes and keep it in the cache.

    None for bytes of an older format.
    """
    try:
        return shelf.keep(document_id, packed)
    except (ValueError, zlib.error):
        logger.warning("the index of the document %s cannot be read", document_id)
        return None


def ranking(known: Known, question: Question) -> list[Hit]:
    """Return the passages of a text that fit the question, best first.

    The keys of the hits are the passages' numbers. For a database thread.
    """
    by_words = known.outline.index.search(question.text, CANDIDATES)
    near: list[Hit] = []
    if question.vector is not None and known.document_id:
        matrix = shelf.vectors(known.document_id)
        near = matrix.nearest(question.vector, CANDIDATES) if matrix is not None else []
    hits = (
        fuse([[hit.key for hit in ranked] for ranked in (by_words, near)], CANDIDATES)
        if near
        else by_words
    )
    return hits[: question.most] if question.most else hits


async def asked(text: str, embed: Embed | None, most: int = 0) -> Question:
    """Return the question, with its embedding if that comes within EMBEDDING_SECONDS."""
    if embed is None or not text.strip():
        return Question(text, None, most)
    try:
        async with asyncio.timeout(settings.EMBEDDING_SECONDS):
            (vector,) = await embed([text])
    except (TimeoutError, GatewayError) as error:
        logger.warning("a question is searched by its words alone: %s", type(error).__name__)
        return Question(text, None, most)
    return Question(text, vector, most)
