"""What several tests of this app look at."""

import pytest

from conversations.documents import document_store
from conversations.documents.index_worker import divide_text


@pytest.fixture
def divisions(monkeypatch):
    """Every text that is divided."""
    found = []

    def counted(text, splitting, seconds):
        found.append(text)
        return divide_text(text, splitting, seconds)

    monkeypatch.setattr(document_store, "divide_text", counted)
    return found
