"""A provider, and a creator of usage records."""

import pytest

from api.tests.pricing.price_rows import RecordCreator
from providers.models import Provider


@pytest.fixture
def echo(transactional_db: None) -> Provider:
    return Provider.objects.create(name="echo", kind="echo", needs_token=False)


@pytest.fixture
def records() -> RecordCreator:
    return RecordCreator()
