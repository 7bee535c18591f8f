"""Where connections of httpx may go, what TLS proves, and what becomes of broken answers."""

import asyncio
import socket
import ssl
import threading

import pytest
import trustme

from providers.exceptions import BadResponse, BadTls, Disconnected, Unreachable, UpstreamTimeout
from providers.network import address_guard, name_lookup
from providers.network.target import Timeouts
from providers.tests.api_calls import OK, make_call
from proxysite.testing.upstream import (
    CUT,
    END,
    PAUSE,
    encode_chunked,
    encode_response_head,
    send_pieces,
    send_reply,
)
from proxysite.testing.upstream_server import Upstream


# --- where it may go ------------------------------------------------------------------------------
class NameServer:
    """Answers of `socket.getaddrinfo`: for each name the addresses of one look-up after another."""

    def __init__(self):
        self.answers = {"slow.example": [["127.0.0.1"]]}
        self.asked = []
        self.over = threading.Event()

    def getaddrinfo(self, name, port, **options):
        self.asked.append(name)
        if name == "slow.example":
            self.over.wait()
        given = self.answers[name]
        addresses = given.pop(0) if len(given) > 1 else given[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]


@pytest.fixture
def name_server(monkeypatch, settings):
    settings.DNS_KEEP_SECONDS = settings.DNS_STALE_SECONDS = 0
    found = NameServer()
    monkeypatch.setattr(socket, "getaddrinfo", found.getaddrinfo)
    monkeypatch.setattr(name_lookup, "resolver", name_lookup.Resolver())
    yield found
    found.over.set()


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


# --- TLS ------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
async def serve(authority, tmp_path, monkeypatch):
    """A function that starts an upstream with a certificate of `authority`, which the system
    trusts.
    """
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    started = []

    async def start(certificate):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        server = Upstream(tls=context)
        await server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        await server.stop()


async def test_an_upstream_that_proves_its_name_is_asked(authority, serve, api):
    server = await serve(authority.issue_cert("127.0.0.1"))
    server.queue_scripts(send_reply(b"one"), send_reply(b"two"))
    for said in (b"one", b"two"):
        assert (await api.fetch_answer(make_call(server.url))).body == said
    assert server.connections == 1


async def test_the_name_is_proved_not_the_address(authority, serve, api, name_server):
    server = await serve(authority.issue_cert("named.example"))
    server.queue_scripts(send_reply(b"ok"))
    name_server.answers["named.example"] = name_server.answers["other.example"] = [["127.0.0.1"]]
    assert (await api.fetch_answer(make_call(f"https://named.example:{server.port}"))).body == b"ok"
    with pytest.raises(BadTls, match="Hostname mismatch"):
        await api.fetch_answer(make_call(f"https://other.example:{server.port}"))
    assert len(server.requests) == 1


async def test_a_certificate_by_another_authority_is_refused(serve, api):
    server = await serve(trustme.CA().issue_cert("127.0.0.1"))
    with pytest.raises(BadTls, match="certificate"):
        await api.fetch_answer(make_call(server.url))
    assert server.requests == []


async def test_nothing_is_sent_in_the_clear(api):
    received = []

    async def answer_in_the_clear(reader, writer):
        received.append(await reader.read(65_536))
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer_in_the_clear, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(BadTls):
            await api.fetch_answer(make_call(url, headers=b"Authorization: Bearer secret\r\n"))
    assert len(received) == 1
    assert b"secret" not in received[0]


# --- broken answers -------------------------------------------------------------------------------
BROKEN = {
    "no HTTP": (send_pieces(b"nonsense\r\n\r\n"), BadResponse),
    "another protocol": (send_pieces(b"SSH-2.0-OpenSSH_9.2\r\n", END), Disconnected),
    "two lengths": (
        send_pieces(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok"),
        BadResponse,
    ),
    "a broken chunk": (
        send_pieces(encode_response_head(200, {"transfer-encoding": "chunked"}), b"zz\r\nok\r\n"),
        BadResponse,
    ),
    "a head without end": (send_pieces(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 50_000), BadResponse),
    "closed at once": (send_pieces(END), Disconnected),
    "reset at once": (send_pieces(CUT), Disconnected),
    "closed in the head": (send_pieces(b"HTTP/1.1 200 OK\r\ncontent-", END), Disconnected),
    "closed in the body": (
        send_pieces(encode_response_head(200, {"content-length": "9"}), b"part", END),
        Disconnected,
    ),
    "reset in the body": (
        send_pieces(encode_response_head(200, {"content-length": "9"}), b"part", PAUSE, CUT),
        Disconnected,
    ),
    "closed in a chunk": (
        send_pieces(encode_response_head(200, {"transfer-encoding": "chunked"}), b"9\r\npart", END),
        Disconnected,
    ),
    "closed before the last chunk": (
        send_pieces(
            encode_response_head(200, {"transfer-encoding": "chunked"}),
            encode_chunked(b"part"),
            END,
        ),
        Disconnected,
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
async def test_a_broken_answer_is_an_error_of_the_upstream(api, upstream, kind):
    script, error = BROKEN[kind]
    upstream.gate.open()
    upstream.queue_scripts(script)
    with pytest.raises(error):
        await api.fetch_answer(make_call(upstream.url))
    assert len(upstream.requests) == 1
    upstream.queue_scripts(send_reply(b"ok"))
    assert (await api.fetch_answer(make_call(upstream.url))).body == b"ok"


async def test_an_interim_answer_is_passed_over(api, upstream):
    upstream.queue_scripts(send_pieces(b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + OK))
    assert (await api.fetch_answer(make_call(upstream.url))).body == b"ok"


async def test_a_header_that_no_request_can_carry_is_not_sent(api, upstream):
    with pytest.raises(BadResponse):
        await api.fetch_answer(make_call(upstream.url, headers=b"X-A: a\nb\r\n"))
    assert upstream.requests == []


# --- kept connections -----------------------------------------------------------------------------
async def test_a_connection_is_kept_for_the_next_call(api, upstream):
    upstream.queue_scripts(send_reply(b"one"), send_reply(b"two"))
    for _ in range(2):
        await api.fetch_answer(make_call(upstream.url))
    assert upstream.connections == 1


async def test_a_call_is_sent_again_once_when_its_kept_connection_was_closed(
    api, upstream, settings
):
    settings.RESEND_SECONDS = 60
    upstream.queue_scripts(send_reply(b"one"), send_pieces(END), send_reply(b"two"))
    assert (await api.fetch_answer(make_call(upstream.url))).body == b"one"
    assert (await api.fetch_answer(make_call(upstream.url))).body == b"two"
    assert (upstream.connections, len(upstream.requests)) == (2, 3)
    upstream.queue_scripts(send_pieces(END), send_pieces(END))
    with pytest.raises(Disconnected):
        await api.fetch_answer(make_call(upstream.url))
    assert len(upstream.requests) == 5


async def test_a_call_that_the_upstream_had_time_to_work_on_is_not_sent_again(
    api, upstream, settings
):
    settings.RESEND_SECONDS = 0
    upstream.queue_scripts(send_reply(b"one"), send_pieces(END))
    await api.fetch_answer(make_call(upstream.url))
    with pytest.raises(Disconnected):
        await api.fetch_answer(make_call(upstream.url))
    assert len(upstream.requests) == 2
