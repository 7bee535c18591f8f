"""Connections to upstreams are used again, and replaced when they die."""

import asyncio

import pytest

from api.tests.endpoints.upstream_answers.raw_answers import encode_length_head
from providers.protocol.attempt import RESEND_REASON
from proxysite.testing import rows, speech
from proxysite.testing.upstream import CUT, DONE, END, Gate, send_pieces, send_stream

JSON = {"content-type": "application/json"}


async def test_a_connection_is_used_again(gateway, upstream, alice):
    for streams in (False, True, False, True):
        assert (await gateway.request_chat(alice.key, stream=streams)).status == 200
    assert upstream.connections == 1


@pytest.mark.parametrize("how", [CUT, END], ids=["reset", "closed"])
async def test_a_kept_connection_that_dies_just_as_it_is_used_is_replaced_silently(
    gateway, upstream, alice, token, how
):
    assert (await gateway.request_chat(alice.key)).status == 200
    upstream.queue_scripts(send_pieces(how))
    assert (await gateway.request_chat(alice.key)).status == 200
    assert upstream.connections == 2
    first, second = await rows.read_usage_records()
    assert len(first.attempts) == 1
    assert [(one["outcome"], one["reason"], one["token"]) for one in second.attempts] == [
        ("Disconnected", RESEND_REASON, str(token.pk)),
        ("answered", "", str(token.pk)),
    ]
    assert gateway.count_failures() == 0
    assert (await gateway.read_token_row(token)).failures == 0


@pytest.mark.settings(RESEND_SECONDS=0.05)
async def test_a_kept_connection_that_closes_later_has_cost_an_attempt(
    gateway, upstream, alice, three
):
    """Such an upstream has worked on the request: no credential is asked with it twice."""

    async def close_late(exchange):
        await asyncio.sleep(0.1)  # longer than a request may be sent again
        await exchange.play_pieces(END)

    gate = Gate()
    upstream.set_default_script(
        send_stream(*speech.content_chunks("warm"), gate, speech.chat_chunk(finish="stop"), DONE)
    )
    warm = [asyncio.create_task(gateway.request_chat(alice.key, stream=True)) for _ in range(8)]
    await upstream.wait_for_request(8)
    gate.open()
    assert {answer.status for answer in await asyncio.gather(*warm)} == {200}
    upstream.set_default_script(close_late)
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (502, "upstream_disconnected")
    bearers = [request.bearer_token for request in upstream.requests[8:]]
    assert sorted(bearers) == ["sk-up-1", "sk-up-2", "sk-up-3"]
    assert len((await rows.read_usage_records())[-1].attempts) == 3


async def test_a_connection_that_broke_is_not_used_again(gateway, upstream, alice):
    upstream.queue_scripts(send_pieces(encode_length_head(5) + b'{"a"', END))
    assert (await gateway.request_chat(alice.key)).status == 502
    assert (await gateway.request_chat(alice.key)).status == 200
    assert upstream.connections == 2
