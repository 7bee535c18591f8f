"""An operator's browser, and a provider with many tokens."""

import pytest
from django.test import Client

from proxysite.testing import rows
from tokens.models import UpstreamToken


@pytest.fixture
def browser(operator):
    client = Client()
    client.force_login(operator.user)
    return client


@pytest.fixture
def provider_with_tokens(transactional_db):
    row = rows.create_provider("https://api.example.com/v1", "acme")
    UpstreamToken.objects.bulk_create(
        [UpstreamToken.from_secret(row, f"sk-{n}") for n in range(1_500)]
    )
    UpstreamToken.objects.filter(masked__startswith="sk-1").mark_disabled("a test")
    return row
