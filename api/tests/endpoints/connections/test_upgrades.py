"""Clients that ask for another protocol in a plain request get their answer in HTTP/1.1.

Java's HTTP client asks for HTTP/2 (`Upgrade: h2c`) in each request to a plain address; its body is
part of the request, and no request of its own.
"""

import asyncio
import shutil

import pytest

from proxysite.testing.gateway import build_raw_request

H2C = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
WEBSOCKET = (
    b"GET %b HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("pieces", [1, 2, 7, "bytes"])
async def test_a_request_that_asks_for_http_2_is_read_and_answered(
    gateway, upstream, alice, streams, pieces
):
    raw = build_raw_request(alice.key, stream=streams, headers=H2C)
    size = 1 if pieces == "bytes" else -(-len(raw) // pieces)
    async with gateway.open_bare_connection() as wire:
        for start in range(0, len(raw), size):
            await wire.send(raw[start : start + size])
            await asyncio.sleep(0)
        answer = await wire.receive_answer()
        assert (answer.status, answer.text) == (200, "Hello there!")
        assert "upgrade" not in answer.headers
        await wire.send(build_raw_request(alice.key))  # the connection goes on
        assert (await wire.receive_answer()).status == 200
    assert len(upstream.requests) == 2


async def test_each_of_many_requests_that_are_sent_at_once_is_answered_once(
    gateway, upstream, alice
):
    upgrading = build_raw_request(alice.key, headers=H2C)
    async with gateway.open_bare_connection() as wire:
        await wire.send(b"".join([upgrading, build_raw_request(alice.key), upgrading, upgrading]))
        for _ in range(4):
            assert (await wire.receive_answer()).text == "Hello there!"
    assert len(upstream.requests) == 4


async def test_a_body_that_looks_like_a_request_is_not_answered_as_one(gateway, upstream, alice):
    hidden = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
    async with gateway.open_bare_connection() as wire:
        await wire.send(head % len(hidden) + H2C.encode() + b"\r\n" + hidden)
        answer = await wire.receive_answer()
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
        await wire.send(build_raw_request(alice.key))
        assert (await wire.receive_answer()).text == "Hello there!"


async def test_a_chunked_body_behind_an_upgrade_is_read(gateway, upstream, alice):
    head, _, body = build_raw_request(alice.key, headers=H2C).partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    async with gateway.open_bare_connection() as wire:
        await wire.send(b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"", b""]) + chunked)
        assert (await wire.receive_answer()).text == "Hello there!"


async def test_a_client_that_wants_to_close_behind_its_upgrade_is_obeyed(gateway, upstream, alice):
    headers = H2C.replace("Upgrade, ", "close, Upgrade, ")
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key, headers=headers))
        assert (await wire.receive_answer()).status == 200
        assert await wire.read_to_end() == b""


@pytest.mark.parametrize("name", ["websocket", "TLS/1.0", "something"])
async def test_a_post_with_any_other_upgrade_is_a_post(gateway, upstream, alice, name):
    headers = f"Connection: upgrade\r\nUpgrade: {name}\r\n"
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key, headers=headers))
        assert (await wire.receive_answer()).text == "Hello there!"


@pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/realtime/x", b"/"])
async def test_a_websocket_where_there_is_none_is_426_with_one_line(gateway, alice, path):
    async with gateway.open_bare_connection() as wire:
        await wire.send(WEBSOCKET % path)
        answer = await wire.receive_answer()
        assert (answer.status, answer.error["code"]) == (426, "upgrade_required")
        assert answer.error["message"] == (
            "There is no WebSocket at this address: send plain HTTP requests."
        )
        assert (answer.headers["upgrade"], answer.headers["connection"]) == (
            "HTTP/1.1",
            "close, upgrade",
        )
        assert await wire.read_to_end() == b""


async def test_a_head_with_an_upgrade_has_the_limit_of_every_head(gateway, alice):
    async with gateway.open_bare_connection() as wire:
        await wire.send(b"GET / HTTP/1.1\r\n" + H2C.encode() + b"X: %b\r\n\r\n" % (b"x" * 70_000))
        assert (await wire.receive_answer()).status == 431


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_with_http_2_gets_its_answer(gateway, upstream, alice):
    process = await asyncio.create_subprocess_exec(
        "curl",
        *("--silent", "--show-error", "--http2", "--noproxy", "*"),
        *("--write-out", " %{http_code} %{http_version}"),
        *("--header", f"Authorization: Bearer {alice.key}"),
        *("--header", "Content-Type: application/json"),
        *("--data", '{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'),
        f"{gateway.url}/v1/chat/completions",
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert b"Hello there!" in output
    assert output.endswith(b" 200 1.1")
