"""Which passages of taken-in documents answer a question, found through their rows.

In: a question, ids of a user's documents, a budget in characters. Out: passages with their text, in the order of the
documents and of their text. What is searched is a document's outline, which this process remembers (`Shelf`); of the
passages' rows only those found are read. By words (BM25), and where there are embeddings also by these, the two
rankings fused by place.
"""

import asyncio
import logging
import threading
import zlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeVar

from django.conf import settings
from django.db.models import Q

from conversations.documents import vectors
from conversations.documents.divide import Outline
from conversations.documents.retrieve import Hit, Key, fuse, within
from conversations.models import Document, DocumentState, Passage
from providers.exceptions import GatewayError
from providers.offloop import LONG, heard, in_time

logger = logging.getLogger(__name__)
PASSAGE_BYTES = 24  # that an outline takes in memory for each passage, besides its packed bytes
SHARE = 0.5  # of the shelf that one entry may have: a larger one is used and not kept
CANDIDATES = 400  # passages that a ranking has at most
T = TypeVar("T")
Vector = Sequence[float]
Embed = Callable[[Sequence[str]], Awaitable[list[Vector]]]


@dataclass(frozen=True, slots=True)
class Known:
    """The outline of a text, and its document's id, empty when it is not stored."""

    document_id: str
    outline: Outline


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and its embedding when there is one. `most`: passages at most, 0 for any number."""

    text: str
    vector: Vector | None = None
    most: int = 0


@dataclass(frozen=True, slots=True)
class Recalled:
    """One passage: characters `start` to `end` of its document's text."""

    document_id: str
    number: int
    start: int
    end: int
    text: str


class Shelf:
    """Outlines (packed, as they are searched) and embeddings of the documents used last, at most
    DOCUMENT_CACHE_BYTES. For threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    def outline(self, document_id: str) -> Outline | None:
        """The outline of an ingested document, None when there is none; in a database thread."""
        found = self.kept(document_id)
        packed = read_packed(document_id) if found is None else None
        return opened(document_id, packed) if packed is not None else found

    def kept(self, document_id: str) -> Outline | None:
        """The outline, if it is here."""
        found: Outline | None = self._get(("outline", document_id))
        return found

    def keep(self, document_id: str, packed: bytes) -> Outline:
        """Unpack and keep it. Raises ValueError, zlib.error for what is no outline."""
        found = Outline.unpack(packed)
        self._put(("outline", document_id), found, len(packed) + PASSAGE_BYTES * len(found))
        return found

    def vectors(self, document_id: str) -> Any:
        """The embeddings of a document's passages (`vectors.Matrix`), None while they are not complete."""
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
    """`Shelf.outline` for the loop; only what the database does must come in time. Raises DatabaseUnavailable."""
    found = shelf.kept(document_id)
    if found is None and (packed := await in_time(LONG.run(read_packed, document_id))) is not None:
        found = await asyncio.to_thread(opened, document_id, packed)
    return found


def opened(document_id: str, packed: bytes) -> Outline | None:
    """The outline in these bytes, kept on the shelf; None for those that an earlier form of it has left."""
    try:
        return shelf.keep(document_id, packed)
    except (ValueError, zlib.error):
        logger.warning("the index of the document %s cannot be read", document_id)
        return None


def ranking(known: Known, question: Question) -> list[Hit]:
    """The passages of one text that fit the question, best first; keys are their numbers. In a database thread."""
    by_words = known.outline.index.search(question.text, CANDIDATES)
    near: list[Hit] = []
    if question.vector is not None and known.document_id:
        matrix = shelf.vectors(known.document_id)
        near = matrix.nearest(question.vector, CANDIDATES) if matrix is not None else []
    hits = fuse([[hit.key for hit in ranked] for ranked in (by_words, near)], CANDIDATES) if near else by_words
    return hits[: question.most] if question.most else hits


async def asked(text: str, embed: Embed | None, most: int = 0) -> Question:
    """The question, with its embedding when that comes in time."""
    if embed is None or not text.strip():
        return Question(text, None, most)
    try:
        async with asyncio.timeout(settings.EMBEDDING_SECONDS):
            (vector,) = await embed([text])
    except (TimeoutError, GatewayError) as error:
        logger.warning("a question is searched by its words alone: %s", type(error).__name__)
        return Question(text, None, most)
    return Question(text, vector, most)


async def recall(user_id: int, document_ids: Sequence[str], question: Question, budget: int) -> list[Recalled]:
    """The passages of the user's own documents that fit the question best, within `budget` characters. Raises
    DatabaseUnavailable.
    """
    owned = await in_time(LONG.run(own, user_id, document_ids))
    outlines = {key: found for key in owned if (found := await outline_of(key)) is not None}
    numbers = await heard(LONG.run(chosen, outlines, question, budget))
    return await in_time(LONG.run(read, numbers))


def own(user_id: int, document_ids: Sequence[str]) -> list[str]:
    """Those of these documents that are the user's and ingested, in this order."""
    mine = Document.objects.of(user_id).filter(pk__in=document_ids, state=DocumentState.INGESTED)
    owned = set(mine.values_list("pk", flat=True))
    return [key for key in document_ids if key in owned]


def chosen(outlines: dict[str, Outline], question: Question, budget: int) -> dict[str, list[int]]:
    """The numbers of the passages that fit the question best, by document; in a database thread."""
    ranked = [
        [Hit(f"{key} {hit.key}", hit.score) for hit in ranking(Known(key, outline), question)]
        for key, outline in outlines.items()
    ]
    if question.vector is None:
        hits = sorted(chain.from_iterable(ranked), key=lambda hit: -hit.score)
    else:  # some may have embeddings and some not: their scores say nothing together
        hits = fuse([[hit.key for hit in one] for one in ranked], CANDIDATES)
    hits = hits[: question.most] if question.most else hits
    places = {hit.key: str(hit.key).partition(" ") for hit in hits}
    lengths: dict[Key, int] = {at: outlines[key].length(int(number)) for at, (key, _, number) in places.items()}
    numbers: dict[str, list[int]] = {key: [] for key in outlines}
    for hit in within(hits, lengths, budget):
        key, _, number = places[hit.key]
        numbers[key].append(int(number))
    return {key: some for key, some in numbers.items() if some}


def read(numbers: dict[str, list[int]]) -> list[Recalled]:
    """These passages of these documents, in order, by one query."""
    if not numbers:
        return []
    wanted = Q()
    for document_id, some in numbers.items():
        wanted |= Q(document_id=document_id, number__in=some)
    columns = ("document_id", "number", "start", "end", "text")
    rows = [Recalled(*row) for row in Passage.objects.filter(wanted).values_list(*columns)]
    order = {document_id: place for place, document_id in enumerate(numbers)}
    return sorted(rows, key=lambda row: (order[row.document_id], row.number))
