"""Deletion that leaves nothing in any table or index, and what has expired."""

import uuid
from datetime import timedelta
from io import StringIO

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from conversations import retention, tasks
from conversations.models import (
    Conversation,
    ConversationKind,
    Document,
    EventBatch,
    FilePurpose,
    Item,
    Passage,
    StoredFile,
    Turn,
    TurnEndpoint,
    TurnStatus,
)
from conversations.search import item_search
from conversations.search.index_cleanup import remove_deleted_words

pytestmark = pytest.mark.usefixtures("transactional_db")
CANARY = "canarybird"


def document(user, **fields):
    row = Document.objects.create(
        user=user, digest=uuid.uuid4().hex, title=CANARY, index=CANARY.encode(), **fields
    )
    Passage.objects.create(
        document=row, number=0, start=0, end=1, score=0.5, text=CANARY, embedding=CANARY.encode()
    )
    return row


def conversation(user, count=3, **fields):
    """A conversation with everything that can hang on one, all with the canary's name."""
    row = Conversation.objects.create(
        user=user, kind=ConversationKind.OPEN, title=CANARY, metadata={"a": CANARY}, **fields
    )
    for number in (1, 2):
        turn = Turn.objects.create(
            conversation=row,
            user=user,
            number=number,
            endpoint=TurnEndpoint.RESPONSE,
            status=TurnStatus.COMPLETED,
            extra_fields={"steps": [CANARY]},
            error={"message": CANARY},
        )
        EventBatch.objects.create(
            turn=turn, first_number=0, last_number=0, events=[{"delta": CANARY}]
        )
        items = Item.objects.bulk_create(
            Item(
                public_id=f"msg_{uuid.uuid4().hex}",
                conversation=row,
                turn=turn,
                type="message",
                role="user",
                text=f"{CANARY} {n}",
                data={"content": CANARY},
            )
            for n in range(count)
        )
        item_search.add_items_to_index(user.pk, items)
    row.system_turn, row.last_number = turn, 2
    row.save()
    return row


def dump_tables():
    """The contents of all tables of the app and of the index, as text."""
    with connection.cursor() as cursor:
        own = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
        existing = connection.introspection.table_names(cursor)
        tables = [name for name in existing if name.startswith("conversations_")]
        assert {name for name in own if name.startswith("conversations_")} < set(tables)
        contents = []
        for table in tables:
            cursor.execute(f'SELECT * FROM "{table}"')
            contents.append(
                repr(
                    [[bytes(v) if isinstance(v, memoryview) else v for v in row] for row in cursor]
                )
            )
    return "\n".join(contents)


def test_nothing_is_left_of_a_deleted_conversation(alice, mallory):
    row = conversation(alice.user)
    row.documents.add(document(alice.user))
    remaining = Conversation.objects.create(user=mallory.user, kind=ConversationKind.OPEN)
    assert dump_tables().count(CANARY) > 20
    assert retention.delete_conversations(Conversation.objects.filter(pk=row.pk)) == 1
    assert CANARY not in dump_tables()
    assert list(Conversation.objects.all()) == [remaining]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM conversations_words")
        assert cursor.fetchone() == (0,)


def test_nothing_is_left_of_a_deleted_user(alice):
    row = conversation(alice.user)
    row.documents.add(document(alice.user))
    branch = conversation(alice.user, base_turn=row.turns.first())
    assert branch.base_turn is not None
    alice.user.delete()
    assert CANARY not in dump_tables()


def test_what_another_conversation_needs_stays(alice):
    row, other = conversation(alice.user), conversation(alice.user)
    shared, own = document(alice.user), document(alice.user)
    file = StoredFile.objects.create(
        user=alice.user,
        filename="a.txt",
        purpose=FilePurpose.USER_DATA,
        size_bytes=1,
        sha256="0" * 64,
    )
    of_file = document(alice.user, file=file)
    loose = document(alice.user)
    row.documents.add(shared, own, of_file)
    other.documents.add(shared)
    retention.delete_conversations(Conversation.objects.filter(pk=row.pk))
    assert set(Document.objects.all()) == {shared, of_file, loose}
    assert Item.objects.count() == 6
    assert item_search.search_items(alice.user.pk, CANARY, 100) != []
    assert Conversation.objects.get().system_turn is not None


