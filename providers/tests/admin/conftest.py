"""A provider with a model, and a member of staff who may only look."""

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from providers.models import ChatModel, Provider


@pytest.fixture
def provider() -> Provider:
    return Provider.objects.create(
        name="moonshot", kind="openai_compatible", base_url="https://api.moonshot.ai/v1"
    )


@pytest.fixture
def model(provider: Provider) -> ChatModel:
    return ChatModel.objects.create(
        public_id="kimi-k2", provider=provider, upstream_name="kimi-k2.6"
    )


@pytest.fixture
def looker(client: Client) -> Client:
    """A member of staff who may look at everything and change nothing."""
    user = User.objects.create_user("looker", is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__startswith="view_"))
    client.force_login(user)
    return client
