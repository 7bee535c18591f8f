"""Bounds that hold whatever a caller does: size and time of what comes in, patience with who does
not read.
"""

import asyncio
import json

import pytest

from api.tests.endpoints.limits.request_bodies import make_chat_body
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.gateway import HELLO, build_raw_request, build_raw_request_head
from proxysite.testing.upstream import DONE, build_event, encode_response_head, keep_silent

LIMIT = 2**20  # BODY_LIMIT_BYTES of the tests
CHAT = "/v1/chat/completions"


def chunk_of(size):
    return b"%x\r\n%b\r\n" % (size, b" " * size)


# --- size -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [LIMIT + 1, 2**40])
async def test_a_body_announced_too_large_is_refused_before_a_byte_of_it_is_read(
    gateway, upstream, alice, size
):
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request_head(alice.key, size))
        answer = await wire.receive_answer()
    assert answer.status == 413
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error["code"] == "body_too_large"
    assert upstream.requests == []
    assert await rows.read_usage_records() == []


async def test_a_client_that_asks_first_is_not_told_to_send_a_body_that_is_too_large(
    gateway, alice
):
    async with gateway.open_bare_connection() as wire:
        await wire.send(
            build_raw_request_head(alice.key, LIMIT + 1, headers="Expect: 100-continue\r\n")
        )
        assert (await wire.receive_answer()).status == 413


async def test_a_client_that_asks_first_is_told_to_send_what_fits(gateway, upstream, alice):
    data = make_chat_body(500)
    async with gateway.open_bare_connection() as wire:
        await wire.send(
            build_raw_request_head(alice.key, len(data), headers="Expect: 100-continue\r\n")
        )
        assert (await wire.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100")
        await wire.send(data)
        assert (await wire.receive_answer()).status == 200


async def test_a_body_that_does_not_announce_its_size_is_refused_when_it_grows_too_large(
    gateway, upstream, alice
):
    head_ = build_raw_request_head(alice.key, 0, headers="Transfer-Encoding: chunked\r\n").replace(
        b"Content-Length: 0\r\n", b""
    )
    async with gateway.open_bare_connection() as wire:
        await wire.send(head_)
        answering = asyncio.create_task(wire.receive_answer())
        sent = 0
        while not answering.done() and sent < 64 * LIMIT:
            await wire.send(chunk_of(65536))
            sent += 65536
            await asyncio.sleep(0)
        answer = await answering
    assert answer.status == 413
    assert answer.error["code"] == "body_too_large"
    assert upstream.requests == []


@pytest.mark.parametrize("size", [LIMIT, 65_536, 65_537, 200_000])
async def test_a_body_within_the_limit_passes(gateway, upstream, alice, size):
    data = make_chat_body(size)
    answer = await gateway.send_request(
        "POST", CHAT, alice.key, content=data, headers={"content-type": "application/json"}
    )
    assert answer.status == 200
    assert len(upstream.requests[0].json["messages"][0]["content"]) > size - 200


async def test_a_body_in_small_chunks_passes(gateway, upstream, alice):
    data = make_chat_body(300)
    head_ = build_raw_request_head(alice.key, 0, headers="Transfer-Encoding: chunked\r\n").replace(
        b"Content-Length: 0\r\n", b""
    )
    async with gateway.open_bare_connection() as wire:
        await wire.send(head_)
        for at in range(len(data)):
            await wire.send(b"1\r\n%b\r\n" % data[at : at + 1])
        await wire.send(b"0\r\n\r\n")
        assert (await wire.receive_answer()).status == 200
    assert upstream.requests[0].json["messages"] == json.loads(data)["messages"]


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [(b"/v1/models", 401, "invalid_api_key"), (b"/admin/login/", 413, "body_too_large")],
)
async def test_a_stranger_may_not_send_much(gateway, path, status, code):
    async with gateway.open_bare_connection() as wire:
        await wire.send(
            b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40000\r\n\r\n" % path
        )
        answer = await wire.receive_answer()
    assert (answer.status, answer.error["code"]) == (status, code)


@pytest.mark.parametrize(
    "lines", [[b"X-Long: " + b"x" * 2**20], [b"X-%d: y" % number for number in range(20_000)]]
)
async def test_a_head_has_a_size_limit(gateway, upstream, alice, lines):
    async with gateway.open_bare_connection() as wire:
        await wire.send(
            build_raw_request(alice.key).replace(
                b"\r\n\r\n", b"\r\n" + b"\r\n".join(lines) + b"\r\n\r\n", 1
            )
        )
        answer = await wire.receive_answer()
    assert answer.status in (400, 431)
    assert answer.error["type"] == "invalid_request_error"
    assert upstream.requests == []


@pytest.mark.settings(REQUESTS_IN_FLIGHT=2)
async def test_the_number_of_running_requests_is_bounded(gateway, upstream, alice):
    upstream.set_default_script(keep_silent)
    async with gateway.open_bare_connection() as one, gateway.open_bare_connection() as two:
        await one.send(build_raw_request(alice.key))
        await two.send(build_raw_request(alice.key))
        await upstream.wait_for_request(2)
        answer = await gateway.request_chat(alice.key)
        assert (answer.status, answer.error["type"]) == (503, "server_error")
        assert int(answer.headers["retry-after"]) >= 1
        assert len(upstream.requests) == 2


