"""Where connections of httpx may go."""

import socket

import pytest

from providers.exceptions import Unreachable, UpstreamTimeout
from providers.network import address_guard
from providers.network.target import Timeouts
from providers.tests.api_calls import OK, make_call
from proxysite.testing.upstream import END, send_pieces, send_reply
from proxysite.testing.upstream_server import Upstream


@pytest.fixture
def loopback_is_public(monkeypatch):
    """127.0.0.1 stands for a public address; other addresses of the loopback are private."""
    monkeypatch.setattr(address_guard, "is_public_address", lambda address: address == "127.0.0.1")


@pytest.fixture
async def inside(upstream):
    """An upstream inside the house: at 127.0.0.2, with the port of `upstream`."""
    with socket.create_server(("127.0.0.2", upstream.port)) as listener:
        server = Upstream(listener)
        await server.start()
        yield server
        await server.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0"])
async def test_a_private_address_is_refused(api, upstream, host):
    with pytest.raises(Unreachable, match="private"):
        await api.fetch_answer(make_call(f"http://{host}:{upstream.port}", allow_private=False))
    assert upstream.connections == 0


async def test_a_name_with_a_private_address_is_refused(api, upstream, name_server):
    name_server.answers["inside.example"] = [["127.0.0.1"]]
    url = f"http://inside.example:{upstream.port}"
    with pytest.raises(Unreachable, match="private"):
        await api.fetch_answer(make_call(url, allow_private=False))
    assert upstream.connections == 0
    upstream.queue_scripts(send_reply(b"ok"))
    assert (await api.fetch_answer(make_call(url))).body == b"ok"
    assert upstream.last_exchange.request.headers["host"] == f"inside.example:{upstream.port}"


async def test_a_connection_that_was_allowed_is_not_used_where_it_is_not(api, upstream):
    upstream.queue_scripts(send_reply(b"ok"))
    await api.fetch_answer(make_call(upstream.url))
    with pytest.raises(Unreachable, match="private"):
        await api.fetch_answer(make_call(upstream.url, allow_private=False))
    assert len(upstream.requests) == 1


async def test_a_connection_goes_to_the_address_that_was_checked(
    api, upstream, inside, name_server, loopback_is_public
):
    """A name server that changes its answer between check and connect changes nothing."""
    name_server.answers["twofaced.example"] = [["127.0.0.1"], ["127.0.0.2"]]
    url = f"http://twofaced.example:{upstream.port}"
    upstream.queue_scripts(send_pieces(OK, END))
    assert (await api.fetch_answer(make_call(url, allow_private=False))).body == b"ok"
    assert name_server.asked == ["twofaced.example"]
    await upstream.last_exchange.wait_until_left()
    with pytest.raises(Unreachable, match="private"):
        await api.fetch_answer(make_call(url, allow_private=False))
    assert (len(upstream.requests), inside.connections) == (1, 0)


async def test_of_several_addresses_the_allowed_ones_are_tried(
    api, upstream, inside, name_server, loopback_is_public
):
    name_server.answers["mixed.example"] = [["127.0.0.2", "127.0.0.1"]]
    upstream.queue_scripts(send_reply(b"ok"))
    url = f"http://mixed.example:{upstream.port}"
    assert (await api.fetch_answer(make_call(url, allow_private=False))).body == b"ok"
    assert inside.connections == 0


async def test_the_next_address_is_tried_where_nobody_listens(api, upstream, name_server):
    name_server.answers["mixed.example"] = [["127.0.0.3", "127.0.0.1"]]
    upstream.queue_scripts(send_reply(b"ok"))
    answer = await api.fetch_answer(make_call(f"http://mixed.example:{upstream.port}"))
    assert answer.body == b"ok"


async def test_where_nobody_listens_the_upstream_is_unreachable(api, name_server):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    name_server.answers["gone.example"] = [["127.0.0.1", "127.0.0.2"]]
    for host in ("127.0.0.1", "gone.example"):
        with pytest.raises(Unreachable, match="cannot be reached"):
            await api.fetch_answer(make_call(f"http://{host}:{port}"))


async def test_a_slow_name_server_is_not_waited_for(api, name_server):
    with pytest.raises(UpstreamTimeout, match="Connecting"):
        await api.fetch_answer(make_call("http://slow.example", timeouts=Timeouts(0.1, 2, 2, 2, 2)))
