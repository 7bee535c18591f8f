"""Fixtures of several tests of this app."""

import pytest

from conversations.documents import document_cache, document_store
from conversations.documents.document_cache import DocumentCache
from conversations.documents.index_worker import divide_text


@pytest.fixture
def divisions(monkeypatch):
    """Return the list of all texts that are divided."""
    texts = []

    def count_division(text, splitting, seconds):
        texts.append(text)
        return divide_text(text, splitting, seconds)

    monkeypatch.setattr(document_store, "divide_text", count_division)
    return texts


@pytest.fixture
def empty_cache(monkeypatch):
    """Empty the cache of documents; call the fixture's value to do so again."""

    def replace_cache():
        monkeypatch.setattr(document_cache, "cache", DocumentCache())

    replace_cache()
    return replace_cache
