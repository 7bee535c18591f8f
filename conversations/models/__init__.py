"""Models of conversations, documents, files and upstream chats.

The log of conversations is Conversation, Turn, Item and EventBatch. Long texts are Document and
Passage, uploaded files are StoredFile. Farewell is an upstream chat to be deleted.
"""

from conversations.models.documents import Document, DocumentQuerySet, DocumentState, Passage
from conversations.models.farewells import Farewell, FarewellQuerySet
from conversations.models.files import FileQuerySet, Purpose, Status, StoredFile, new_id
from conversations.models.log import (
    RUNNING,
    Conversation,
    Door,
    EventBatch,
    Item,
    Kind,
    Turn,
    TurnStatus,
)

__all__ = [
    "RUNNING",
    "Conversation",
    "Document",
    "DocumentQuerySet",
    "DocumentState",
    "Door",
    "EventBatch",
    "Farewell",
    "FarewellQuerySet",
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
