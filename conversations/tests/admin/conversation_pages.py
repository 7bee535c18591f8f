"""Pages of the admin that show conversations."""

import re
from typing import Any

from django.contrib.admin.utils import quote
from django.test import Client
from django.urls import reverse

from conversations.models import Conversation

MARKUP = "<script>alert(1)</script>"
LIST = "conversations_conversation_changelist"


def page(client: Client, name: str, *args: Any, **query: Any) -> str:
    """The HTML of an admin page; it works under a policy that forbids inline scripts and styles."""
    response = client.get(reverse(f"admin:{name}", args=args), query)
    assert response.status_code == 200, (response.status_code, name)
    html = response.content.decode()
    assert not re.search(
        r"<style|<script(?![^>]* (src|type)=)[^>]*>|\son\w+=\"|\sstyle=\"", html
    ), name
    return html


def shown(client: Client, row: Conversation, **query: Any) -> str:
    return page(client, "conversations_conversation_change", quote(row.pk), **query)
