"""Two users with content of their own, and a browser of the first one."""

import re
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from api import keys
from api.models import ApiKey, Status, UsageRecord
from conversations.models import (
    Conversation,
    ConversationKind,
    Item,
    StoredFile,
    Turn,
    TurnEndpoint,
    TurnStatus,
)
from conversations.search.item_search import add_items_to_index
from providers.models import ChatModel, Provider

PASSWORD = "correct horse battery"


def read_main(answer: Any) -> str:
    """Return the page without its frame, and without the token that differs each time."""
    html = answer.content.decode()
    main = html[html.index("<main") : html.index("</main>")]
    return re.sub(r'name="csrfmiddlewaretoken" value="[^"]*"', "", main)


@pytest.fixture
def alice(db: None) -> User:
    user = User.objects.create_user("alice", "alice@example.org", PASSWORD)
    user.user_permissions.add(Permission.objects.get(codename="issue_own_keys"))
    return user


@pytest.fixture
def mallory(db: None) -> User:
    return User.objects.create_user("mallory", "mallory@example.org", PASSWORD)


@pytest.fixture
def provider(db: None) -> Provider:
    row = Provider.objects.create(name="echo", kind="echo", needs_token=False)
    for name in ("echo", "parrot"):
        ChatModel.objects.create(public_id=name, provider=row, upstream_name=name)
    return row


@pytest.fixture
def browser(alice: User, provider: Provider) -> Client:
    client = Client()
    client.force_login(alice, "django.contrib.auth.backends.ModelBackend")
    return client


@pytest.fixture
def create_content() -> Callable[[User], "Content"]:
    return Content


class Content:
    """A key, a request, a conversation with two messages, and a file of one user."""

    def __init__(self, user: User) -> None:
        self.key, self.secret = keys.create_key(user, name="laptop")
        self.record = create_record(self.key)
        self.conversation = create_conversation(user, "Where is Graz?", "In Styria.")
        self.file = StoredFile.objects.create(
            user=user, filename="notes.txt", purpose="user_data", size_bytes=3, sha256="0" * 64
        )


def create_record(key: ApiKey, **fields: Any) -> UsageRecord:
    values = {
        "started_at": timezone.now(),
        "endpoint": "chat/completions",
        "model": "echo",
        "stream": False,
        "status": Status.COMPLETE,
        "http_status": 200,
        "key": key,
        "user_id": key.user_id,
        "prompt_tokens": 5,
        "completion_tokens": 7,
        "cost_micro_usd": 1_500,
    }
    return UsageRecord.objects.create(**values | fields)


def create_conversation(user: User, question: str, answer: str) -> Conversation:
    conversation = Conversation.objects.create(
        user=user, kind=ConversationKind.OPEN, title=question, last_number=1
    )
    turn = Turn.objects.create(
        conversation=conversation,
        user=user,
        number=1,
        endpoint=TurnEndpoint.CHAT,
        status=TurnStatus.COMPLETED,
        model="echo",
    )
    items = [
        Item.objects.create(
            turn=turn,
            conversation=conversation,
            public_id=f"msg_{uuid4().hex}",
            type="message",
            role=role,
            text=text,
            data={"role": role, "content": [{"type": "input_text", "text": text}]},
            status=TurnStatus.COMPLETED,
            output=role == "assistant",
        )
        for role, text in (("user", question), ("assistant", answer))
    ]
    add_items_to_index(user.pk, items)
    return conversation
