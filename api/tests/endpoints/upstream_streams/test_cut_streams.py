"""A stream that did not finish upstream never looks finished (faults U-14 to U-34).

It has no finish reason and no `[DONE]`; an error event stands there instead.
"""

import asyncio

import pytest

from api.tests.endpoints.upstream_streams.streamed_hello import (
    EVENT_STREAM,
    HELLO,
    STOP,
    update_providers,
)
from proxysite.testing import rows, speech
from proxysite.testing.upstream import (
    CUT,
    DONE,
    END,
    PAUSE,
    Gate,
    build_event,
    encode_response_head,
    send_pieces,
    send_stream,
)

CUTS = {
    "reset": send_stream(*HELLO, PAUSE, CUT),
    "closed within the chunks": send_stream(*HELLO, PAUSE, END),
    "ended without a finish reason": send_stream(*HELLO, PAUSE),
    "ended with [DONE] only": send_stream(*HELLO, PAUSE, DONE),
    "closed, framed by the close": send_pieces(
        encode_response_head(200, EVENT_STREAM), *map(build_event, HELLO), PAUSE, END
    ),
    "an error event": send_stream(*HELLO, PAUSE, speech.openai_error_body("overloaded")),
    "an error event, then [DONE]": send_stream(
        *HELLO, PAUSE, speech.openai_error_body("overloaded"), DONE
    ),
    "an error in a named event": send_stream(
        *HELLO, PAUSE, b'event: error\ndata: {"message": "overloaded"}\n\n'
    ),
    "an error beside choices": send_stream(
        *HELLO,
        PAUSE,
        speech.chat_chunk({"content": ""}, finish="error", error={"code": 502, "message": "gone"}),
        DONE,
    ),
    "an error as text": send_stream(*HELLO, PAUSE, {"error": "overloaded"}),
    "broken chunk framing": send_pieces(
        encode_response_head(200, EVENT_STREAM | {"transfer-encoding": "chunked"}),
        *(b"%x\r\n%b\r\n" % (len(build_event(said)), build_event(said)) for said in HELLO),
        PAUSE,
        b"zz\r\n",
    ),
    "too many unreadable events": send_stream(
        *HELLO, PAUSE, *[b"data: {nonsense\n\n"] * 50, STOP, DONE
    ),
}


@pytest.mark.parametrize("include_usage", [False, True], ids=["", "usage"])
@pytest.mark.parametrize("how", CUTS)
async def test_a_stream_cut_in_the_middle_never_looks_finished(
    gateway, upstream, alice, token, how, include_usage
):
    upstream.queue_scripts(CUTS[how])
    more = {"stream_options": {"include_usage": True}} if include_usage else {}
    async with gateway.open_stream(alice.key, **more) as reading:
        await reading.read_until(" there")
        upstream.gate.open()
        answer = await reading.read_rest()
    assert answer.text == "Hello there"
    assert answer.stream_error["type"] == "upstream_error"
    assert len(upstream.requests) == 1

    row = await rows.read_only_usage_record()
    assert (row.status, row.error_code) == ("truncated", answer.stream_error["code"])
    assert row.http_status >= 500
    assert row.estimated
    assert row.completion_tokens == 2
    assert [attempt["outcome"] for attempt in row.attempts] == ["cut"]
    after = await gateway.read_token_row(token)
    assert (after.strikes, after.has_cooldown) == (0, False)
    assert gateway.count_failures() == 1


async def test_a_stream_that_stalls_in_the_middle_is_given_up_in_time(
    gateway, upstream, alice, token
):
    await update_providers(gateway, gap_seconds=0.1)
    upstream.queue_scripts(send_stream(*HELLO, Gate()))
    answer = await gateway.request_chat(alice.key, stream=True)
    assert answer.text == "Hello there"
    assert answer.stream_error["code"] == "upstream_timeout"
    row = await rows.read_only_usage_record()
    assert (row.status, row.error_code, row.completion_tokens) == (
        "truncated",
        "upstream_timeout",
        2,
    )
    assert (await gateway.read_token_row(token)).strikes == 0
    assert gateway.count_failures() == 1
    await upstream.last_exchange.wait_until_left()


@pytest.mark.parametrize(
    "drip",
    [
        b": keep-alive\n\n",
        b"\n",
        build_event(speech.chat_chunk() | {"choices": []}),
        build_event(speech.chat_chunk({"content": "x"})),
    ],
    ids=["comments", "blank lines", "empty chunks", "words"],
)
@pytest.mark.parametrize("first", [True, False], ids=["from the start", "after a word"])
async def test_a_stream_that_drips_for_ever_ends_at_the_total_deadline(
    gateway, upstream, alice, drip, first
):
    async def endless(exchange):
        await exchange.send(encode_response_head(200, EVENT_STREAM))
        if not first:
            await exchange.send(build_event(HELLO[0]))
        while not exchange.gateway_left.is_set():
            await exchange.send(drip)
            await asyncio.sleep(0.02)

    await update_providers(gateway, total_seconds=0.3, gap_seconds=0.2, first_byte_seconds=0.25)
    upstream.queue_scripts(endless)
    answer = await gateway.request_chat(alice.key, stream=True)
    if answer.status == 200:
        assert answer.stream_error["code"] == "upstream_timeout"
    else:
        assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    await upstream.last_exchange.wait_until_left()
    assert (await rows.read_only_usage_record()).error_code == "upstream_timeout"
