"""Fixtures of several folders of tests."""

import pytest

from conversations.documents import document_store
from conversations.documents.index_worker import divide_text


@pytest.fixture
def divisions(monkeypatch):
    """The texts that were divided so far."""
    texts = []

    def record_and_divide(text, splitting, seconds):
        texts.append(text)
        return divide_text(text, splitting, seconds)

    monkeypatch.setattr(document_store, "divide_text", record_and_divide)
    return texts
