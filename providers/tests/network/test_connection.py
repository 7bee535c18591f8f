"""One connection to an upstream under answers of every size: it serves the next request as if
nothing had been.
"""

import asyncio
import random
import time

import pytest

from providers.exceptions import BadResponse, Disconnected
from providers.network.connection import HIGH_WATER_BYTES, SLICE_BYTES, Connection
from providers.network.http_client import RelayClient
from providers.network.target import Target, Timeouts
from providers.protocol.attempt import RESEND_REASON, Attempt
from providers.protocol.request import ChatRequest
from providers.protocol.trace import Trace
from proxysite.testing.upstream import END, encode_response_head, send_pieces, send_reply

SIZES = [
    1,
    65_536,
    HIGH_WATER_BYTES - 1,
    HIGH_WATER_BYTES,
    HIGH_WATER_BYTES + 1,
    270_000,
    300_000,
    2 * HIGH_WATER_BYTES,
    1_050_000,
    3_000_000,
]
LIMIT_BYTES = 8_000_000


@pytest.fixture
async def asked(upstream):
    """Asks the upstream over one client; the head of the answer is there."""
    client = RelayClient()
    target = Target.from_base_url(upstream.url, "x", True, Timeouts(2, 2, 2, 2, 2))

    async def ask():
        attempt = Attempt("p", "m", deadline=time.perf_counter() + 2)
        return await client.send_request("POST", target, b"", b"{}", attempt)

    yield ask
    client.close()


async def iterate_pieces(connection):
    """Takes the body from a connection as it arrives, as a stream's reader does."""
    while True:
        if connection.pieces:
            yield connection.take_piece(2)
        elif connection.has_ended:
            return
        else:
            await connection.wait_for_change()


def in_chunks(body, size=50_000):
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return send_pieces(
        encode_response_head(200, {"transfer-encoding": "chunked"}) + framed + b"0\r\n\r\n"
    )


def queue_answers(upstream, size, framing):
    """Queue answers of this size and short ones in turn, and return their lengths."""
    upstream.queue_scripts(
        framing(b"y" * size), send_reply(b"second"), framing(b"z" * size), send_reply(b"fourth")
    )
    return size, 6, size, 6


@pytest.mark.parametrize("framing", [send_reply, in_chunks], ids=["of known length", "chunked"])
@pytest.mark.parametrize("size", SIZES)
async def test_after_a_whole_answer_of_any_size_the_connection_answers_again(
    asked, upstream, size, framing
):
    for length in queue_answers(upstream, size, framing):
        with await asked() as response:
            assert len(await response.read_body(LIMIT_BYTES)) == length
    assert upstream.connections == 1


@pytest.mark.parametrize("framing", [send_reply, in_chunks], ids=["of known length", "chunked"])
@pytest.mark.parametrize("size", SIZES)
async def test_after_a_streamed_answer_of_any_size_the_connection_answers_again(
    asked, upstream, size, framing
):
    for length in queue_answers(upstream, size, framing):
        with await asked() as response:
            pieces = [piece async for piece in iterate_pieces(response.connection)]
            assert len(b"".join(pieces)) == length
    assert upstream.connections == 1


@pytest.mark.parametrize("taken", [0, 1], ids=["nothing read", "a piece read"])
async def test_after_a_big_answer_that_nobody_reads_to_its_end_the_next_one_comes(
    asked, upstream, taken
):
    upstream.queue_scripts(send_reply(b"y" * 1_050_000), send_reply(b"second"))
    with await asked() as response:
        pieces = iterate_pieces(response.connection)
        for _ in range(taken):
            await anext(pieces)
        await pieces.aclose()
    with await asked() as response:
        assert await response.read_body(LIMIT_BYTES) == b"second"


