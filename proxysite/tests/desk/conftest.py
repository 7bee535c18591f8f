"""The cast of the dashboard's tests."""

import pytest
from django.contrib.auth.models import Permission, User

from providers.adapters import openai_compatible
from proxysite.testing import rows
from proxysite.tests.desk.pages import SECRET


@pytest.fixture
def provider():
    return rows.create_provider("https://api.example.com/v1", "k2")


@pytest.fixture
def token(provider):
    return rows.create_tokens(provider, SECRET)[0]


@pytest.fixture
def guests(monkeypatch):
    """The adapter has an entrance for guests."""
    monkeypatch.setattr(openai_compatible.Adapter, "modes", ("user", "guest"))


@pytest.fixture
def staff(client):
    """Sign in a member of staff with these permissions and no more."""

    def signed_in(*names):
        user = User.objects.create_user("staff", is_staff=True)
        user.user_permissions.add(*Permission.objects.filter(codename__in=names))
        client.force_login(user)
        return client

    return signed_in
