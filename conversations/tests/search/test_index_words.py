"""Long texts and many items are written into the index."""

import pytest

from conversations.models import Item
from conversations.search import item_search
from conversations.search.index_words import ROWS_PER_INSERT
from conversations.tests.search.indexed_items import create_conversation, find_snippets

pytestmark = pytest.mark.usefixtures("transactional_db")


def test_the_longest_texts_fit_in_any_script(alice, settings):
    settings.SEARCH_TEXT_CHARS = 1_000_000
    han = "".join(chr(0x20000 + n % 42_000) for n in range(300_000))
    create_conversation(alice.user, han, " ".join(f"{n}𐐀" * 5 for n in range(30_000)), "́ ़ ् word")
    assert len(find_snippets(alice, han[:2])) == 1
    assert len(find_snippets(alice, "word")) == 1


def test_many_items_are_one_statement_for_hundreds(alice, django_assert_num_queries):
    row = create_conversation(alice.user, "first")
    turn = row.turns.get()
    made = Item.objects.bulk_create(
        Item(
            public_id=f"msg_{n}",
            conversation=row,
            turn=turn,
            type="message",
            text=f"text {n}",
            data={},
        )
        for n in range(ROWS_PER_INSERT)
    )
    with django_assert_num_queries(1):
        item_search.add_items_to_index(alice.user.pk, made)
    assert len(find_snippets(alice, "text", 500)) == ROWS_PER_INSERT
