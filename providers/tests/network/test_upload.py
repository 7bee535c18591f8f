"""Bodies from files: sent at the upstream's pace, and no longer than it wants them."""

import asyncio
import io
import time

import pytest

from providers.exceptions import Disconnected, UpstreamTimeout
from providers.network.http_client import RelayClient
from providers.network.target import Target, Timeouts
from providers.network.upload import Upload
from providers.protocol.attempt import Attempt
from proxysite.testing.upstream import END, encode_response_head, send_pieces, send_reply

SIZE = 3_000_000
CONTENT = bytes(range(256)) * (SIZE // 256)


@pytest.fixture
async def client():
    """Return a client whose connections are closed after the test."""
    made = RelayClient()
    yield made
    made.close()


def make_upload(content=CONTENT):
    return Upload(io.BytesIO(content), len(content), b"<start>", b"<end>")


async def send_upload(client, url, upload, seconds=2.0, gap_seconds=2.0):
    """Send an upload, and return status and body of the answer."""
    timeouts = Timeouts(2, 2, gap_seconds, 2, seconds)
    target = Target.from_base_url(url, "x", True, timeouts).with_content_type("text/x-form")
    attempt = Attempt("p", "m", deadline=time.perf_counter() + seconds)
    with await client.send_request("POST", target, b"", upload, attempt) as response:
        return response.status, await response.read_body(SIZE)


@pytest.mark.parametrize("content", [b"", b"x", CONTENT], ids=["empty", "tiny", "large"])
async def test_a_file_is_sent_whole_with_its_length(client, upstream, content):
    upstream.queue_scripts(send_reply(b"ok"), send_reply(b"ok"))
    upload = make_upload(content)
    for _ in range(2):  # the file is read from its beginning each time
        assert await send_upload(client, upstream.url, upload) == (200, b"ok")
    for asked in upstream.requests:
        assert asked.body == b"<start>" + content + b"<end>"
        assert asked.headers["content-type"] == "text/x-form"
    assert upstream.connections == 1  # which is kept


async def serve_reading(reader_script):
    """Return a server that runs `reader_script` for each connection, and its URL."""
    server = await asyncio.start_server(reader_script, "127.0.0.1", 0, limit=2**16)
    return server, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


async def test_an_answer_before_the_end_of_the_body_ends_the_sending(client):
    taken = []

    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        head = encode_response_head(413, {"content-length": "5"})
        writer.write(head + b"large")
        await writer.drain()
        while data := await reader.read(65_536):
            taken.append(len(data))
        writer.close()

    server, url = await serve_reading(refuse)
    async with server:
        huge = make_upload(CONTENT * 30)
        assert await send_upload(client, url, huge) == (413, b"large")
    assert sum(taken) < len(CONTENT) * 30
    assert client._idle_connections == {}  # its request is half sent


async def test_an_upstream_that_stops_reading_is_not_awaited_for_long(client):
    over = asyncio.Event()

    async def stop_reading(reader, writer):
        await over.wait()
        writer.transport.abort()

    server, url = await serve_reading(stop_reading)
    async with server:
        with pytest.raises(UpstreamTimeout) as caught:
            await send_upload(client, url, make_upload(CONTENT * 30), 60, gap_seconds=0.05)
        over.set()
    assert "stopped reading" in caught.value.message


async def test_an_upstream_that_leaves_in_the_middle_is_disconnected(client):
    async def leave(reader, writer):
        await reader.readexactly(100_000)
        writer.transport.abort()

    server, url = await serve_reading(leave)
    async with server:
        with pytest.raises(Disconnected):
            await send_upload(client, url, make_upload(CONTENT * 30))


async def test_a_kept_connection_that_was_closed_is_replaced(client, upstream):
    upstream.queue_scripts(
        send_pieces(encode_response_head(200, {"content-length": "2"}) + b"ok", END),
        send_reply(b"again"),
    )
    assert await send_upload(client, upstream.url, make_upload(b"x")) == (200, b"ok")
    assert await send_upload(client, upstream.url, make_upload()) == (200, b"again")
    assert upstream.requests[-1].body == b"<start>" + CONTENT + b"<end>"
