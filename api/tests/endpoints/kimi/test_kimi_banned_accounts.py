"""An account that Kimi's older interface makes no chat for: another one answers."""

import pytest

from providers.tests.kimi_site import jwt
from proxysite.testing import wait_until_true
from proxysite.testing.upstream import send_reply


@pytest.fixture
def kind():
    return "kimi_rest"


async def test_a_banned_account_gets_strikes_and_no_caller_an_error(
    gateway, upstream, site, token, alice
):
    refusal = send_reply({"error_type": "account.banned", "message": "No."}, 400)

    async def play(exchange):
        is_banned = exchange.request.bearer_token == jwt("june")
        if is_banned and exchange.request.path.endswith("api/chat"):
            await refusal(exchange)
        else:
            await site(exchange)

    upstream.set_default_script(play)
    for _ in range(8):
        assert (await gateway.request_chat(alice.key)).status == 200

    async def is_disabled():
        row = await gateway.read_token_row(token)
        return row.state == "disabled"

    await wait_until_true(is_disabled)
    assert len(site.questions) == 8
