"""Calls that are no relayed answers, over real sockets: what they send, how long and how large."""

import asyncio
import socket

import pytest

from providers.exceptions import BadResponse, Unreachable, UpstreamTimeout
from providers.network.api_client import ApiClient
from providers.network.clients import Clients
from providers.network.target import Timeouts
from providers.tests.api_calls import LIMIT_BYTES, make_call
from proxysite.testing.upstream import (
    PAUSE,
    encode_chunked,
    encode_response_head,
    keep_silent,
    send_pieces,
    send_reply,
)
from proxysite.testing.upstream_server import Upstream


# --- what is sent and what comes back -------------------------------------------------------------
async def test_a_call_sends_what_it_is_given_and_nothing_else(api, upstream):
    upstream.queue_scripts(send_reply({"a": 1}, 201, x_own="yes"))
    answer = await api.fetch_answer(
        make_call(
            upstream.url, "POST", headers=b"Authorization: Bearer s\r\nX-A: b\r\n", body=b"{}"
        )
    )
    assert (answer.status, answer.body, answer.get_header(b"x-own")) == (201, b'{"a": 1}', "yes")
    assert answer.get_header(b"x-other") == ""
    request = upstream.last_exchange.request
    assert (request.method, request.path, request.body) == ("POST", "/v1/x", b"{}")
    assert request.headers == {
        "host": f"127.0.0.1:{upstream.port}",
        "content-type": "application/json",
        "accept-encoding": "identity",
        "authorization": "Bearer s",
        "x-a": "b",
        "content-length": "2",
    }


async def test_a_path_is_encoded_and_keeps_its_query(api, upstream):
    upstream.queue_scripts(send_reply())
    await api.fetch_answer(make_call(upstream.url, path="a b/ü?q=1"))
    assert upstream.last_exchange.request.path == "/v1/a%20b/%C3%BC?q=1"


def test_a_call_shows_no_secret():
    call = make_call("https://up.example", path="s3cret", headers=b"A: s3cret\r\n", body=b"s3cret")
    assert "s3cret" not in repr(call)


@pytest.mark.parametrize("url", ["http://[::1", "http://a:b", "nonsense", "ftp://127.0.0.1"])
async def test_an_address_that_is_none_is_refused(api, url):
    with pytest.raises(BadResponse, match="no usable address"):
        await api.fetch_answer(make_call(url))


async def test_no_cookie_is_kept(api, upstream):
    upstream.queue_scripts(send_reply(b"", 200, set_cookie="session=1; Path=/"), send_reply())
    for _ in range(2):
        await api.fetch_answer(make_call(upstream.url))
    assert "cookie" not in upstream.last_exchange.request.headers


@pytest.mark.parametrize("location", ["http://127.0.0.1:1/canary", "http://[", ""])
async def test_a_redirect_is_not_followed(api, upstream, location):
    upstream.queue_scripts(send_reply(b"", 302, location=location))
    try:
        answer = await api.fetch_answer(make_call(upstream.url))
    except BadResponse:
        assert location == "http://["
    else:
        assert answer.status == 302
    assert len(upstream.requests) == 1


