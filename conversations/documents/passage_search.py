"""Search the passages of a user's own documents: the best of each, ranked once more together.

Scores of different documents cannot be compared, so that the best passages of each are put into one
small index. For the event loop; the database and the rankings use threads.
"""

import asyncio
from collections.abc import Iterable, Sequence

from django.db.models import Q
from msgspec import Struct, structs

from conversations.documents import document_cache, ingest
from conversations.documents.index.bm25 import MemoryIndex
from conversations.documents.ranking import (
    EmbedTexts,
    IngestedText,
    Question,
    embed_question,
    rank_passages,
)
from conversations.models import Document, DocumentState, Passage, StoredFile
from conversations.text.terms import extract_terms
from providers.database.database_threads import LONG

ALL_FILES = "all"  # in place of ids: all files of the user whose text is indexed
MOST_DOCUMENTS = 200  # of one search, those used last
MOST_OF_ONE_DOCUMENT = 10  # passages


class DocumentScope(Struct, frozen=True):
    """The documents to search: by ids of files, of documents, or of conversations that used them.

    `has_all_files` means all indexed files of the user.
    """

    file_ids: frozenset[str] = frozenset()
    document_ids: frozenset[str] = frozenset()
    conversation_ids: frozenset[str] = frozenset()
    has_all_files: bool = False


class FoundPassage(Struct, frozen=True):
    """A passage; `score` is from 0 to 1, and comparable within one search."""

    file_id: str  # of the file, or of the document where it has none
    filename: str
    text: str
    score: float = 0.0


class SearchedDocument(Struct, frozen=True):
    """A document whose index is searched, and its names for the caller."""

    id: str
    file_id: str
    filename: str


def read_scope(ids: Iterable[str]) -> DocumentScope | None:
    """Return the documents that ids mean, None when one of them is of no known kind."""
    all_ids = frozenset(ids)
    file_ids = select_ids(all_ids, "file-")
    document_ids = select_ids(all_ids, "doc_")
    conversation_ids = select_ids(all_ids, "conv_")
    if all_ids - file_ids - document_ids - conversation_ids - {ALL_FILES}:
        return None
    return DocumentScope(file_ids, document_ids, conversation_ids, ALL_FILES in all_ids)


def select_ids(ids: Iterable[str], prefix: str) -> frozenset[str]:
    """Return the ids with this prefix."""
    return frozenset(searched_id for searched_id in ids if searched_id.startswith(prefix))


async def search_documents(
    user_id: int, scope: DocumentScope, query: str, limit: int, embed: EmbedTexts | None = None
) -> list[FoundPassage]:
    """Return at most `limit` passages, best first. Raises DatabaseUnavailable.

    Files whose text is not indexed yet are indexed now. Writes their documents and passages.
    """
    waiting_ids = await LONG.run_work(create_missing_documents, user_id, scope)
    jobs = [ingest.FILE_THREADS.submit(ingest.ingest_in_background, pk) for pk in waiting_ids]
    await asyncio.gather(*map(asyncio.wrap_future, jobs))
    documents = await LONG.run_work(list_documents, user_id, scope)
    question = await embed_question(query, embed, MOST_OF_ONE_DOCUMENT)
    passages: list[FoundPassage] = []
    for document in documents:
        outline = await document_cache.find_outline(document.id)
        if outline is not None:
            text = IngestedText(document.id, outline)
            passages += await LONG.run_work(read_best_passages, document, text, question)
    return await asyncio.to_thread(rank_together, passages, query, limit)


def create_missing_documents(user_id: int, scope: DocumentScope) -> list[str]:
    """Create documents for files of the scope that have none; return those to be indexed."""
    files = StoredFile.objects.of_user(user_id).filter(pk__in=scope.file_ids)
    is_ready = Q(document__state__in=(DocumentState.INGESTED, DocumentState.EMPTY))
    documents = [ingest.create_or_reset_document(file) for file in files.exclude(is_ready)]
    return [document.pk for document in documents]


def list_documents(user_id: int, scope: DocumentScope) -> list[SearchedDocument]:
    """Return the indexed documents of a scope, those used last first."""
    condition = Q(file__in=scope.file_ids) | Q(pk__in=scope.document_ids)
    condition |= Q(conversation__in=scope.conversation_ids, conversation__user_id=user_id)
    if scope.has_all_files:
        condition |= Q(file__isnull=False)
    own = Document.objects.of_user(user_id).filter(condition, state=DocumentState.INGESTED)
    rows = own.order_by("-used_at", "pk").values_list("pk", "file", "file__filename", "title")
    documents = {
        pk: SearchedDocument(pk, file_id or pk, filename or title or pk)
        for pk, file_id, filename, title in rows[:MOST_DOCUMENTS]
    }
    return list(documents.values())


def read_best_passages(
    document: SearchedDocument, text: IngestedText, question: Question
) -> list[FoundPassage]:
    """Return the passages of one document that fit the question."""
    numbers = [hit.key for hit in rank_passages(text, question)]
    rows = Passage.objects.filter(document_id=document.id, number__in=numbers)
    texts = dict(rows.values_list("number", "text"))
    return [
        FoundPassage(document.file_id, document.filename, texts[number])
        for number in numbers
        if number in texts
    ]


def rank_together(passages: Sequence[FoundPassage], query: str, limit: int) -> list[FoundPassage]:
    """Return the passages by how well they answer the query, with their scores.

    Those that share no word with it, and were found by their meaning alone, come last.
    """
    index = MemoryIndex()
    for number, passage in enumerate(passages):
        index.add_passage(number, list(extract_terms(passage.text)))
    hits = index.search_passages(query, len(passages) or 1)
    best_score = max((hit.score for hit in hits), default=1.0)
    scores = {hit.key: round(hit.score / best_score, 4) for hit in hits}
    order = sorted(range(len(passages)), key=lambda number: -scores.get(number, 0.0))
    return [
        structs.replace(passages[number], score=scores.get(number, 0.0)) for number in order[:limit]
    ]
