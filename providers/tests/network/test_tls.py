"""TLS of calls by httpx: the name is proved, and nothing is sent in the clear."""

import asyncio
import ssl

import pytest
import trustme

from providers.exceptions import BadTls
from providers.tests.api_calls import make_call
from proxysite.testing.upstream import send_reply
from proxysite.testing.upstream_server import Upstream


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
