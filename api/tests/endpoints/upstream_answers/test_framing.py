"""Framing that is unusual and allowed, answers that are large or endless."""

import pytest

from api.tests.endpoints.upstream_answers.raw_answers import (
    CHUNKED_HEAD,
    WHOLE_BODY,
    encode_length_head,
)
from proxysite.testing import speech
from proxysite.testing.upstream import END, encode_response_head, send_pieces, send_reply

JSON = {"content-type": "application/json"}
# --- framing that is unusual and allowed ----------------------------------------------------------
ALLOWED = {
    "closed at the end": send_pieces(encode_response_head(200, JSON) + WHOLE_BODY, END),
    "HTTP/1.0": send_pieces(
        b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + WHOLE_BODY, END
    ),
    "after 100 and 103": send_pieces(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n",
        encode_length_head(len(WHOLE_BODY)) + WHOLE_BODY,
    ),
    "chunk extensions": send_pieces(
        CHUNKED_HEAD + b"%x;a=b\r\n%b\r\n0;c\r\n\r\n" % (len(WHOLE_BODY), WHOLE_BODY)
    ),
    "trailers": send_pieces(
        CHUNKED_HEAD + b"%x\r\n%b\r\n0\r\nx-sum: 1\r\n\r\n" % (len(WHOLE_BODY), WHOLE_BODY)
    ),
    "byte by byte": send_pieces(
        *(bytes([byte]) for byte in encode_length_head(len(WHOLE_BODY)) + WHOLE_BODY)
    ),
    "another type": send_reply(WHOLE_BODY, content_type="text/plain"),
    "a BOM": send_reply(b"\xef\xbb\xbf" + WHOLE_BODY),
}


async def test_unusual_framing_is_understood(gateway, upstream, alice, subtests):
    for name, script in ALLOWED.items():
        with subtests.test(script=name):
            upstream.queue_scripts(script)
            answer = await gateway.request_chat(alice.key)
            assert answer.status == 200
            assert answer.text == "Hello there!"
            assert (await gateway.request_chat(alice.key)).status == 200


@pytest.mark.parametrize(
    "extra",
    [b"junk", encode_response_head(200, JSON | {"content-length": "15"}) + b'{"choices": []}'],
)
async def test_bytes_after_an_answer_belong_to_no_answer(gateway, upstream, alice, extra):
    upstream.queue_scripts(send_pieces(encode_length_head(len(WHOLE_BODY)) + WHOLE_BODY + extra))
    first = await gateway.request_chat(alice.key)
    assert (first.status, first.text) == (200, "Hello there!")
    second = await gateway.request_chat(alice.key)
    assert (second.status, second.text) == (200, "Hello there!")
    assert len(upstream.requests) == 2
    assert upstream.connections == 2


# --- getting there --------------------------------------------------------------------------------
async def test_a_large_answer_passes_whole_and_at_once(gateway, upstream, alice):
    upstream.queue_scripts(send_reply(speech.chat_completion("x" * 2**20)))
    assert (await gateway.request_chat(alice.key)).text == "x" * 2**20


@pytest.mark.settings(UPSTREAM_ANSWER_BYTES=2**20)
async def test_an_endless_answer_is_cut_off(gateway, upstream, alice):
    async def endless(exchange):
        await exchange.send(CHUNKED_HEAD)
        while not exchange.gateway_left.is_set():
            await exchange.send(b"10000\r\n" + b" " * 65536 + b"\r\n")

    upstream.queue_scripts(endless)
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (502, "bad_upstream_response")
    await upstream.last_exchange.wait_until_left()
    assert upstream.last_exchange.sent_bytes < 16 * 2**20
