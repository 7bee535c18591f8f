"""How complete streams end."""

import pytest

from api.tests.endpoints.upstream_streams.streamed_hello import EVENT_STREAM, HELLO, STOP
from proxysite.testing import rows, speech
from proxysite.testing.upstream import (
    CUT,
    DONE,
    END,
    PAUSE,
    Gate,
    build_event,
    encode_response_head,
    send_pieces,
    send_stream,
)

WHOLE_STREAM = b"".join(build_event(said) for said in (*HELLO, STOP, DONE))
ENDS = {
    "no [DONE]": send_stream(*HELLO, STOP),
    "no [DONE], closed": send_stream(*HELLO, STOP, END),
    "reset after the finish reason": send_stream(*HELLO, STOP, PAUSE, CUT),
    "two [DONE]": send_stream(*HELLO, STOP, DONE, DONE),
    "[DONE] with spaces": send_stream(*HELLO, STOP, b"data:  [DONE] \n\n"),
    "[DONE] without a blank line": send_pieces(
        encode_response_head(200, EVENT_STREAM), WHOLE_STREAM.rstrip(b"\n"), END
    ),
    "chunks after [DONE]": send_stream(*HELLO, STOP, DONE, *speech.content_chunks("junk"), STOP),
    "finish reason twice": send_stream(*HELLO, STOP, STOP, DONE),
    "finish reason with the last word": send_stream(
        HELLO[0], speech.chat_chunk({"content": " there"}, finish="stop"), DONE
    ),
    "usage in every chunk": send_stream(
        *(said | {"usage": speech.token_usage()} for said in (*HELLO, STOP)), DONE
    ),
    "usage with the finish reason": send_stream(
        *HELLO, STOP | {"usage": speech.token_usage()}, DONE
    ),
    "empty chunks": send_stream(*HELLO, speech.chat_chunk() | {"choices": []}, STOP, DONE),
    "comments and other fields": send_stream(
        b": hi\nid: 7\nretry: 10\nevent: message\n", *HELLO, b":\n\n", STOP, DONE
    ),
    "a few unreadable events": send_stream(
        HELLO[0], b"data: {nonsense\n\n", b"data: [1]\n\n", HELLO[1], STOP, DONE
    ),
    "delta null": send_stream(
        *HELLO, {"choices": [{"index": 0, "delta": None, "finish_reason": None}]}, STOP, DONE
    ),
    "choices null": send_stream(*HELLO, {"choices": None}, STOP, DONE),
    "another capitalisation of the type": send_stream(
        *HELLO, STOP, DONE, content_type="Text/Event-Stream"
    ),
    "HTTP/1.0": send_pieces(
        b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + WHOLE_STREAM, END
    ),
    "trailers": send_pieces(
        encode_response_head(200, EVENT_STREAM | {"transfer-encoding": "chunked"})
        + b"%x\r\n%b\r\n0\r\nx: y\r\n\r\n" % (len(WHOLE_STREAM), WHOLE_STREAM)
    ),
}


@pytest.mark.parametrize("how", ENDS)
async def test_a_stream_that_said_why_it_finished_is_complete(gateway, upstream, alice, how):
    upstream.gate.open()
    upstream.queue_scripts(ENDS[how])
    answer = await gateway.request_chat(alice.key, stream=True)
    assert answer.status == 200
    assert answer.is_complete
    assert answer.text == "Hello there"
    assert answer.finish_reasons == ["stop"]
    row = await rows.read_only_usage_record()
    assert (row.status, row.error_code) == ("complete", "")
    assert gateway.count_failures() == 0
    assert (await gateway.request_chat(alice.key)).status == 200


@pytest.mark.settings(TAIL_SECONDS=0.1)
async def test_an_upstream_that_does_not_close_after_the_finish_reason_is_not_waited_for(
    gateway, upstream, alice
):
    upstream.queue_scripts(send_stream(*HELLO, STOP, Gate()))
    answer = await gateway.request_chat(alice.key, stream=True)
    assert answer.is_complete
    assert (await rows.read_only_usage_record()).status == "complete"
    await upstream.last_exchange.wait_until_left()


async def test_finish_reasons_are_those_of_openai(gateway, upstream, alice, subtests):
    cases = [
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("eos", "stop"),
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("pause_turn", "length"),
        ("tool_use", "stop"),  # it called nothing
    ]
    for given, shown in cases:
        with subtests.test(given=given, shown=shown):
            upstream.queue_scripts(send_stream(*HELLO, speech.chat_chunk(finish=given), DONE))
            assert (await gateway.request_chat(alice.key, stream=True)).finish_reasons == [shown]