def test_a_branch_outlives_what_it_branches_off_from(alice):
    row = conversation(alice.user)
    branch = conversation(alice.user, base_turn=row.turns.first())
    retention.delete_conversations(Conversation.objects.filter(pk=row.pk))
    branch.refresh_from_db()
    assert branch.base_turn is None


def test_many_conversations_go_in_batches(alice, monkeypatch):
    monkeypatch.setattr(retention, "CONVERSATIONS_AT_ONCE", 2)
    monkeypatch.setattr(retention, "ITEMS_AT_ONCE", 3)
    for _ in range(5):
        conversation(alice.user)
    assert retention.delete_conversations(Conversation.objects.of_user(alice.user.pk)) == 5
    assert CANARY not in dump_tables()


def test_a_long_conversation_is_deleted_without_being_read(alice, monkeypatch):
    row = conversation(alice.user, count=50)
    monkeypatch.setattr(retention, "ITEMS_AT_ONCE", 40)
    statements = []
    with connection.execute_wrapper(
        lambda run, sql, *rest: (statements.append(sql), run(sql, *rest))[1]
    ):
        retention.delete_conversations(Conversation.objects.filter(pk=row.pk))
    read = [sql for sql in statements if sql.startswith("SELECT") and "conversations_item" in sql]
    assert len(read) == 3
    assert all('"text"' not in sql and '"data"' not in sql for sql in read)
    assert not Item.objects.exists()


def test_a_conversation_is_gone_for_its_user_before_its_items_are(alice, monkeypatch):
    row = conversation(alice.user)

    def die(ids):
        raise KeyboardInterrupt

    monkeypatch.setattr(retention, "delete_conversation_items", die)
    with pytest.raises(KeyboardInterrupt):
        retention.delete_conversations(Conversation.objects.filter(pk=row.pk))
    monkeypatch.undo()
    assert item_search.search_items(alice.user.pk, CANARY, 10) == []
    assert not Conversation.objects.of_user(alice.user.pk).exists()
    assert retention.delete_all_expired() == (1, 0)
    assert CANARY not in dump_tables()


# --- what has expired -----------------------------------------------------------------------------
def expired_and_alive(user):
    now = timezone.now()
    conversation(user, expires_at=now - timedelta(seconds=1))
    document(user, expires_at=now - timedelta(seconds=1))
    alive = Conversation.objects.create(
        user=user, kind=ConversationKind.OPEN, expires_at=now + timedelta(hours=1)
    )
    endless = Conversation.objects.create(user=user, kind=ConversationKind.OPEN)
    return {alive, endless}


def test_what_has_expired_is_deleted_and_nothing_else(alice):
    remaining = expired_and_alive(alice.user)
    out = StringIO()
    call_command("expire_conversations", stdout=out)
    assert out.getvalue() == "1 conversations and 1 documents deleted.\n"
    assert set(Conversation.objects.all()) == remaining
    assert CANARY not in dump_tables()


def test_a_dry_run_deletes_nothing(alice):
    expired_and_alive(alice.user)
    before, out = dump_tables(), StringIO()
    call_command("expire_conversations", "--dry-run", stdout=out)
    assert out.getvalue() == "1 conversations and 1 documents would be deleted.\n"
    assert dump_tables() == before


def test_the_task_expires_too_and_merges_the_index(alice):
    remaining = expired_and_alive(alice.user)
    tasks.expire_conversations()
    assert set(Conversation.objects.all()) == remaining
    assert remove_deleted_words(0)


def test_the_schedule_names_the_task():
    from proxysite.celery import app

    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert tasks.expire_conversations.name in scheduled
