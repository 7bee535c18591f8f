"""TLS with upstreams: verified always, and nothing is sent to one that cannot prove who it is
(fault U-3).
"""

import asyncio
import socket
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from proxysite.testing.gateway import build_raw_request
from proxysite.testing.upstream import keep_silent
from proxysite.testing.upstream_server import Upstream

LONG_AGO = datetime.now(UTC) - timedelta(days=60)


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def trusted(authority, tmp_path, monkeypatch):
    """The authority among those that the system trusts; name it before `gateway`."""
    file = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(file)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return authority


def server_side(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


@pytest.fixture
async def serve(gateway):
    """A function that starts an upstream with a certificate and leads the provider to it, under a
    host name.
    """
    started = []

    async def start(certificate, host="127.0.0.1"):
        server = Upstream(tls=server_side(certificate), host=host)
        await server.start()
        started.append(server)
        await run_in_thread(rows.move_all_providers, base_url=server.url)
        await gateway.reload_rows()
        return server

    yield start
    for server in started:
        await server.stop()
        assert not server.failures


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_an_upstream_that_proves_its_name_is_asked(trusted, gateway, serve, alice, host):
    upstream = await serve(trusted.issue_cert(host), host)
    for streams in (False, True, False):
        answer = await gateway.request_chat(alice.key, stream=streams)
        assert (answer.status, answer.text) == (200, "Hello there!")
    assert upstream.connections == 1
    assert upstream.requests[0].bearer_token == "sk-up-1"


CERTIFICATES = {
    "expired": lambda ca: ca.issue_cert(
        "127.0.0.1", not_before=LONG_AGO, not_after=LONG_AGO + timedelta(days=30)
    ),
    "for another name": lambda ca: ca.issue_cert("other.example"),
    "by another authority": lambda ca: trustme.CA().issue_cert("127.0.0.1"),
}


@WHOLE_AND_STREAMED
@pytest.mark.parametrize("kind", CERTIFICATES)
async def test_a_certificate_that_proves_nothing_is_refused(
    trusted, gateway, serve, alice, token, kind, streams
):
    upstream = await serve(CERTIFICATES[kind](trusted))
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert (answer.status, answer.error["type"]) == (502, "upstream_error")
    assert answer.error["code"] == "upstream_tls"
    assert upstream.requests == []
    assert (await gateway.read_token_row(token)).strikes == 0
    assert gateway.count_failures() == 1
    row = await rows.read_only_usage_record()
    assert (row.status, row.error_code) == ("error", "upstream_tls")
    assert row.attempts[0]["outcome"] == "BadTls"
    if kind == "expired":
        assert "expired" in row.attempts[0]["reason"]


async def test_an_upstream_without_tls_is_not_asked_in_the_clear(gateway, alice):
    heard = []

    async def plain(reader, writer):
        heard.append(await reader.read(65_536))
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        await run_in_thread(rows.move_all_providers, base_url=url)
        await gateway.reload_rows()
        answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (502, "upstream_tls")
    assert len(heard) == 1
    assert b"sk-up-1" not in heard[0]


async def test_a_handshake_that_stalls_is_given_up_in_time(gateway, alice, token):
    with socket.create_server(("127.0.0.1", 0)) as mute:  # the kernel accepts, nobody speaks
        url = f"https://127.0.0.1:{mute.getsockname()[1]}/v1"
        await run_in_thread(rows.move_all_providers, base_url=url, connect_seconds=0.1)
        await gateway.reload_rows()
        answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    assert (await gateway.read_token_row(token)).strikes == 0
    assert gateway.count_failures() == 1


async def test_a_caller_that_leaves_frees_an_upstream_over_tls(trusted, gateway, serve, alice):
    upstream = await serve(trusted.issue_cert("127.0.0.1"))
    upstream.queue_scripts(keep_silent)
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key))
        exchange = await upstream.wait_for_request()
        wire.close_connection()
        await exchange.wait_until_left()
