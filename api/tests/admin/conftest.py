"""The rows that several tests of the admin need."""

import pytest
from django.contrib.auth.models import User

from api import keys
from api.models import ApiKey
from providers.models import ChatModel, ModelAlias, Provider


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice")


@pytest.fixture
def provider() -> Provider:
    row = Provider.objects.create(name="echo", kind="echo", needs_token=False)
    ChatModel.objects.create(public_id="echo", provider=row, upstream_name="echo")
    ModelAlias.objects.create(alias="gpt-4o", public_id="echo")
    return row


@pytest.fixture
def row(alice: User) -> ApiKey:
    return keys.create_key(alice, name="laptop")[0]
