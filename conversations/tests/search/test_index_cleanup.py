"""The words of an item go with it, also out of the index of SQLite."""

import pytest
from django.db import connection, transaction

from conversations.models import Item
from conversations.search.index_cleanup import remove_deleted_words
from conversations.tests.search.indexed_items import (
    add_turn,
    create_conversation,
    dump_index,
    find_snippets,
)

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.mark.parametrize("deed", ["queryset", "cascade", "sql", "user"])
def test_words_go_with_their_item_whatever_deletes_it(alice, mallory, deed):
    row = create_conversation(alice.user, *(f"canary{n} 金絲雀" for n in range(20)))
    create_conversation(mallory.user, "kept")
    if deed == "queryset":
        Item.objects.filter(conversation=row).delete()
    elif deed == "cascade":
        row.delete()
    elif deed == "user":
        alice.user.delete()
    else:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM conversations_item WHERE conversation_id = %s", [row.pk])
    assert remove_deleted_words(60)
    assert "canary" not in dump_index()
    assert "金絲" not in dump_index()
    assert "kept" in dump_index()
    assert find_snippets(alice, "canary1") == []
    assert find_snippets(mallory, "kept") == ["kept"]


def test_merging_goes_on_where_it_stopped(alice):
    if connection.vendor == "postgresql":
        assert remove_deleted_words(0)
        return
    for n in range(30):
        row = create_conversation(
            alice.user, f"canary{n} " + " ".join(f"w{n}x{m}" for m in range(500))
        )
        if n % 2:
            row.delete()
    calls = 0
    while not remove_deleted_words(0):
        calls += 1
        assert calls < 1_000
    assert "canary1 " not in dump_index()
    assert find_snippets(alice, "canary2") != []
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO conversations_words_index (conversations_words_index) VALUES "
            "('integrity-check')"
        )


def test_a_rolled_back_item_leaves_no_word(alice):
    row = create_conversation(alice.user, "first")
    with transaction.atomic():
        add_turn(row, "second")
        transaction.set_rollback(True)
    assert find_snippets(alice, "second") == []
    assert "second" not in dump_index()
