"""Tokens that rest: nobody is asked in vain, and all come back by themselves."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from api.tests.endpoints.chat_messages import list_bearer_tokens
from proxysite.testing import rows, wait_until_true
from proxysite.testing.upstream import Gate, send_refusal


def http_date(seconds):
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


RETRY_AFTER_HEADERS = [
    ({"retry_after": "7"}, 7, 8),
    ({"retry_after": "0.2"}, 1, 2),
    ({"retry_after_ms": "3000"}, 3, 4),
    ({"retry_after_ms": "3000", "retry_after": "9"}, 3, 4),
    ({"retry_after": "0"}, 1, 2),
    ({"retry_after": "-5"}, 5, 6),
    ({"retry_after": "1000000000"}, 120, 120),  # a caller is told two minutes at most
    ({"retry_after": "99999999999999999999"}, 5, 120),
    ({"retry_after": "soon"}, 5, 6),
    ({"retry_after": ""}, 5, 6),
    ({"retry_after": "nan"}, 5, 6),
    ({"retry_after": "inf"}, 5, 6),
    ({"retry_after": "Thu, 01 Jan 1970 00:00:00 GMT"}, 1, 2),
    ({"retry_after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 120, 120),
    ({"retry_after": "Fri, 99 Foo 99999 99:99:99 GMT"}, 5, 6),
    ({}, 5, 6),
]


@pytest.mark.parametrize(
    ("headers", "least", "most"),
    RETRY_AFTER_HEADERS,
    ids=[str(wait[0]) for wait in RETRY_AFTER_HEADERS],
)
async def test_a_rate_limited_token_rests_as_long_as_it_is_told(
    gateway, upstream, alice, token, headers, least, most
):
    upstream.queue_scripts(send_refusal(429, **headers))
    first = await gateway.request_chat(alice.key)
    assert (first.status, first.error["type"], first.error["code"]) == (
        429,
        "rate_limit_error",
        "rate_limit_exceeded",
    )
    answer = await gateway.request_chat(alice.key)
    assert answer.status == 429
    assert least <= int(answer.headers["retry-after"]) <= most + 1
    assert int(answer.headers["retry-after-ms"]) <= (most + 1) * 1000
    assert len(upstream.requests) == 1
    after = await gateway.read_token_row(token)
    assert after.has_cooldown
    assert (after.state, after.strikes) == ("active", 0)
    last = (await rows.read_usage_records())[-1]
    assert (last.status, last.http_status) == ("error", 429)


async def test_a_date_is_understood(gateway, upstream, alice):
    upstream.queue_scripts(send_refusal(429, retry_after=http_date(30)))
    await gateway.request_chat(alice.key)
    assert 28 <= int((await gateway.request_chat(alice.key)).headers["retry-after"]) <= 35


async def test_the_soonest_of_all_resting_tokens_is_named_and_nobody_is_asked(
    gateway, upstream, alice, three
):
    upstream.queue_scripts(
        send_refusal(429, retry_after="50"),
        send_refusal(429, retry_after="20"),
        send_refusal(429, retry_after="40"),
    )
    for answer in (
        await gateway.request_chat(alice.key),
        await gateway.request_chat(alice.key),
        await gateway.request_chat(alice.key),
    ):
        assert answer.status == 429
        assert 19 <= int(answer.headers["retry-after"]) <= 23
    assert len(upstream.requests) == 3


async def test_a_resting_token_is_left_alone_while_others_answer(gateway, upstream, alice, three):
    upstream.queue_scripts(send_refusal(429, retry_after="60"))
    for _ in range(4):
        assert (await gateway.request_chat(alice.key)).status == 200
    assert list_bearer_tokens(upstream) == ["sk-up-1", "sk-up-2", "sk-up-3", "sk-up-2", "sk-up-3"]


async def test_a_rested_token_is_used_again_by_itself(gateway, upstream, alice, token):
    upstream.queue_scripts(send_refusal(429, retry_after="0"))
    assert (await gateway.request_chat(alice.key)).status == 429

    async def answered():
        return (await gateway.request_chat(alice.key)).status == 200

    await wait_until_true(answered, 5)
    assert (await gateway.read_token_row(token)).state == "active"


async def test_a_rest_outlives_a_restart(gateway, upstream, alice):
    upstream.queue_scripts(send_refusal(429, retry_after="60"))
    await gateway.request_chat(alice.key)
    await gateway.restart_server()
    assert (await gateway.request_chat(alice.key)).status == 429
    assert len(upstream.requests) == 1


async def test_an_exhausted_token_rests_until_its_quota_may_be_back(
    gateway, upstream, alice, token
):
    upstream.queue_scripts(send_refusal(429, code="insufficient_quota"))
    await gateway.request_chat(alice.key)
    answer = await gateway.request_chat(alice.key)
    assert answer.status == 429
    assert "The first can be asked again in 61 min." in answer.error["message"]
    assert answer.headers["retry-after"] == "120"
    assert len(upstream.requests) == 1
    after = await gateway.read_token_row(token)
    assert (after.state, after.strikes) == ("exhausted", 0)
    assert after.reason.startswith("quota")


async def test_rests_without_a_time_grow_once_per_window(gateway, upstream, alice, token):
    gates = Gate(), Gate()

    def late_refusal(gate):
        async def script(exchange):
            await gate.wait_until_open()
            await send_refusal(429)(exchange)

        return script

    upstream.queue_scripts(*map(late_refusal, gates))
    asked = [asyncio.create_task(gateway.request_chat(alice.key)) for _ in range(2)]
    await upstream.wait_for_request(2)
    for gate in gates:
        gate.open()
    assert [(await one).status for one in asked] == [429, 429]
    assert (
        int((await gateway.request_chat(alice.key)).headers["retry-after"]) <= 6
    )  # not 10: both belong to one window
