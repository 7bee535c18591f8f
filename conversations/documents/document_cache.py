"""A cache of outlines and embeddings of the documents used last, in this process.

`find_outline` returns a document's outline from it or from the database.
"""

import asyncio
import logging
import threading
import zlib
from collections import OrderedDict

from django.conf import settings

from conversations.documents.index.vectors import VectorMatrix
from conversations.documents.index_worker import Outline
from conversations.models import Document, Passage
from providers.database.database_threads import LONG, await_in_time

logger = logging.getLogger(__name__)
PASSAGE_BYTES = 24  # memory of an outline for each passage, in addition to its packed bytes
MOST_CACHE_SHARE = 0.5  # of the cache that one entry may take; a larger one is not kept
CacheKey = tuple[str, str]  # "outline" or "vectors", and the document's id


class DocumentCache:
    """A cache of outlines and embeddings of the documents used last, for threads.

    Outlines are kept packed, as they are searched. Both take at most DOCUMENT_CACHE_BYTES.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: OrderedDict[CacheKey, tuple[object, int]] = OrderedDict()
        self._cached_bytes = 0

    def get_cached_outline(self, document_id: str) -> Outline | None:
        """Return the outline if it is in the cache, else None."""
        outline = self._get_entry(("outline", document_id))
        return outline if isinstance(outline, Outline) else None

    def store_packed_outline(self, document_id: str, packed_outline: bytes) -> Outline:
        """Unpack the outline and keep it. Raises ValueError, zlib.error for other bytes."""
        outline = Outline.from_packed(packed_outline)
        size_bytes = len(packed_outline) + PASSAGE_BYTES * len(outline)
        self._store_entry(("outline", document_id), outline, size_bytes)
        return outline

    def load_vectors(self, document_id: str) -> VectorMatrix | None:
        """Return the embeddings of a document's passages, None while they are not complete.

        For a database thread.
        """
        cached = self._get_entry(("vectors", document_id))
        if isinstance(cached, VectorMatrix):
            return cached
        rows = Passage.objects.filter(document_id=document_id).order_by("number")
        if not rows.filter(number=0, embedding__isnull=False).exists():
            return None
        packed = [bytes(embedding or b"") for embedding in rows.values_list("embedding", flat=True)]
        matrix = VectorMatrix.from_packed(packed)
        self._store_entry(("vectors", document_id), matrix, sum(map(len, packed)))
        return matrix

    def _get_entry(self, key: CacheKey) -> object:
        with self._lock:
            if key not in self._entries:
                return None
            self._entries.move_to_end(key)
            return self._entries[key][0]

    def _store_entry(self, key: CacheKey, value: object, size_bytes: int) -> None:
        """Keep a value; drop those that were not used for the longest time."""
        with self._lock:
            _, previous_bytes = self._entries.pop(key, (None, 0))
            self._cached_bytes -= previous_bytes
            if size_bytes > MOST_CACHE_SHARE * settings.DOCUMENT_CACHE_BYTES:
                return
            self._entries[key] = value, size_bytes
            self._cached_bytes += size_bytes
            while self._cached_bytes > settings.DOCUMENT_CACHE_BYTES and self._entries:
                _, (_, dropped_bytes) = self._entries.popitem(last=False)
                self._cached_bytes -= dropped_bytes


cache = DocumentCache()


async def find_outline(document_id: str) -> Outline | None:
    """Return the outline of an ingested document, or None. For the event loop.

    Only the database has a time limit. Raises DatabaseUnavailable.
    """
    outline = cache.get_cached_outline(document_id)
    if outline is not None:
        return outline
    packed = await await_in_time(LONG.run_work(read_packed_outline, document_id))
    if packed is None:
        return None
    return await asyncio.to_thread(store_readable_outline, document_id, packed)


def read_packed_outline(document_id: str) -> bytes | None:
    packed = Document.objects.filter(pk=document_id).values_list("index", flat=True).first()
    return None if packed is None else bytes(packed)


def store_readable_outline(document_id: str, packed_outline: bytes) -> Outline | None:
    """Return the outline in these bytes and keep it in the cache.

    None for bytes of an older format.
    """
    try:
        return cache.store_packed_outline(document_id, packed_outline)
    except (ValueError, zlib.error):
        logger.warning("the index of the document %s cannot be read", document_id)
        return None
