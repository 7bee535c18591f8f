"""A provider with a token, for the tests of the admin."""

import pytest

from providers.models import Provider
from tokens.models import UpstreamToken
from tokens.tests.admin.admin_pages import SECRET


@pytest.fixture
def provider() -> Provider:
    return Provider.objects.create(
        name="moonshot", kind="openai_compatible", base_url="https://api.moonshot.ai/v1"
    )


@pytest.fixture
def token(provider: Provider) -> UpstreamToken:
    row = UpstreamToken.from_secret(provider, SECRET, label="account of June")
    row.save()
    return row
