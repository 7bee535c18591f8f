"""Models, endpoints, addresses and ends of access, as callers meet them."""

from datetime import timedelta

import pytest
from django.utils import timezone

from api.models import LimitSet
from proxysite.testing import rows
from proxysite.testing.rows import Person


def limit_access(person: Person, **limits: object) -> None:
    LimitSet.objects.create(user=person.user, **limits)


@pytest.fixture
def only_chat(alice: Person) -> None:
    limit_access(alice, allowed_endpoints=["/v1/chat/*", "/v1/models"])


async def test_endpoints_that_are_not_listed_are_refused(only_chat, gateway, upstream, alice):
    assert (await gateway.request_chat(alice.key)).status == 200
    headers = {"authorization": f"Bearer {alice.key}"}
    listed = await gateway.send_request("GET", "/v1/models", headers=headers)
    assert listed.status == 200
    for method, path, body in (
        ("POST", "/v1/embeddings", {"model": "m", "input": "x"}),
        ("POST", "/v1/responses", {"model": "m", "input": "x"}),
        ("GET", "/v1/files", None),
        ("GET", "/v1/conversations/search", None),
    ):
        refused = await gateway.send_request(method, path, headers=headers, json=body)
        assert (refused.status, refused.error["code"]) == (403, "endpoint_not_allowed"), path
        assert refused.error["message"] == f"The user alice may not use {path}."
    asked = await gateway.send_request("GET", "/v1/key", headers=headers)
    assert asked.status == 200


@pytest.fixture
def only_m_models(alice: Person, provider) -> None:
    rows.create_model(provider, "n-large")
    limit_access(alice, allowed_models=["m*", "other"])


async def test_models_are_allowed_by_pattern(only_m_models, gateway, upstream, alice):
    assert (await gateway.request_chat(alice.key, model="m")).status == 200
    refused = await gateway.request_chat(alice.key, model="n-large")
    assert (refused.status, refused.error["code"]) == (403, "model_not_allowed")
    headers = {"authorization": f"Bearer {alice.key}"}
    models = await gateway.send_request("GET", "/v1/models", headers=headers)
    assert [model["id"] for model in models.json["data"]] == ["m"]


@pytest.fixture
def only_elsewhere(alice: Person) -> None:
    limit_access(alice, ip_ranges=["192.0.2.0/24", "2001:db8::/32"])


async def test_other_addresses_are_refused_whatever_a_stranger_says(
    only_elsewhere, gateway, upstream, alice
):
    headers = {"authorization": f"Bearer {alice.key}", "x-forwarded-for": "192.0.2.7"}
    for method, path in (
        ("POST", "/v1/chat/completions"),
        ("GET", "/v1/files"),
        ("GET", "/v1/key"),
    ):
        refused = await gateway.send_request(method, path, headers=headers, json={})
        assert (refused.status, refused.error["code"]) == (403, "address_not_allowed"), path


@pytest.mark.settings(TRUSTED_PROXIES=[__import__("ipaddress").ip_network("127.0.0.0/8")])
async def test_a_trusted_proxy_names_the_address(only_elsewhere, gateway, upstream, alice):
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
    for address, status in (("192.0.2.7", 200), ("2001:db8::5", 200), ("198.51.100.1", 403)):
        headers = {"authorization": f"Bearer {alice.key}", "x-forwarded-for": address}
        answer = await gateway.send_request(
            "POST", "/v1/chat/completions", headers=headers, json=body
        )
        assert answer.status == status, address


@pytest.fixture
def ended_access(alice: Person) -> None:
    limit_access(alice, expires_at=timezone.now() - timedelta(seconds=1))


async def test_after_its_end_nothing_is_allowed(ended_access, gateway, upstream, alice):
    refused = await gateway.request_chat(alice.key)
    assert (refused.status, refused.error["code"]) == (403, "access_expired")
    assert not upstream.requests


async def test_a_refusal_of_access_is_a_usage_record(ended_access, gateway, upstream, alice):
    for _ in range(3):
        await gateway.request_chat(alice.key)
    gateway.inner.ledger.queue_refused_rows(gateway.inner.refused_requests.take_rows())
    await gateway.inner.ledger.write_waiting_rows()
    records = await rows.read_usage_records()
    assert sum(row.request_count for row in records) == 3
    assert {(row.status, row.refused_by, row.http_status) for row in records} == {
        ("refused", "user expiry", 403)
    }


@pytest.fixture
def only_models(alice: Person) -> None:
    limit_access(alice, allowed_endpoints=["/v1/models"])


async def test_ids_in_paths_make_no_records_of_their_own(only_models, gateway, upstream, alice):
    for number in range(5):
        path = f"/v1/chat/completions/{number}"
        refused = await gateway.send_request("POST", path, alice.key, json={})
        assert refused.status == 403
    kinds = list(gateway.inner.refused_requests._counts)
    assert {kind.endpoint for kind in kinds} == {"chat/completions/*"}
