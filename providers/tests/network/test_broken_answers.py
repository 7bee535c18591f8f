"""Broken answers to calls by httpx, and the connections that are kept for the next call."""

import pytest

from providers.exceptions import BadResponse, Disconnected
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
