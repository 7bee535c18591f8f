"""The HTTP transport of the tests' callers keeps its connections, and hides no fault."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from proxysite.testing import wait_until_true
from proxysite.testing.client_transport import CallerTransport
from proxysite.testing.upstream import (
    CUT,
    END,
    Gate,
    encode_response_head,
    send_pieces,
    send_reply,
    send_stream,
)
from proxysite.testing.upstream_server import Upstream


@pytest.fixture
async def http(upstream: Upstream) -> AsyncIterator[httpx.AsyncClient]:
    transport = CallerTransport(upstream.port)
    base_url = f"http://127.0.0.1:{upstream.port}"
    async with httpx.AsyncClient(base_url=base_url, transport=transport) as client:
        yield client


async def test_requests_one_after_the_other_share_a_connection(upstream, http):
    upstream.queue_scripts(send_reply({"n": 1}), send_stream("two"), send_reply({"n": 3}))
    assert (await http.post("/x", json={})).json() == {"n": 1}
    assert (await http.post("/x", json={})).text == "data: two\n\n"
    assert (await http.post("/x", json={})).json() == {"n": 3}
    assert upstream.connections == 1


async def test_requests_at_the_same_time_have_a_connection_each(upstream, http):
    gates = [Gate() for _ in range(5)]
    upstream.queue_scripts(*(send_stream("early", gate, "late") for gate in gates))
    asked = [asyncio.create_task(http.post("/x", json={})) for _ in gates]
    for gate in gates:
        await gate.wait_until_reached()
        gate.open()
    assert {answer.text for answer in await asyncio.gather(*asked)} == {
        "data: early\n\ndata: late\n\n"
    }
    assert upstream.connections == 5


async def test_a_connection_that_the_server_has_closed_is_not_used_again(upstream, http):
    upstream.queue_scripts(send_reply({}, connection="close"), send_reply({}))
    for _ in range(2):
        assert (await http.post("/x", json={})).status_code == 200
    assert upstream.connections == 2


@pytest.mark.parametrize(
    ("piece", "fault"), [(CUT, httpx.ReadError), (END, httpx.RemoteProtocolError)]
)
@pytest.mark.parametrize("begins", [False, True])
async def test_an_answer_that_breaks_off_is_an_error(upstream, http, piece, fault, begins):
    head = encode_response_head(200, {"content-length": "10"}) + b"half"
    upstream.queue_scripts(send_pieces(*([head] if begins else []), piece))
    with pytest.raises(fault):
        await http.post("/x", json={})


async def test_an_answer_that_is_no_http_is_an_error(upstream, http):
    upstream.queue_scripts(send_pieces(b"what?\r\n\r\n"))
    with pytest.raises(httpx.RemoteProtocolError):
        await http.post("/x", json={})


async def test_who_leaves_in_the_middle_closes_the_connection(upstream, http):
    upstream.queue_scripts(send_stream("early", Gate(), "late"))
    async with http.stream("POST", "/x", json={}) as answer:
        assert await anext(answer.aiter_raw()) == b"data: early\n\n"
    await upstream.last_exchange.wait_until_left()


async def test_an_interim_answer_is_passed_over(upstream, http):
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    whole = encode_response_head(200, {"content-length": "2"}) + b"ok"
    upstream.queue_scripts(send_pieces(interim, whole))
    assert (await http.post("/x", json={})).text == "ok"


async def test_more_than_is_read_stays_at_the_server(upstream, http):
    upstream.queue_scripts(send_pieces(encode_response_head(200, {}), *[b"x" * 2**20] * 64))
    async with http.stream("POST", "/x", json={}):
        exchange = upstream.last_exchange

        async def stands_still() -> bool:
            before = exchange.sent_bytes
            await asyncio.sleep(0.2)
            return before == exchange.sent_bytes

        await wait_until_true(stands_still)
        assert exchange.sent_bytes < 32 * 2**20
