"""What an upstream's streams do to the caller, the provider and the ledger (fault table U-14 to
U-34).

A stream that did not finish upstream never looks finished: no finish reason, no `[DONE]`, an error
event instead.
"""

import asyncio
import json

import pytest

from providers.database.database_threads import run_in_thread
from providers.models import Provider
from proxysite.testing import rows, speech
from proxysite.testing.upstream import (
    CUT,
    DONE,
    END,
    PAUSE,
    Gate,
    build_event,
    encode_response_head,
    keep_silent,
    send_pieces,
    send_stream,
)

SSE = {"content-type": "text/event-stream"}
HELLO = speech.content_chunks("Hello", " there")
STOP = speech.chat_chunk(finish="stop")
WHOLE = b"".join(build_event(said) for said in (*HELLO, STOP, DONE))


async def settings_of_provider(gateway, **fields):
    await run_in_thread(Provider.objects.update, **fields)
    await gateway.reload_rows()


# --- cut in the middle ----------------------------------------------------------------------------
CUTS = {
    "reset": send_stream(*HELLO, PAUSE, CUT),
    "closed within the chunks": send_stream(*HELLO, PAUSE, END),
    "ended without a finish reason": send_stream(*HELLO, PAUSE),
    "ended with [DONE] only": send_stream(*HELLO, PAUSE, DONE),
    "closed, framed by the close": send_pieces(
        encode_response_head(200, SSE), *map(build_event, HELLO), PAUSE, END
    ),
    "an error event": send_stream(*HELLO, PAUSE, speech.openai_error_body("overloaded")),
    "an error event, then [DONE]": send_stream(
        *HELLO, PAUSE, speech.openai_error_body("overloaded"), DONE
    ),
    "an error in a named event": send_stream(
        *HELLO, PAUSE, b'event: error\ndata: {"message": "overloaded"}\n\n'
    ),
    "an error beside choices": send_stream(
        *HELLO,
        PAUSE,
        speech.chat_chunk({"content": ""}, finish="error", error={"code": 502, "message": "gone"}),
        DONE,
    ),
    "an error as text": send_stream(*HELLO, PAUSE, {"error": "overloaded"}),
    "broken chunk framing": send_pieces(
        encode_response_head(200, SSE | {"transfer-encoding": "chunked"}),
        *(b"%x\r\n%b\r\n" % (len(build_event(said)), build_event(said)) for said in HELLO),
        PAUSE,
        b"zz\r\n",
    ),
    "too many unreadable events": send_stream(
        *HELLO, PAUSE, *[b"data: {nonsense\n\n"] * 50, STOP, DONE
    ),
}


@pytest.mark.parametrize("include_usage", [False, True], ids=["", "usage"])
@pytest.mark.parametrize("how", CUTS)
async def test_a_stream_cut_in_the_middle_never_looks_finished(
    gateway, upstream, alice, token, how, include_usage
):
    upstream.queue_scripts(CUTS[how])
    more = {"stream_options": {"include_usage": True}} if include_usage else {}
    async with gateway.open_stream(alice.key, **more) as reading:
        await reading.read_until(" there")
        upstream.gate.open()
        answer = await reading.read_rest()
    assert answer.text == "Hello there"
    assert answer.stream_error["type"] == "upstream_error"
    assert len(upstream.requests) == 1

    row = await rows.read_only_usage_record()
    assert (row.status, row.error_code) == ("truncated", answer.stream_error["code"])
    assert row.http_status >= 500
    assert row.estimated
    assert row.completion_tokens == 2
    assert [attempt["outcome"] for attempt in row.attempts] == ["cut"]
    after = await gateway.read_token_row(token)
    assert (after.strikes, after.has_cooldown) == (0, False)
    assert gateway.count_failures() == 1


async def test_a_stream_that_stalls_in_the_middle_is_given_up_in_time(
    gateway, upstream, alice, token
):
    await settings_of_provider(gateway, gap_seconds=0.1)
    upstream.queue_scripts(send_stream(*HELLO, Gate()))
    answer = await gateway.request_chat(alice.key, stream=True)
    assert answer.text == "Hello there"
    assert answer.stream_error["code"] == "upstream_timeout"
    row = await rows.read_only_usage_record()
    assert (row.status, row.error_code, row.completion_tokens) == (
        "truncated",
        "upstream_timeout",
        2,
    )
    assert (await gateway.read_token_row(token)).strikes == 0
    assert gateway.count_failures() == 1
    await upstream.last_exchange.wait_until_left()


