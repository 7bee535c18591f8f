"""The bytes of streams: pieces, line ends, sizes, text that is none."""

import json

import pytest

from api.tests.endpoints.upstream_streams.streamed_hello import EVENT_STREAM, STOP
from proxysite.testing import speech
from proxysite.testing.upstream import (
    DONE,
    END,
    Gate,
    build_event,
    encode_response_head,
    send_pieces,
    send_stream,
)

ODD = "a\u2028b\u2029c\u0085d\x0be 🙂 Grüße"
ODD_WHOLE = b"".join(
    b"data: %b\n\n"
    % (said if isinstance(said, bytes) else json.dumps(said, ensure_ascii=False).encode())
    for said in (speech.chat_chunk({"role": "assistant", "content": ODD}), STOP, b"[DONE]")
)
BYTES = {
    "one byte at a time": [ODD_WHOLE[at : at + 1] for at in range(len(ODD_WHOLE))],
    "CRLF": [ODD_WHOLE.replace(b"\n", b"\r\n")],
    "CR": [ODD_WHOLE.replace(b"\n", b"\r")],
    "CR and LF apart": ODD_WHOLE.replace(b"\n", b"\r|\n").split(b"|"),
    "BOM": [b"\xef\xbb\xbf" + ODD_WHOLE],
    "BOM in pieces": [b"\xef", b"\xbb", b"\xbf", ODD_WHOLE],
    "no space after data": [ODD_WHOLE.replace(b"data: ", b"data:")],
    "data in several lines": [ODD_WHOLE.replace(b'"choices"', b'\ndata: "choices"')],
}


@pytest.mark.parametrize("pieces", BYTES.values(), ids=BYTES)
async def test_the_text_is_the_same_however_its_bytes_come(gateway, upstream, alice, pieces):
    upstream.queue_scripts(send_pieces(encode_response_head(200, EVENT_STREAM), *pieces, END))
    answer = await gateway.request_chat(alice.key, stream=True)
    assert answer.is_complete
    assert answer.text == ODD


async def test_invalid_bytes_in_a_stream_become_replacement_characters(gateway, upstream, alice):
    bad = build_event(speech.chat_chunk({"role": "assistant", "content": "a?b"})).replace(
        b"?", b"\xff\xe9"
    )
    surrogate = build_event(speech.chat_chunk({"content": "\ud800"}))
    upstream.queue_scripts(send_stream(bad, surrogate, STOP, DONE))
    answer = await gateway.request_chat(alice.key, stream=True)
    assert answer.is_complete
    assert answer.text == "a\ufffd\ufffdb\ufffd"


@pytest.mark.settings(UPSTREAM_EVENT_BYTES=2**18)
@pytest.mark.parametrize("end", [b"\n\n", b""], ids=["an event", "a line without end"])
async def test_an_event_has_a_size_limit(gateway, upstream, alice, end):
    upstream.queue_scripts(
        send_pieces(
            encode_response_head(200, EVENT_STREAM), *[b"data: ", *[b"x" * 2**14] * 32, end], Gate()
        )
    )
    answer = await gateway.request_chat(alice.key, stream=True)
    assert (answer.status, answer.error["code"]) == (502, "bad_upstream_response")
    await upstream.last_exchange.wait_until_left()


async def test_large_events_pass_whole_and_at_once(gateway, upstream, alice):
    upstream.queue_scripts(
        send_stream(speech.chat_chunk({"role": "assistant", "content": "x" * 2**20}), STOP, DONE)
    )
    answer = await gateway.request_chat(alice.key, stream=True)
    assert answer.is_complete
    assert answer.text == "x" * 2**20


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd"])
async def test_a_compressed_stream_is_refused(gateway, upstream, alice, encoding):
    upstream.queue_scripts(send_stream(b"\x1f\x8b\x08\0", content_encoding=encoding))
    answer = await gateway.request_chat(alice.key, stream=True)
    assert (answer.status, answer.error["code"]) == (502, "bad_upstream_response")
