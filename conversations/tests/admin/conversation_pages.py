"""Pages of the admin that show conversations."""

from typing import Any

from django.contrib.admin.utils import quote
from django.test import Client

from conversations.models import Conversation
from providers.tests.admin.provider_pages import read_page

MARKUP = "<script>alert(1)</script>"
LIST = "conversations_conversation_changelist"


def shown(client: Client, row: Conversation, **query: Any) -> str:
    return read_page(client, "conversations_conversation_change", quote(row.pk), **query)
