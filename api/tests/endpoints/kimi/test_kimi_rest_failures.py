"""Failures of Kimi's older interface: banned accounts, errors in answers, failed continuations."""

import pytest

from providers.tests.kimi_site import cmpl, jwt
from proxysite.testing import rows, wait_until_true
from proxysite.testing.upstream import send_reply, send_stream


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


async def test_an_error_in_the_middle_is_an_error_event(gateway, site, alice):
    overloaded = {"event": "error", "error": {"error_type": "overloaded", "message": "Too many."}}
    site.turns.extend(send_stream(cmpl("Half of"), overloaded) for _ in range(4))
    answer = await gateway.request_chat(alice.key, stream=True)
    assert answer.events[-1]["error"]["message"] == "Too many."
    assert not answer.is_complete
    whole = await gateway.request_chat(alice.key)
    assert (whole.status, whole.error["code"]) == (502, "upstream_failed")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_a_failed_continuation_ends_the_answer_with_length(gateway, site, alice, stream):
    refusal = send_reply({"error_type": "chat.bad_segment", "message": "No such segment."}, 400)
    cut = send_stream({"event": "req", "id": "s1"}, cmpl("One, "), {"event": "length"}, "[DONE]")
    site.turns.extend([cut, refusal])
    answer = await gateway.request_chat(alice.key, stream=stream)
    assert (answer.status, answer.text) == (200, "One, ")
    assert b'"finish_reason":"length"' in answer.body
    row = await rows.read_only_usage_record()
    assert row.attempts[0]["reason"] == "The answer was not continued: No such segment."
