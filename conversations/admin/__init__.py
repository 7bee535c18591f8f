"""The admin of conversations, documents, files and virtual models."""

from conversations.admin import conversation_admin, document_admin, files_and_models

__all__ = ["conversation_admin", "document_admin", "files_and_models"]
