"""Models of conversations, documents, files and upstream chats.

The log of conversations is Conversation, Turn, Item and EventBatch. Long texts are Document and
Passage, uploaded files are StoredFile, those that come in parts PartedUpload and UploadPart.
UpstreamChatDeletion is an upstream chat to be deleted.
"""

from conversations.models.chat_deletions import UpstreamChatDeletion, UpstreamChatDeletionQuerySet
from conversations.models.documents import Document, DocumentQuerySet, DocumentState, Passage
from conversations.models.files import FilePurpose, FileQuerySet, FileStatus, StoredFile, new_id
from conversations.models.log import (
    RUNNING_STATUSES,
    Conversation,
    ConversationKind,
    Turn,
    TurnEndpoint,
    TurnStatus,
)
from conversations.models.parted_uploads import PartedUpload, UploadPart, UploadStatus
from conversations.models.turn_contents import EventBatch, Item

__all__ = [
    "RUNNING_STATUSES",
    "Conversation",
    "ConversationKind",
    "Document",
    "DocumentQuerySet",
    "DocumentState",
    "EventBatch",
    "FilePurpose",
    "FileQuerySet",
    "FileStatus",
    "Item",
    "PartedUpload",
    "Passage",
    "StoredFile",
    "Turn",
    "TurnEndpoint",
    "TurnStatus",
    "UploadPart",
    "UploadStatus",
    "UpstreamChatDeletion",
    "UpstreamChatDeletionQuerySet",
    "new_id",
]
