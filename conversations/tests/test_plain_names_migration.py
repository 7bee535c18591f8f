"""Rows of the release before the columns were renamed are the same rows afterwards."""

import uuid

import pytest
from django.core.management.sql import emit_post_migrate_signal
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from conversations.models import Conversation, UpstreamChatDeletion

BEFORE = ("conversations", "0007_stored_bytes")
TOKEN = uuid.UUID(int=7)
AFTER = ("conversations", "0008_plain_names")


@pytest.fixture
def migrate(transactional_db):
    """A function that migrates to a state and returns its models; in the end to the newest one."""

    def migrate_to(target):
        executor = MigrationExecutor(connection)
        executor.migrate([target])
        return MigrationExecutor(connection).loader.project_state([target]).apps

    yield migrate_to
    migrate_to_newest()


def migrate_to_newest():
    """Migrate as `manage.py migrate` does, with the triggers that are installed after it."""
    executor = MigrationExecutor(connection)
    executor.migrate(executor.loader.graph.leaf_nodes())
    emit_post_migrate_signal(verbosity=0, interactive=False, db=connection.alias)


def write_old_rows(apps):
    """Write a conversation with a branch, and an upstream's chat to delete."""
    user = apps.get_model("auth", "User").objects.create(username="ann")
    conversations = apps.get_model("conversations", "Conversation").objects
    talk = conversations.create(id="conv_a", user=user, kind="thread", last=1)
    turn = apps.get_model("conversations", "Turn").objects.create(
        id=uuid.uuid4(),
        conversation=talk,
        user=user,
        number=1,
        door="response",
        status="completed",
        extras={"steps": []},
        thought={"framework": "plan"},
        replaced=True,
        finished_at=timezone.now(),
    )
    conversations.filter(pk="conv_a").update(system=turn)
    conversations.create(id="conv_b", user=user, kind="thread", base=turn)
    apps.get_model("conversations", "Item").objects.create(
        public_id="msg_1", conversation=talk, turn=turn, type="message", told="abc", data={}
    )
    apps.get_model("conversations", "EventBatch").objects.create(
        turn=turn, first=3, last=5, events=[]
    )
    apps.get_model("conversations", "Farewell").objects.create(token_id=uuid.uuid4(), chat_id="c")
    return turn.pk


def test_rows_keep_their_values(migrate):
    turn_id = write_old_rows(migrate(BEFORE))
    apps = migrate(AFTER)
    talk = apps.get_model("conversations", "Conversation").objects.get(pk="conv_a")
    branch = apps.get_model("conversations", "Conversation").objects.get(pk="conv_b")
    assert (talk.last_number, talk.system_turn_id, branch.base_turn_id) == (1, turn_id, turn_id)
    turn = apps.get_model("conversations", "Turn").objects.get()
    assert (turn.endpoint, turn.extra_fields, turn.thinking, turn.is_replaced) == (
        "response",
        {"steps": []},
        {"framework": "plan"},
        True,
    )
    assert apps.get_model("conversations", "Item").objects.get().received_digest == "abc"
    events = apps.get_model("conversations", "EventBatch").objects.get()
    assert (events.first_number, events.last_number) == (3, 5)
    assert apps.get_model("conversations", "UpstreamChatDeletion").objects.get().chat_id == "c"


def test_chats_of_deleted_conversations_are_still_noted(migrate):
    apps = migrate(BEFORE)
    user = apps.get_model("auth", "User").objects.create(username="ann")
    conversations = apps.get_model("conversations", "Conversation").objects
    conversations.create(id="conv_a", user=user, kind="thread", token_id=TOKEN, chat_id="chat1")
    migrate_to_newest()
    Conversation.objects.all().delete()
    assert list(UpstreamChatDeletion.objects.values_list("token_id", "chat_id")) == [
        (TOKEN, "chat1")
    ]
