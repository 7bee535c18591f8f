"""What several tests of this app look at."""

import pytest

from conversations.documents import rows
from conversations.documents.divide import divide


@pytest.fixture
def divisions(monkeypatch):
    """Every text that is divided."""
    found = []

    def counted(text, splitting, seconds):
        found.append(text)
        return divide(text, splitting, seconds)

    monkeypatch.setattr(rows, "divide", counted)
    return found
