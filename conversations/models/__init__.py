"""Rows about what is said: the log (Conversation, Turn, Item, EventBatch), documents (Document, Passage), files."""

from conversations.models.documents import Document, DocumentQuerySet, DocumentState, Passage
from conversations.models.files import FileQuerySet, Purpose, Status, StoredFile, new_id
from conversations.models.log import RUNNING, Conversation, Door, EventBatch, Item, Kind, Turn, TurnStatus

__all__ = [
    "RUNNING",
    "Conversation",
    "Document",
    "DocumentQuerySet",
    "DocumentState",
    "Door",
    "EventBatch",
    "FileQuerySet",
    "Item",
    "Kind",
    "Passage",
    "Purpose",
    "Status",
    "StoredFile",
    "Turn",
    "TurnStatus",
    "new_id",
]
