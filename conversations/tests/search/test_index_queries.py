"""The index is searched to its end, however many items it has."""

import pytest

from conversations.search import index_queries, index_words, item_search
from conversations.tests.search.indexed_items import create_conversation, find_snippets

pytestmark = pytest.mark.usefixtures("transactional_db")


def test_rare_words_are_found_behind_more_items_than_are_looked_through(alice, monkeypatch):
    monkeypatch.setattr(index_queries, "RECENT_ITEMS", 5)
    create_conversation(alice.user, "a needle", *(f"hay {n}" for n in range(30)))
    assert find_snippets(alice, "needle") == ["a needle"]
    assert len(find_snippets(alice, "hay", 10)) == 10
    assert len(find_snippets(alice, "hay")) == 30


@pytest.mark.parametrize("older", [0, 1, 3])
def test_spans_of_the_index_are_asked_one_after_the_other_without_a_gap(
    alice, mallory, monkeypatch, older
):
    monkeypatch.setattr(index_queries, "RECENT_ITEMS", 1)
    monkeypatch.setattr(index_words, "SPAN_BITS", 2)
    monkeypatch.setattr(index_queries, "RECENT_SPANS", 2)
    create_conversation(mallory.user, *(f"needle {n}" for n in range(older)))
    texts = [f"needle {n}" if n % 3 else f"hay {n}" for n in range(40)]
    create_conversation(alice.user, *texts)
    expected = [text for text in texts[::-1] if text.startswith("needle")]
    assert find_snippets(alice, "needle") == expected
    pages, before = [], None
    while hits := item_search.search_items(alice.user.pk, "needle", 5, before):
        pages += [hit.snippet for hit in hits]
        before = hits[-1].item.pk
    assert pages == expected
