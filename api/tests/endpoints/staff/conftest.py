"""A member of staff, a provider with three tokens, and requests to the staff endpoints."""

import json

import pytest
from django.test import Client

from api.tests.endpoints.staff.staff_endpoints import READING_PATHS, SECRETS
from providers.adapters import openai_compatible
from proxysite.testing import rows


@pytest.fixture
def superuser(db):
    """Return a member of staff who may do everything."""
    return rows.create_person("boss", is_staff=True, is_superuser=True)


@pytest.fixture
def pooled_provider(db):
    """Return the provider `k2` with three tokens."""
    row = rows.create_provider("http://127.0.0.1:9/v1", "k2")
    rows.create_tokens(row, *SECRETS)
    return row


@pytest.fixture
def guest_mode(monkeypatch):
    """Give the provider's adapter an entrance for guests."""
    monkeypatch.setattr(openai_compatible.Adapter, "modes", ("user", "guest"))


@pytest.fixture
def request_staff(superuser):
    """Return a function that asks a staff endpoint.

    It asks as the superuser unless another key is given, and returns the status and the JSON of the
    answer.
    """

    def send_staff_request(path, key=superuser.key, body=None, **query):
        client = Client()
        headers = {"authorization": f"Bearer {key}"} if key else {}
        if path in READING_PATHS:
            answer = client.get(f"/admin/{path}", query, headers=headers)
        else:
            data = "" if body is None else json.dumps(body)
            address = f"/admin/{path}" + (f"?provider={query['provider']}" if query else "")
            answer = client.post(address, data, content_type="application/json", headers=headers)
        assert answer.headers["content-type"] == "application/json", answer.content
        assert answer.headers["cache-control"] == "no-store"
        assert not any(secret in answer.content.decode() for secret in SECRETS)
        return answer.status_code, answer.json()

    return send_staff_request
