"""Rows about upstreams: providers, the models that callers name, counters of changes, tasks."""

from providers.deletions.deletion_model import Deletion
from providers.models.chat_model import ChatModel, ModelAlias, VirtualModel
from providers.models.mcp_server import McpServer
from providers.models.progress_row import TaskProgress
from providers.models.provider import Provider
from providers.models.revision import Revision, Tombstone
from providers.models.validators import (
    capabilities_exist,
    headers_are_clean,
    is_object,
    kind_exists,
)

__all__ = [
    "ChatModel",
    "Deletion",
    "McpServer",
    "ModelAlias",
    "Provider",
    "Revision",
    "TaskProgress",
    "Tombstone",
    "VirtualModel",
    # the migrations name these
    "capabilities_exist",
    "headers_are_clean",
    "is_object",
    "kind_exists",
]