@pytest.mark.parametrize("size", [999, 1_000, 1_001, 300_000])
@pytest.mark.parametrize("framing", [send_reply, in_chunks], ids=["of known length", "chunked"])
async def test_a_limit_holds_also_for_what_comes_with_the_end(asked, upstream, size, framing):
    upstream.queue_scripts(framing(b"y" * size), send_reply(b"second"))
    with await asked() as response:
        if size <= 1_000:
            assert len(await response.read_body(1_000)) == size
        else:
            with pytest.raises(BadResponse, match="longer than 1000 bytes"):
                await response.read_body(1_000)
    with await asked() as response:
        assert await response.read_body(1_000) == b"second"


class Line:
    """A transport that notes whether it reads."""

    def __init__(self):
        self.reading = True

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def close(self):
        self.reading = False

    abort = close


async def test_a_connection_reads_on_when_its_answer_ended_in_the_read_that_filled_it():
    connection, line = Connection(asyncio.get_running_loop()), Line()
    connection.connection_made(line)
    connection.data_received(
        encode_response_head(200, {"content-length": "300000"}) + b"y" * 270_000
    )
    assert not line.reading
    connection.data_received(b"y" * 30_000)
    assert line.reading
    assert connection.is_reusable
    assert len(await connection.read_body(300_000)) == 300_000


async def test_a_paused_connection_is_not_used_again():
    connection, line = Connection(asyncio.get_running_loop()), Line()
    connection.connection_made(line)
    connection.data_received(encode_response_head(200, {"content-length": "2"}) + b"ok")
    assert connection.is_reusable
    connection._is_paused = True
    assert not connection.is_reusable


async def test_a_large_body_comes_in_slices():
    connection, line = Connection(asyncio.get_running_loop()), Line()
    connection.connection_made(line)
    data = random.Random(8).randbytes(3 * SLICE_BYTES + 7)
    connection.data_received(encode_response_head(200, {"content-length": str(len(data))}) + data)
    pieces = [piece async for piece in iterate_pieces(connection)]
    assert b"".join(pieces) == data
    assert [len(piece) for piece in pieces] == [*[SLICE_BYTES] * 3, 7]


# --- sent again -----------------------------------------------------------------------------------
@pytest.fixture
async def kept(upstream, settings):
    """Sends attempts over one client that has kept a connection, which is closed as soon as it is
    used again.
    """
    settings.RESEND_SECONDS = 60
    client = RelayClient()
    target = Target.from_base_url(upstream.url, "x", True, Timeouts(2, 2, 2, 2, 2))

    async def send(attempt):
        return await client.send_request("POST", target, b"", b"{}", attempt)

    upstream.queue_scripts(send_reply(b"first"), send_pieces(END))
    with await send(Attempt("p", "m")) as response:
        await response.read_body(LIMIT_BYTES)
    yield send
    client.close()


async def test_a_request_that_is_sent_again_is_two_calls_of_its_attempt(kept, upstream):
    attempt = Attempt("p", "m")
    with await kept(attempt) as response:
        assert response.status == 200
    attempt.record_end("answered", status=200)
    assert attempt.is_resent
    assert [(call["outcome"], call["reason"]) for call in attempt.as_dicts(0.0)] == [
        ("Disconnected", RESEND_REASON),
        ("answered", ""),
    ]
    assert len(upstream.requests) == 3


async def test_a_request_is_sent_again_once_only(kept, upstream):
    upstream.queue_scripts(send_pieces(END))
    with pytest.raises(Disconnected):
        await kept(Attempt("p", "m"))
    assert len(upstream.requests) == 3


@pytest.mark.parametrize(
    "bound", [{"may_resend": False}, {"claim_call": lambda: False}], ids=["no attempt", "no call"]
)
async def test_a_request_that_has_no_call_left_is_not_sent_again(kept, upstream, bound):
    attempt = Attempt("p", "m", **bound)
    with pytest.raises(Disconnected):
        await kept(attempt)
    assert not attempt.is_resent
    assert len(upstream.requests) == 2


async def test_an_attempt_is_bounded_as_its_request_is():
    request = ChatRequest(id="0" * 32, endpoint="chat/completions", model="m", body={})
    trace = Trace(request, claim_call=lambda: False)
    assert not trace.add_attempt("p", "m").begin_resend()
    assert Trace(request).add_attempt("p", "m").begin_resend()
