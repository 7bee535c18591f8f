import pytest

from conversations.documents.ranking import document_cache


@pytest.fixture(autouse=True)
def _empty_document_cache():
    document_cache.clear_entries()