@pytest.mark.parametrize(
    "drip",
    [
        b": keep-alive\n\n",
        b"\n",
        build_event(speech.chat_chunk() | {"choices": []}),
        build_event(speech.chat_chunk({"content": "x"})),
    ],
    ids=["comments", "blank lines", "empty chunks", "words"],
)
@pytest.mark.parametrize("first", [True, False], ids=["from the start", "after a word"])
async def test_a_stream_that_drips_for_ever_ends_at_the_total_deadline(
    gateway, upstream, alice, drip, first
):
    async def endless(exchange):
        await exchange.send(encode_response_head(200, SSE))
        if not first:
            await exchange.send(build_event(HELLO[0]))
        while not exchange.gateway_left.is_set():
            await exchange.send(drip)
            await asyncio.sleep(0.02)

    await settings_of_provider(gateway, total_seconds=0.3, gap_seconds=0.2, first_byte_seconds=0.25)
    upstream.queue_scripts(endless)
    answer = await gateway.request_chat(alice.key, stream=True)
    if answer.status == 200:
        assert answer.stream_error["code"] == "upstream_timeout"
    else:
        assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    await upstream.last_exchange.wait_until_left()
    assert (await rows.read_only_usage_record()).error_code == "upstream_timeout"


# --- the beginning --------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("said", "status", "code", "strikes", "failures"),
    [
        (speech.openai_error_body("down"), 502, "upstream_failed", 0, 1),
        (speech.openai_error_body("no", code="invalid_api_key"), 503, "no_available_token", 1, 0),
        (
            speech.openai_error_body("slow", kind="rate_limit_error"),
            429,
            "rate_limit_exceeded",
            0,
            0,
        ),
        (
            speech.openai_error_body("too long", code="context_length_exceeded"),
            400,
            "context_length_exceeded",
            0,
            0,
        ),
        (speech.openai_error_body("gone", code="model_not_found"), 404, "model_not_found", 0, 0),
        ({"error": "down"}, 502, "upstream_failed", 0, 1),
        (b'event: error\ndata: {"message": "down"}\n\n', 502, "upstream_failed", 0, 1),
        (DONE, 502, "upstream_disconnected", 0, 1),
        (b": nothing\n\n", 502, "upstream_disconnected", 0, 1),
        (b"", 502, "upstream_disconnected", 0, 1),
        (b"<html>Sign in</html>\n\n", 502, "upstream_disconnected", 0, 1),
    ],
    ids=[
        "error",
        "auth",
        "rate",
        "request",
        "model",
        "text",
        "named",
        "done",
        "comment",
        "nothing",
        "page",
    ],
)
async def test_a_stream_that_begins_with_an_error_keeps_its_status(
    gateway, upstream, alice, token, said, status, code, strikes, failures
):
    upstream.queue_scripts(
        send_stream(said) if said else send_pieces(encode_response_head(200, SSE), END)
    )
    answer = await gateway.request_chat(alice.key, stream=True)
    assert (answer.status, answer.error["code"]) == (status, code)
    assert (await gateway.read_token_row(token)).strikes == strikes
    assert gateway.count_failures() == failures
    row = await rows.read_only_usage_record()
    assert (row.status, row.error_code) == ("error", code)


@pytest.mark.settings(PING_SECONDS=0.03)
async def test_silence_is_filled_with_pings_and_the_answer_still_comes_whole(
    gateway, upstream, alice
):
    gates = Gate(), Gate()
    upstream.queue_scripts(send_stream(gates[0], HELLO[0], gates[1], HELLO[1], STOP, DONE))
    async with gateway.open_stream(alice.key) as reading:
        await reading.read_until(": ping\n\n: ping\n\n")
        assert reading.status == 200
        assert b"data:" not in reading.body
        gates[0].open()
        await reading.read_until("Hello")
        await reading.read_until("\n\n: ping\n\n: ping")
        gates[1].open()
        answer = await reading.read_rest()
    assert answer.is_complete
    assert answer.text == "Hello there"
    assert (await rows.read_only_usage_record()).status == "complete"


@pytest.mark.settings(PING_SECONDS=0.03)
async def test_after_a_ping_a_failure_is_an_error_event(gateway, upstream, alice):
    gate = Gate()
    upstream.queue_scripts(send_stream(gate, speech.openai_error_body("down"), DONE))
    async with gateway.open_stream(alice.key) as reading:
        await reading.read_until(": ping")
        gate.open()
        answer = await reading.read_rest()
    assert answer.stream_error["code"] == "upstream_failed"
    assert (await rows.read_only_usage_record()).status == "error"


@pytest.mark.settings(PING_SECONDS=0.03)
async def test_a_ping_is_no_answer_and_another_token_may_still_give_one(
    gateway, upstream, alice, provider
):
    await run_in_thread(rows.create_tokens, provider, "sk-up-2")
    await gateway.reload_rows()
    gate = Gate()
    upstream.queue_scripts(
        send_stream(gate, speech.openai_error_body("no", code="invalid_api_key"))
    )
    async with gateway.open_stream(alice.key) as reading:
        await reading.read_until(": ping")
        gate.open()
        answer = await reading.read_rest()
    assert answer.is_complete
    assert answer.text == "Hello there!"
    assert len((await rows.read_only_usage_record()).attempts) == 2


