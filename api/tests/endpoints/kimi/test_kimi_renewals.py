"""Conversations at Kimi whose access token is void: it is renewed, and the same account answers."""

import asyncio

import pytest

from api.tests.endpoints.kimi.kimi_chats import read_question, send_turn
from providers.database.database_threads import run_in_thread
from providers.tests.kimi_accounts import AccountSite
from providers.tests.kimi_site import jwt
from proxysite.testing import PATIENCE_SECONDS, rows, wait_until_true
from tokens.tests.renewal.renewal_cast import refresh_row

NO_HURRY = pytest.mark.settings(CLAIM_WAIT_SECONDS=600, RESUME_WAIT_SECONDS=600)
THREE = ("june", "july", "may")
NUMBERS_OF_ACCOUNTS = pytest.mark.parametrize("accounts", [("june",), THREE], ids=["one", "three"])


def create_refresh_tokens(provider, accounts):
    return [refresh_row(provider, jwt(name, "refresh")) for name in accounts]


@pytest.fixture
def accounts():
    return THREE


@pytest.fixture
async def tokens(provider, accounts):
    """Return the refresh tokens of the accounts; no access token is known yet."""
    return await run_in_thread(create_refresh_tokens, provider, accounts)


@pytest.fixture
def token(tokens):
    return tokens[0]


@pytest.fixture
async def site(upstream, kind, accounts):
    played = AccountSite(kind, *accounts)
    upstream.set_default_script(played)
    return played


async def is_free(token):
    """Return whether nobody has claimed the token's stream, as far as the database knows."""
    row = await rows.reload_row(token)
    return row.busy_until is None and not row.busy_with


async def send_soon(gateway, alice, text, **more):
    """Send a turn; it fails if it waits for a claim."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await send_turn(gateway, alice, text, **more)


@NO_HURRY
@NUMBERS_OF_ACCOUNTS
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_conversation_is_replayed_at_once_on_the_token_it_holds(
    gateway, site, tokens, alice, stream
):
    await send_soon(gateway, alice, "I am Ann.", stream=stream)
    for text in ("Who am I?", "Sure?", "Really?"):
        site.void_access_tokens()
        await send_soon(gateway, alice, text, stream=stream)
    assert len(set(site.asked_accounts)) == 1, "another account would need the history anew"
    texts = [read_question(question)[2] for question in site.questions]
    assert texts == ["I am Ann.", "Who am I?", "Sure?", "Really?"]
    for token in tokens:
        await wait_until_true(lambda token=token: is_free(token))
    assert not gateway.inner.pool.stream_claims.find_busy_tokens()


@NO_HURRY
async def test_no_account_is_lost_after_its_token_was_renewed(gateway, site, tokens, alice):
    claims = gateway.inner.pool.stream_claims
    await send_soon(gateway, alice, "I am Ann.")
    site.void_access_tokens()
    await send_soon(gateway, alice, "Who am I?")
    await claims.wait_for_releases()
    site.asked_accounts.clear()
    for _ in range(6):
        await gateway.request_chat(alice.key)
        await claims.wait_for_releases()
    assert sorted(site.asked_accounts) == sorted(THREE + THREE)
    await claims.renew_leases()
    for token in tokens:
        assert await is_free(token)
