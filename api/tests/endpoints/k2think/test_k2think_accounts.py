"""Accounts of K2-Think's web site: sign-in, checks, what the adapter says of itself."""

import json
from base64 import urlsafe_b64encode
from datetime import UTC, datetime
from typing import Any

import pytest

from api.tests.endpoints.k2think.k2think_site import CAPTCHA, MODEL
from providers import catalogue, registry
from providers.exceptions import AuthRejected, BadResponse, ModelMissing, RateLimited, ServerFailed
from providers.network.clients import Clients
from providers.protocol.request import Credential
from proxysite.testing.upstream import send_reply


def make_jwt(**claims: Any) -> str:
    parts = (
        urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "HS256"}, claims)
    )
    return ".".join([*parts, "c2ln"])


EXPIRES_AT = datetime(2031, 1, 1, tzinfo=UTC)
TOKEN = make_jwt(id="u-1", exp=int(EXPIRES_AT.timestamp()))


@pytest.fixture
async def adapter(provider):
    async with Clients() as clients:
        yield registry.get_adapter_class(provider.kind)(catalogue.make_upstream(provider), clients)


@pytest.fixture
async def guest_adapter(provider):
    provider.mode = "guest"
    async with Clients() as clients:
        yield registry.get_adapter_class(provider.kind)(catalogue.make_upstream(provider), clients)


def test_it_says_that_it_is_unofficial() -> None:
    found = registry.get_adapter_class("k2think_web")
    assert (found.is_official, found.can_sign_in, found.is_stream_only, found.modes) == (
        False,
        True,
        True,
        ("user", "guest"),
    )
    assert "unofficial" in found.label


async def test_an_account_signs_in_for_a_token_that_says_when_it_ends(adapter, upstream):
    upstream.queue_scripts(send_reply({"id": "u-1", "token": TOKEN, "token_type": "Bearer"}))
    fresh = await adapter.sign_in("ann@example.com", "secret")
    assert (fresh.secret, fresh.refresh_token, fresh.expires_at) == (TOKEN, "", EXPIRES_AT)
    asked = upstream.requests[0]
    assert (asked.method, asked.path) == ("POST", "/api/v1/auths/signin")
    assert asked.json == {"email": "ann@example.com", "password": "secret"}
    assert "authorization" not in asked.headers


@pytest.mark.parametrize("body", [{"id": "u-1"}, b"ok", [], {"token": None}])
async def test_the_token_may_come_as_a_cookie(adapter, upstream, body):
    upstream.queue_scripts(send_reply(body, set_cookie=f"token={TOKEN}; Path=/; HttpOnly"))
    assert (await adapter.sign_in("ann@example.com", "secret")).secret == TOKEN


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (send_reply({"detail": "The password secret is wrong"}, 400), AuthRejected),
        (send_reply({"detail": "No such account"}, 401), AuthRejected),
        (send_reply({"detail": "Slow down"}, 429), RateLimited),
        (send_reply({"detail": "Oops"}, 500), ServerFailed),
        (send_reply(CAPTCHA, 403, content_type="text/html"), BadResponse),
        (send_reply({"token": ""}), BadResponse),
        (send_reply({"token": "no\nheader"}), BadResponse),
        (send_reply({}, set_cookie="other=1"), BadResponse),
    ],
)
async def test_a_sign_in_that_fails_says_why_and_not_the_password(adapter, upstream, script, error):
    upstream.queue_scripts(script)
    with pytest.raises(error) as caught:
        await adapter.sign_in("ann@example.com", "secret")
    assert "secret" not in caught.value.message


async def test_a_check_asks_for_the_models(adapter, upstream):
    upstream.queue_scripts(
        send_reply({"data": [{"id": MODEL}]}),
        send_reply({"detail": "401 Unauthorized"}, 401),
        send_reply({"data": []}, 403),
    )
    assert await adapter.list_model_ids(Credential(None, TOKEN)) == [MODEL]
    for _ in range(2):
        with pytest.raises(AuthRejected):
            await adapter.probe_credential(Credential(None, TOKEN))
    assert [(asked.method, asked.path, asked.bearer_token) for asked in upstream.requests] == [
        ("GET", "/api/models", TOKEN)
    ] * 3


async def test_a_guest_is_checked_without_a_token(guest_adapter, upstream):
    upstream.queue_scripts(
        send_reply({"detail": "Not authenticated"}, 401), send_reply({"detail": "Oops"}, 500)
    )
    await guest_adapter.probe_credential(Credential(None, ""))
    with pytest.raises(ServerFailed):
        await guest_adapter.probe_credential(Credential(None, ""))
    assert "authorization" not in upstream.requests[0].headers


async def test_a_list_without_the_model_is_no_error(adapter, upstream):
    upstream.queue_scripts(send_reply({"detail": "Model not found"}, 400))
    with pytest.raises(ModelMissing):
        await adapter.list_model_ids(Credential(None, TOKEN))