# --- the end --------------------------------------------------------------------------------------
ENDS = {
    "no [DONE]": send_stream(*HELLO, STOP),
    "no [DONE], closed": send_stream(*HELLO, STOP, END),
    "reset after the finish reason": send_stream(*HELLO, STOP, PAUSE, CUT),
    "two [DONE]": send_stream(*HELLO, STOP, DONE, DONE),
    "[DONE] with spaces": send_stream(*HELLO, STOP, b"data:  [DONE] \n\n"),
    "[DONE] without a blank line": send_pieces(
        encode_response_head(200, SSE), WHOLE.rstrip(b"\n"), END
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
        b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + WHOLE, END
    ),
    "trailers": send_pieces(
        encode_response_head(200, SSE | {"transfer-encoding": "chunked"})
        + b"%x\r\n%b\r\n0\r\nx: y\r\n\r\n" % (len(WHOLE), WHOLE)
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


# --- bytes ----------------------------------------------------------------------------------------
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
    upstream.queue_scripts(send_pieces(encode_response_head(200, SSE), *pieces, END))
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
        send_pieces(encode_response_head(200, SSE), *[b"data: ", *[b"x" * 2**14] * 32, end], Gate())
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


# --- tool calls -----------------------------------------------------------------------------------
def calls_of(answer):
    """Tool calls as a client puts them together: {index: [ids, name, arguments]}."""
    whole = {}
    for said in answer.events:
        for call in said["choices"][0]["delta"].get("tool_calls") or ():
            ids, names, pieces = whole.setdefault(call["index"], (set(), [], []))
            function = call.get("function") or {}
            ids |= {call["id"]} if call.get("id") else set()
            names += [function["name"]] if function.get("name") else []
            pieces.append(function.get("arguments") or "")
    return {
        index: (ids, "".join(names), "".join(pieces))
        for index, (ids, names, pieces) in whole.items()
    }


def call(**fields):
    return speech.chat_chunk({"tool_calls": [fields]})


async def test_tool_calls_by_turns_keep_apart(gateway, upstream, alice):
    upstream.queue_scripts(
        send_stream(
            call(index=0, id="a", type="function", function={"name": "f", "arguments": ""}),
            call(index=1, id="b", type="function", function={"name": "g", "arguments": ""}),
            call(index=0, function={"arguments": '{"x": "\\u00'}),
            call(index=1, function={"arguments": "{}"}),
            call(index=0, function={"arguments": 'e9"}'}),
            speech.chat_chunk(finish="tool_calls"),
            DONE,
        )
    )
    answer = await gateway.request_chat(alice.key, stream=True)
    assert calls_of(answer) == {0: ({"a"}, "f", '{"x": "\\u00e9"}'), 1: ({"b"}, "g", "{}")}


async def test_tool_calls_without_index_or_id_get_stable_ones(gateway, upstream, alice):
    upstream.queue_scripts(
        send_stream(
            call(function={"name": "f", "arguments": '{"a":'}),
            call(function={"arguments": " 1}"}),
            call(function={"name": "g", "arguments": "{}"}),
            speech.chat_chunk(finish="tool_calls"),
            DONE,
        )
    )
    found = calls_of(await gateway.request_chat(alice.key, stream=True))
    assert [(name, text) for _, name, text in found.values()] == [("f", '{"a": 1}'), ("g", "{}")]
    ids = [next(iter(ids)) for ids, _, _ in found.values()]
    assert all(len(of_call) == 1 for of_call, _, _ in found.values())
    assert len(set(ids)) == 2


async def test_reasoning_is_passed_on_and_counted(gateway, upstream, alice):
    upstream.queue_scripts(
        send_stream(speech.chat_chunk({"reasoning_content": "one two"}), *HELLO, STOP, DONE)
    )
    answer = await gateway.request_chat(alice.key, stream=True)
    assert answer.events[0]["choices"][0]["delta"]["reasoning_content"] == "one two"
    row = await rows.read_only_usage_record()
    assert (row.reasoning_tokens, row.completion_tokens) == (2, 4)


# --- the other stream -----------------------------------------------------------------------------
async def test_a_first_byte_that_does_not_come_is_not_waited_for_longer_than_agreed(
    gateway, upstream, alice
):
    await settings_of_provider(gateway, first_byte_seconds=0.1)
    upstream.queue_scripts(send_pieces(encode_response_head(200, SSE), Gate()))
    answer = await gateway.request_chat(alice.key, stream=True)
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    upstream.queue_scripts(keep_silent)
    answer = await gateway.request_chat(alice.key, stream=True)
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
