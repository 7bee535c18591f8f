"""However a conversation loses its chat at an upstream, a deletion is written with the change."""

import uuid

import pytest
from django.db import connection, transaction

from conversations import retention
from conversations.apps import list_trigger_sets
from conversations.models import (
    Conversation,
    ConversationKind,
    Item,
    Turn,
    TurnEndpoint,
    TurnStatus,
    UpstreamChatDeletion,
)
from conversations.stored import stored_items
from conversations.upstream_chats import chat_triggers
from providers.database.triggers import install_triggers

pytestmark = pytest.mark.usefixtures("transactional_db")
POSTGRES = connection.vendor == "postgresql"
TOKEN = uuid.UUID(int=7)


@pytest.fixture
def talk(alice):
    return conversation(alice)


def conversation(person, chat_id="chat1", **fields):
    defaults = {
        "kind": ConversationKind.OPEN,
        "token_id": TOKEN,
        "chat_id": chat_id,
        "parent_id": "m1",
    }
    return Conversation.objects.create(user=person.user, **(defaults | fields))


def list_deletions():
    return sorted(UpstreamChatDeletion.objects.values_list("token_id", "chat_id"))


def execute(statement, *values):
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


@pytest.mark.parametrize(
    "lose_chat",
    [
        lambda talk: talk.delete(),
        lambda talk: talk.user.delete(),
        lambda talk: Conversation.objects.all().delete(),
        lambda talk: retention.delete_conversations(Conversation.objects.filter(pk=talk.pk)),
        lambda talk: execute("DELETE FROM conversations_conversation"),
        lambda talk: execute("UPDATE conversations_conversation SET chat_id = %s", "chat2"),
        lambda talk: Conversation.objects.update(chat_id="", token_id=None),
        lambda talk: Conversation.objects.update(token_id=uuid.UUID(int=8)),
    ],
    ids=[
        "row",
        "user",
        "rows",
        "retention",
        "sql delete",
        "sql update",
        "taken out",
        "another token",
    ],
)
def test_a_chat_that_is_lost_is_noted_once(talk, lose_chat):
    lose_chat(talk)
    assert list_deletions() == [(TOKEN, "chat1")]
    row = UpstreamChatDeletion.objects.filter_due().get()
    assert row.tries == 0
    assert row.due_at == row.created_at


def test_taking_an_item_out_gives_the_chat_up(talk):
    talk.last_number = 1
    talk.save()
    turn = Turn.objects.create(
        conversation=talk,
        user=talk.user,
        number=1,
        endpoint=TurnEndpoint.CHAT,
        status=TurnStatus.COMPLETED,
    )
    item = Item.objects.create(
        public_id="msg_1", conversation=talk, turn=turn, type="message", data={}, text="Secret."
    )
    stored_items.delete_item(talk, item)
    assert list_deletions() == [(TOKEN, "chat1")]


def test_every_lost_chat_counts(alice, mallory):
    for number in (1, 2, 3):
        conversation(alice, f"chat{number}")
    conversation(mallory, "hers")
    alice.user.delete()
    assert list_deletions() == [(TOKEN, f"chat{number}") for number in (1, 2, 3)]


def test_a_conversation_that_stays_in_its_chat_loses_none(talk):
    talk.chat_turn, talk.parent_id, talk.title = 5, "m5", "Going on"
    talk.save()
    assert list_deletions() == []


@pytest.mark.parametrize(
    "fields", [{"chat_id": "", "token_id": None}, {"chat_id": ""}, {"token_id": None}]
)
def test_without_a_chat_there_is_nothing_to_lose(alice, fields):
    conversation(alice, **fields).delete()
    row = conversation(alice, **fields)
    Conversation.objects.filter(pk=row.pk).update(token_id=TOKEN, chat_id="chat1")
    assert list_deletions() == []


def test_what_is_rolled_back_is_not_lost(talk):
    with transaction.atomic():
        Conversation.objects.update(chat_id="chat2")
        transaction.set_rollback(True)
    assert list_deletions() == []


@pytest.mark.skipif(not POSTGRES, reason="SQLite has no TRUNCATE")
def test_emptying_the_table_loses_all_chats(alice, talk):
    conversation(alice, "chat2")
    conversation(alice, "")
    execute("TRUNCATE conversations_conversation CASCADE")
    assert list_deletions() == [(TOKEN, "chat1"), (TOKEN, "chat2")]
    execute("TRUNCATE conversations_conversation, conversations_upstreamchatdeletion CASCADE")
    assert list_deletions() == []


def test_the_triggers_can_be_made_again(talk):
    install_triggers(connection, list_trigger_sets())
    talk.delete()
    assert list_deletions() == [(TOKEN, "chat1")]


def test_without_its_triggers_the_log_works(talk):
    chat_triggers.drop(connection)
    try:
        talk.delete()
        assert list_deletions() == []
    finally:
        chat_triggers.install(connection)