# --- time -----------------------------------------------------------------------------------------
@pytest.mark.settings(HEAD_SECONDS=0.2)
@pytest.mark.parametrize(
    "begin", [b"", b"POST /v1/chat/comp", b"GET / HTTP/1.1\r\nHost: x\r\nX-A: "]
)
async def test_a_head_must_be_complete_in_time(gateway, begin):
    async with gateway.open_bare_connection() as wire:
        await wire.send(begin)
        answer = await wire.receive_answer()
        assert answer.status == 408
        assert answer.error["code"] == "request_timeout"
        assert await wire.read_to_end() == b""


@pytest.mark.settings(HEAD_SECONDS=0.3)
async def test_dripping_bytes_do_not_stretch_the_time_for_a_head(gateway, upstream, alice):
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key))
        assert (await wire.receive_answer()).status == 200
        answering = asyncio.create_task(wire.receive_answer())
        await wire.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        for number in range(200):
            if answering.done():
                break
            await wire.send(b"X-%d: y\r\n" % number)
            await asyncio.sleep(0.02)
        assert answering.done()
        assert (await answering).status == 408


@pytest.mark.settings(BODY_SECONDS=0.2)
@pytest.mark.parametrize("begin", [b"", b'{"model": '], ids=["nothing", "a part"])
async def test_a_body_must_be_complete_in_time(gateway, upstream, alice, begin):
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request_head(alice.key, 100) + begin)
        answer = await wire.receive_answer()
        assert answer.status == 408
        assert answer.error["code"] == "request_timeout"
    assert upstream.requests == []
    assert await rows.read_usage_records() == []


@pytest.mark.settings(BODY_SECONDS=0.2)
@pytest.mark.parametrize("path", [CHAT, "/v1/models"])
async def test_dripping_bytes_do_not_stretch_the_time_for_a_body(gateway, alice, path):
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request_head(alice.key, 1000, path=path))
        answering = asyncio.create_task(wire.receive_answer())
        for _ in range(200):
            if answering.done():
                break
            await wire.send(b" ")
            await asyncio.sleep(0.02)
        assert answering.done()
        assert (await answering).status == 408


@pytest.mark.settings(BODY_SECONDS=0.1)
async def test_a_connection_whose_body_never_came_is_closed(gateway, alice):
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request_head(alice.key, 100))
        assert (await wire.receive_answer()).status == 408
        assert await wire.read_to_end() == b""


@pytest.mark.settings(KEEPALIVE_SECONDS=0.1)
async def test_an_idle_connection_is_closed(gateway, upstream, alice):
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key))
        assert (await wire.receive_answer()).status == 200
        assert await wire.read_to_end() == b""


# --- callers that do not read ---------------------------------------------------------------------
PIECE = build_event(speech.chat_chunk({"content": "x" * 16_000}))


def flood(megabytes):
    """A stream that goes on as long as somebody takes it."""

    async def script(exchange):
        await exchange.send(encode_response_head(200, {"content-type": "text/event-stream"}))
        while exchange.sent_bytes < megabytes * 2**20 and not exchange.gateway_left.is_set():
            await exchange.send(PIECE)
        for said in (speech.chat_chunk(finish="stop"), speech.usage_chunk(), DONE):
            await exchange.send(build_event(said))
        exchange.writer.close()

    return script


async def standstill(exchange):
    """Return when the upstream gets nothing more out; how much it had sent by then."""
    seen, since = -1, 0
    while since < 10:
        since = since + 1 if exchange.sent_bytes == seen else 0
        seen = exchange.sent_bytes
        await asyncio.sleep(0.03)
    return seen


async def test_a_caller_that_does_not_read_slows_the_upstream_down_and_loses_nothing(
    gateway, upstream, alice
):
    upstream.queue_scripts(flood(30))
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key, stream=True))
        exchange = await upstream.wait_for_request()
        assert await standstill(exchange) < 24 * 2**20
        answer = await wire.receive_answer()
    assert answer.is_complete
    assert len(answer.text) > 28 * 2**20
    assert (await rows.read_only_usage_record()).status == "complete"


@pytest.mark.settings(STALL_SECONDS=0.2)
async def test_a_caller_that_reads_nothing_is_dropped(gateway, upstream, alice, token):
    upstream.queue_scripts(flood(256))
    async with gateway.open_bare_connection(receive_buffer=4_096) as wire:
        await wire.send(build_raw_request(alice.key, stream=True))
        exchange = await upstream.wait_for_request()
        await exchange.wait_until_left()
        assert exchange.sent_bytes < 64 * 2**20
        await wait_until_true(lambda: not gateway.connection_count)
        wire.close_connection()
    row = (await wait_until_true(rows.read_usage_records))[0]
    assert row.status == "abandoned"
    assert (await gateway.read_token_row(token)).strikes == 0


async def test_a_caller_that_does_not_read_keeps_nobody_else_waiting(gateway, upstream, alice):
    upstream.queue_scripts(flood(256))
    async with gateway.open_bare_connection(receive_buffer=4_096) as wire:
        await wire.send(build_raw_request(alice.key, stream=True))
        await standstill(await upstream.wait_for_request())
        assert (await gateway.request_chat(alice.key, messages=HELLO)).status == 200