async def test_proxies_of_the_environment_are_not_used(upstream, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    client = ApiClient()
    upstream.queue_scripts(send_reply(b"ok"))
    assert (await client.fetch_answer(make_call(upstream.url))).body == b"ok"
    await client.close()


async def test_an_answer_may_be_read_as_it_comes(api, upstream):
    upstream.queue_scripts(
        send_pieces(
            encode_response_head(200, {"transfer-encoding": "chunked"}),
            encode_chunked(b"one"),
            PAUSE,
        )
    )
    async with api.open_call(make_call(upstream.url)) as response:
        async for piece in response.iterate_body():
            assert piece == b"one"
            break
    await upstream.last_exchange.wait_until_left()


# --- how long and how large -----------------------------------------------------------------------
async def test_an_answer_of_the_limit_is_read(api, upstream):
    upstream.queue_scripts(send_reply(b"y" * LIMIT_BYTES))
    assert len((await api.fetch_answer(make_call(upstream.url))).body) == LIMIT_BYTES


@pytest.mark.parametrize("framing", ["of known length", "chunked", "until it closes"])
async def test_an_answer_beyond_the_limit_is_stopped_there(api, upstream, framing):
    """The rest of it never comes: the upstream waits, and sees that we left."""
    headers = {
        "of known length": {"content-length": "10000000"},
        "chunked": {"transfer-encoding": "chunked"},
        "until it closes": {},
    }[framing]
    data = b"y" * (LIMIT_BYTES + 1)
    upstream.queue_scripts(
        send_pieces(
            encode_response_head(200, headers),
            encode_chunked(data) if framing == "chunked" else data,
            PAUSE,
        )
    )
    with pytest.raises(BadResponse, match=f"longer than {LIMIT_BYTES} bytes"):
        await api.fetch_answer(make_call(upstream.url))
    await upstream.last_exchange.wait_until_left()


async def test_a_packed_answer_is_not_unpacked(api, upstream):
    upstream.queue_scripts(send_reply(b"\x1f\x8b\x08\x00", content_encoding="gzip"))
    assert (await api.fetch_answer(make_call(upstream.url))).body == b"\x1f\x8b\x08\x00"


@pytest.mark.parametrize(
    "script",
    [keep_silent, send_pieces(encode_response_head(200, {"content-length": "9"}), b"part", PAUSE)],
)
async def test_silence_has_a_limit(api, upstream, script):
    upstream.queue_scripts(script)
    with pytest.raises(UpstreamTimeout):
        await api.fetch_answer(make_call(upstream.url, timeouts=Timeouts(2, 0.1, 2, 2, 2)))
    await upstream.last_exchange.wait_until_left()


async def test_the_whole_call_has_a_limit_however_much_comes(api, upstream):
    async def drip(exchange):
        await exchange.send(encode_response_head(200, {"transfer-encoding": "chunked"}))
        while True:
            await exchange.send(encode_chunked(b"y"))
            await asyncio.sleep(0.02)

    upstream.queue_scripts(drip)
    with pytest.raises(UpstreamTimeout, match="in time"):
        await api.fetch_answer(make_call(upstream.url, total_seconds=1))
    await upstream.last_exchange.wait_until_left()


async def test_a_handshake_that_stalls_is_given_up(api):
    with socket.create_server(("127.0.0.1", 0)) as mute:  # the kernel accepts, nobody speaks
        url = f"https://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(UpstreamTimeout, match="Connecting"):
            await api.fetch_answer(make_call(url, timeouts=Timeouts(0.1, 2, 2, 2, 2)))


async def test_a_caller_that_leaves_frees_the_upstream(api, upstream):
    upstream.queue_scripts(keep_silent)
    task = asyncio.create_task(api.fetch_answer(make_call(upstream.url)))
    exchange = await upstream.wait_for_request()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await exchange.wait_until_left()


async def test_a_timeout_of_the_caller_stays_one(api, upstream):
    upstream.queue_scripts(keep_silent)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await api.fetch_answer(make_call(upstream.url))


# --- its end --------------------------------------------------------------------------------------
async def test_closing_the_client_closes_its_connections(upstream):
    client = ApiClient()
    upstream.queue_scripts(send_reply(b"ok"))
    await client.fetch_answer(make_call(upstream.url))
    await client.close()
    await upstream.last_exchange.wait_until_left()
    with pytest.raises(Unreachable, match="shutting down"):
        await client.fetch_answer(make_call(upstream.url))


async def test_closing_the_client_ends_calls_that_run(upstream):
    client = ApiClient()
    upstream.queue_scripts(keep_silent)
    task = asyncio.create_task(client.fetch_answer(make_call(upstream.url)))
    exchange = await upstream.wait_for_request()
    await client.close()
    with pytest.raises(Unreachable, match="shutting down"):
        await task
    await exchange.wait_until_left()


def test_each_event_loop_has_its_own_clients():
    """As tasks and management commands do: one `asyncio.run` after another, in any thread."""

    async def ask():
        server = Upstream()
        await server.start()
        server.queue_scripts(send_reply(b"ok"), send_reply(b"ok"))
        async with Clients() as clients:
            first = await clients.api.fetch_answer(make_call(server.url))
            second = await clients.api.fetch_answer(make_call(server.url))
        await server.stop()
        return first.body + second.body

    assert [asyncio.run(ask()) for _ in range(2)] == [b"okok"] * 2
