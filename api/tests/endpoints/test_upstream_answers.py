"""What an upstream's whole answers do to the caller, the token, the provider and the ledger (faults
U-1 to U-14).
"""

import asyncio
import gzip
import json
import socket
from base64 import b64encode
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

from providers.database.database_threads import run_in_thread
from providers.models import Provider
from providers.protocol.attempt import RESEND_REASON
from proxysite.testing import rows, speech
from proxysite.testing.upstream import (
    CUT,
    DONE,
    END,
    Gate,
    Script,
    encode_response_head,
    keep_silent,
    send_pieces,
    send_refusal,
    send_reply,
    send_stream,
)
from proxysite.testing.upstream_server import Upstream

HTML = b"<!DOCTYPE html><html><title>Sign in</title><script>alert(1)</script></html>"
WHOLE = json.dumps(speech.chat_completion()).encode()
JSON = {"content-type": "application/json"}
CHUNKED = encode_response_head(200, JSON | {"transfer-encoding": "chunked"})
STREAMS = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])


@dataclass
class Fault:
    """What the upstream does, and what must come of it: `token` is None (untouched), strike, rest
    or exhaust.
    """

    name: str
    script: Script
    status: int
    code: str
    token: str | None = None
    breaks: bool = False
    kind: str = "upstream_error"


def provider_fault(name, script, status=502, code="bad_upstream_response"):
    return Fault(name, script, status, code, breaks=True)


def refused(name, status, shown, shown_code, token=None, shown_kind="upstream_error", **fields):
    return Fault(name, send_refusal(status, **fields), shown, shown_code, token, kind=shown_kind)


def callers_fault(name, status, shown=None, **fields):
    kind, code = "invalid_request_error", fields.get("code") or "invalid_value"
    return Fault(name, send_refusal(status, **fields), shown or status, code, kind=kind)


def length(number):
    return encode_response_head(200, JSON | {"content-length": str(number)})


QUOTA = "rate_limit_exceeded", "exhaust", "rate_limit_error"
FAULTS = [
    provider_fault("reset instead of an answer", send_pieces(CUT), code="upstream_disconnected"),
    provider_fault("closed instead of an answer", send_pieces(END), code="upstream_disconnected"),
    provider_fault(
        "reset within the head",
        send_pieces(b"HTTP/1.1 200 OK\r\nContent-", CUT),
        code="upstream_disconnected",
    ),
    # the credential
    refused("401", 401, 503, "no_available_token", "strike"),
    refused(
        "401 invalid_api_key", 401, 503, "no_available_token", "strike", code="invalid_api_key"
    ),
    Fault(
        "401 as text",
        send_reply(b"no", 401, content_type="text/plain"),
        503,
        "no_available_token",
        "strike",
    ),
    refused("403", 403, 503, "no_available_token", "strike"),
    refused("402", 402, 429, *QUOTA),
    refused("429 quota", 429, 429, *QUOTA, code="insufficient_quota"),
    refused("429 quota as Moonshot has it", 429, 429, *QUOTA, kind="exceeded_current_quota_error"),
    refused("429", 429, 429, "rate_limit_exceeded", "rest", "rate_limit_error"),
    # the caller
    callers_fault("400", 400),
    callers_fault("400 with a code", 400, code="context_length_exceeded"),
    callers_fault("413", 413),
    callers_fault("422", 422),
    Fault(
        "401 that names a parameter",
        send_reply(
            speech.openai_error_body("bad", "invalid_request_error", param="temperature"), 401
        ),
        *(400, "invalid_value"),
        kind="invalid_request_error",
    ),
    callers_fault("403 about the content", 403, code="content_filter"),
    # the model, the moment
    refused("404", 404, 404, "model_not_found", None, "invalid_request_error"),
    refused("408", 408, 504, "upstream_busy"),
    refused("409", 409, 409, "upstream_busy"),
    refused("425", 425, 503, "upstream_busy"),
    # the provider
    *(
        provider_fault(str(status), send_refusal(status), code="upstream_failed")
        for status in (500, 502, 503, 520, 529)
    ),
    provider_fault("504", send_refusal(504), 504, "upstream_timeout"),
    provider_fault(
        "500 as a page", send_reply(HTML, 500, content_type="text/html"), code="upstream_failed"
    ),
    provider_fault("403 as a page", send_reply(HTML, 403, content_type="text/html")),
    provider_fault(
        "429 overloaded", send_refusal(429, kind="engine_overloaded_error"), code="upstream_failed"
    ),
    provider_fault("a page", send_reply(HTML, content_type="text/html; charset=utf-8")),
    provider_fault("a page called JSON", send_reply(HTML)),
    provider_fault("nothing", send_reply(b"")),
    provider_fault("cut JSON", send_reply(WHOLE[:-5])),
    provider_fault("a list", send_reply([1])),
    provider_fault("a text", send_reply("hello")),
    provider_fault("null", send_reply(None)),
    provider_fault("an empty object", send_reply({})),
    provider_fault("no choices", send_reply(speech.chat_completion() | {"choices": []})),
    provider_fault("choices null", send_reply(speech.chat_completion() | {"choices": None})),
    provider_fault(
        "a choice without message",
        send_reply(speech.chat_completion() | {"choices": [{"index": 0}]}),
    ),
    provider_fault("204", send_pieces(encode_response_head(204, {})), code="bad_upstream_response"),
    provider_fault(
        "an error with status 200",
        send_reply(speech.openai_error_body("down")),
        code="upstream_failed",
    ),
    provider_fault(
        "shorter than announced",
        send_pieces(length(len(WHOLE) + 1) + WHOLE, END),
        code="upstream_disconnected",
    ),
    provider_fault(
        "reset in the body",
        send_pieces(length(len(WHOLE)) + WHOLE[:9], CUT),
        code="upstream_disconnected",
    ),
    provider_fault(
        "no number as length",
        send_pieces(encode_response_head(200, JSON | {"content-length": "many"}) + WHOLE),
    ),
    provider_fault(
        "two lengths",
        send_pieces(
            encode_response_head(200, JSON | {"content-length": "3", "Content-Length": "5"}) + WHOLE
        ),
    ),
    provider_fault("broken chunk", send_pieces(CHUNKED + b"zz\r\n" + WHOLE)),
    provider_fault(
        "cut chunks", send_pieces(CHUNKED + b'4\r\n{"a"\r\n', END), code="upstream_disconnected"
    ),
    provider_fault("no HTTP", send_pieces(b"hello\r\n\r\n")),
    provider_fault("binary", send_pieces(bytes(range(256)))),
    provider_fault(
        "another protocol",
        send_pieces(
            encode_response_head(101, {"upgrade": "websocket", "connection": "upgrade"}), END
        ),
    ),
    provider_fault(
        "an endless head", send_pieces(b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 20_000 + b"\r\n")
    ),
    provider_fault("gzip", send_reply(gzip.compress(WHOLE), content_encoding="gzip")),
    provider_fault("brotli", send_reply(b"\x0b\x02\x80", content_encoding="br")),
    *(
        provider_fault(
            str(status),
            send_reply(b"", status, location="http://127.0.0.1:1/"),
            code="unexpected_redirect",
        )
        for status in (301, 302, 303, 307, 308)
    ),
]


@STREAMS
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
async def test_a_fault_before_the_first_byte(gateway, upstream, alice, token, fault, streams):
    upstream.queue_scripts(fault.script)
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert (answer.status, answer.error["type"], answer.error["code"]) == (
        fault.status,
        fault.kind,
        fault.code,
    )
    assert answer.error["message"]
    assert b"<" not in answer.body
    assert len(upstream.requests) == 1
    if fault.status in (429, 502, 503, 504) and fault.code != "upstream_busy":
        assert int(answer.headers["retry-after"]) >= 1

    row = await rows.read_only_usage_record()
    assert (row.status, row.http_status, row.error_code) == ("error", fault.status, fault.code)
    assert len(row.attempts) == 1
    assert row.attempts[0]["token"] == str(token.pk)
    assert row.attempts[0]["outcome"] not in ("answered", "running", "abandoned")
    assert (row.prompt_tokens, row.completion_tokens) == (0, 0)

    after = await gateway.read_token_row(token)
    assert after.strikes == (fault.token == "strike")
    assert after.has_cooldown == (fault.token in ("rest", "exhaust"))
    assert after.state == ("exhausted" if fault.token == "exhaust" else "active")
    assert gateway.count_failures() == fault.breaks


async def test_an_upstreams_own_words_about_a_bad_request_reach_the_caller(
    gateway, upstream, alice
):
    upstream.queue_scripts(
        send_reply(
            {
                "error": {
                    "message": "Too\nlong <b>",
                    "type": "x",
                    "param": "messages",
                    "code": "too_long",
                }
            },
            400,
        ),
        send_reply({"detail": "no tools here"}, 422),
        send_reply({"object": "error", "message": "vLLM says no", "code": 400}, 400),
        send_reply(b"plain words", 400, content_type="text/plain"),
    )
    answer = await gateway.request_chat(alice.key)
    assert answer.error == {
        "message": "Too long <b>",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "too_long",
    }
    assert (await gateway.request_chat(alice.key)).error["message"] == "no tools here"
    assert (await gateway.request_chat(alice.key)).error["message"] == "vLLM says no"
    assert (await gateway.request_chat(alice.key)).status == 400
    assert len(upstream.requests) == 4


async def test_a_refusal_is_not_to_be_repeated_by_the_client(gateway, upstream, alice):
    for script in (send_refusal(500), send_refusal(400), send_refusal(404)):
        upstream.queue_scripts(script)
        assert (await gateway.request_chat(alice.key)).headers["x-should-retry"] == "false"


@STREAMS
@pytest.mark.parametrize("status", [200, 400, 500])
async def test_the_token_never_shows_even_when_the_upstream_repeats_it(
    gateway, upstream, alice, status, streams
):
    said = speech.openai_error_body(
        "Incorrect API key provided: sk-up-1. Use Bearer sk-up-1", "invalid_request_error"
    )
    upstream.queue_scripts(send_reply(said, status))
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert answer.status >= 400
    assert "sk-up-1" not in answer.body.decode() + str(answer.headers)
    assert "sk-up-1" not in str((await rows.read_only_usage_record()).attempts)


@pytest.mark.parametrize("first", [True, False], ids=["at once", "later"])
async def test_the_token_never_shows_in_an_error_within_a_stream(gateway, upstream, alice, first):
    said = speech.openai_error_body("Incorrect API key provided: sk-up-1.")
    upstream.queue_scripts(send_stream(*([] if first else speech.content_chunks("Hello")), said))
    answer = await gateway.request_chat(alice.key, stream=True)
    assert b"error" in answer.body
    assert b"sk-up-1" not in answer.body
    assert "sk-up-1" not in str((await rows.read_only_usage_record()).attempts)


async def test_a_redirect_is_not_followed(gateway, upstream, alice):
    canary = Upstream()
    await canary.start()
    for status in (301, 302, 303, 307, 308):
        upstream.queue_scripts(send_reply(b"", status, location=f"{canary.url}/chat/completions"))
        assert (await gateway.request_chat(alice.key)).error["code"] in (
            "unexpected_redirect",
            "provider_unavailable",
        )
    await canary.stop()
    assert canary.connections == 0


async def test_a_stream_that_comes_as_one_answer_is_made_a_stream(gateway, upstream, alice):
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    upstream.queue_scripts(
        send_reply(
            speech.chat_completion("Hi.", finish="tool_calls", message={"tool_calls": [call]})
        )
    )
    answer = await gateway.request_chat(
        alice.key, stream=True, stream_options={"include_usage": True}
    )
    assert answer.is_complete
    assert answer.text == "Hi."
    assert answer.events[0]["choices"][0]["delta"]["role"] == "assistant"
    assert {event["object"] for event in answer.events} == {"chat.completion.chunk"}
    assert answer.events[0]["choices"][0]["delta"]["tool_calls"][0]["index"] == 0
    assert answer.finish_reasons == ["tool_calls"]
    assert answer.events[-1]["usage"] == speech.token_usage()
    assert (await rows.read_only_usage_record()).status == "complete"


# --- framing that is unusual and allowed ----------------------------------------------------------
ALLOWED = {
    "closed at the end": send_pieces(encode_response_head(200, JSON) + WHOLE, END),
    "HTTP/1.0": send_pieces(
        b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n" + WHOLE, END
    ),
    "after 100 and 103": send_pieces(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n",
        length(len(WHOLE)) + WHOLE,
    ),
    "chunk extensions": send_pieces(CHUNKED + b"%x;a=b\r\n%b\r\n0;c\r\n\r\n" % (len(WHOLE), WHOLE)),
    "trailers": send_pieces(CHUNKED + b"%x\r\n%b\r\n0\r\nx-sum: 1\r\n\r\n" % (len(WHOLE), WHOLE)),
    "byte by byte": send_pieces(*(bytes([byte]) for byte in length(len(WHOLE)) + WHOLE)),
    "another type": send_reply(WHOLE, content_type="text/plain"),
    "a BOM": send_reply(b"\xef\xbb\xbf" + WHOLE),
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
    upstream.queue_scripts(send_pieces(length(len(WHOLE)) + WHOLE + extra))
    first = await gateway.request_chat(alice.key)
    assert (first.status, first.text) == (200, "Hello there!")
    second = await gateway.request_chat(alice.key)
    assert (second.status, second.text) == (200, "Hello there!")
    assert len(upstream.requests) == 2
    assert upstream.connections == 2


# --- getting there --------------------------------------------------------------------------------
@STREAMS
async def test_a_refused_connection(gateway, alice, provider, token, streams):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    await run_in_thread(rows.move_all_providers, base_url=f"http://127.0.0.1:{port}/v1")
    await gateway.reload_rows()
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert (answer.status, answer.error["code"]) == (502, "upstream_unreachable")
    assert (await gateway.read_token_row(token)).strikes == 0
    assert gateway.count_failures() == 1
    assert (await rows.read_only_usage_record()).error_code == "upstream_unreachable"


async def test_a_connection_that_nobody_accepts_is_given_up_in_time(gateway, alice, token):
    with ExitStack() as stack:
        deaf = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):  # fill what the kernel accepts for it
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(deaf.getsockname())
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
        await run_in_thread(rows.move_all_providers, base_url=url, connect_seconds=0.1)
        await gateway.reload_rows()
        answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    assert (await gateway.read_token_row(token)).strikes == 0
    assert gateway.count_failures() == 1


@pytest.mark.parametrize("name", ["a" * 64 + ".example", "x..example"])
async def test_a_name_that_does_not_resolve(gateway, alice, name):
    await run_in_thread(rows.move_all_providers, base_url=f"https://{name}/v1")
    await gateway.reload_rows()
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (502, "upstream_unreachable")
    assert gateway.count_failures() == 1


async def test_a_private_address_is_not_connected_to_unless_its_provider_allows_that(
    gateway, upstream, alice
):
    await run_in_thread(Provider.objects.update, allow_private=False)
    await gateway.reload_rows()
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (502, "upstream_unreachable")
    assert upstream.connections == 0


@STREAMS
async def test_an_upstream_that_never_answers_is_given_up_in_time(
    gateway, upstream, alice, token, streams
):
    await run_in_thread(
        Provider.objects.update, **{"first_byte_seconds" if streams else "total_seconds": 0.1}
    )
    await gateway.reload_rows()
    upstream.queue_scripts(keep_silent)
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    assert (await gateway.read_token_row(token)).strikes == 0
    assert gateway.count_failures() == 1
    await upstream.last_exchange.wait_until_left()


@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_that_stalls_in_its_body_is_given_up_in_time(
    gateway, upstream, alice, status
):
    await run_in_thread(
        Provider.objects.update, total_seconds=0.2, first_byte_seconds=0.2, gap_seconds=0.2
    )
    await gateway.reload_rows()
    upstream.queue_scripts(
        send_pieces(
            encode_response_head(status, JSON | {"content-length": "1000"}) + WHOLE[:20], Gate()
        )
    )
    answer = await gateway.request_chat(alice.key)
    assert answer.status in (502, 504)
    assert answer.error["code"] in ("upstream_timeout", "upstream_failed")
    await upstream.last_exchange.wait_until_left()


async def test_a_large_answer_passes_whole_and_at_once(gateway, upstream, alice):
    upstream.queue_scripts(send_reply(speech.chat_completion("x" * 2**20)))
    assert (await gateway.request_chat(alice.key)).text == "x" * 2**20


@pytest.mark.settings(UPSTREAM_ANSWER_BYTES=2**20)
async def test_an_endless_answer_is_cut_off(gateway, upstream, alice):
    async def endless(exchange):
        await exchange.send(CHUNKED)
        while not exchange.gateway_left.is_set():
            await exchange.send(b"10000\r\n" + b" " * 65536 + b"\r\n")

    upstream.queue_scripts(endless)
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (502, "bad_upstream_response")
    await upstream.last_exchange.wait_until_left()
    assert upstream.last_exchange.sent_bytes < 16 * 2**20


# --- a stream that nobody asked for ---------------------------------------------------------------
USED = {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}


@pytest.mark.parametrize("kind", ["text/event-stream", "application/json", "text/plain"])
async def test_a_stream_in_answer_to_a_whole_request_becomes_one_whole_answer(
    gateway, upstream, alice, token, kind
):
    events = [
        *speech.streamed_completion("Hello", " there", "!")[:-1],
        speech.usage_chunk(USED),
        DONE,
    ]
    upstream.queue_scripts(send_stream(*events, content_type=kind))
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert answer.json["object"] == "chat.completion"
    assert answer.json["choices"][0]["finish_reason"] == "stop"
    assert answer.json["usage"]["completion_tokens"] == 5
    assert len(upstream.requests) == 1
    assert gateway.count_failures() == 0
    row = await rows.read_only_usage_record()
    assert (row.status, row.prompt_tokens, row.completion_tokens, row.estimated) == (
        "complete",
        3,
        5,
        False,
    )


async def test_a_stream_in_answer_to_a_whole_completion_becomes_one_too(gateway, upstream, alice):
    upstream.queue_scripts(send_stream(*speech.streamed_text_completion("Hello there!"), DONE))
    answer = await gateway.send_request(
        "POST", "/v1/completions", alice.key, json={"model": "m", "prompt": "Hello!"}
    )
    assert answer.status == 200
    assert answer.json["object"] == "text_completion"
    assert answer.json["choices"][0]["text"] == "Hello there!"
    assert gateway.count_failures() == 0


async def test_a_stream_that_breaks_off_is_no_whole_answer(gateway, upstream, alice):
    upstream.queue_scripts(send_stream(*speech.content_chunks("Hello")))
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (502, "upstream_disconnected")


async def test_an_error_in_a_stream_that_nobody_asked_for_means_what_it_says(
    gateway, upstream, alice, token
):
    upstream.queue_scripts(
        send_stream({"error": {"message": "No sk-up-1.", "code": "invalid_api_key"}})
    )
    assert (await gateway.request_chat(alice.key)).status == 503
    assert (await gateway.read_token_row(token)).strikes == 1


@pytest.mark.parametrize(
    "write", [str.upper, lambda text: b64encode(f"Bearer {text}".encode()).decode()]
)
async def test_a_token_that_an_upstream_repeats_in_another_form_is_shown_nowhere(
    gateway, upstream, alice, provider, token, write
):
    await run_in_thread(rows.create_tokens, provider, "sk-canary-abcdef-1234567890")
    await run_in_thread(token.delete)
    await gateway.reload_rows()
    upstream.queue_scripts(send_refusal(400, f"What is {write('sk-canary-abcdef-1234567890')}?"))
    answer = await gateway.request_chat(alice.key)
    assert answer.status == 400
    assert "***" in answer.error["message"]
    shown = answer.body.decode() + str((await rows.read_only_usage_record()).attempts)
    assert write("sk-canary-abcdef-1234567890")[9:] not in shown


# --- kept connections -----------------------------------------------------------------------------
async def test_a_connection_is_used_again(gateway, upstream, alice):
    for streams in (False, True, False, True):
        assert (await gateway.request_chat(alice.key, stream=streams)).status == 200
    assert upstream.connections == 1


@pytest.mark.parametrize("how", [CUT, END], ids=["reset", "closed"])
async def test_a_kept_connection_that_dies_just_as_it_is_used_is_replaced_silently(
    gateway, upstream, alice, token, how
):
    assert (await gateway.request_chat(alice.key)).status == 200
    upstream.queue_scripts(send_pieces(how))
    assert (await gateway.request_chat(alice.key)).status == 200
    assert upstream.connections == 2
    first, second = await rows.read_usage_records()
    assert len(first.attempts) == 1
    assert [(one["outcome"], one["reason"], one["token"]) for one in second.attempts] == [
        ("Disconnected", RESEND_REASON, str(token.pk)),
        ("answered", "", str(token.pk)),
    ]
    assert gateway.count_failures() == 0
    assert (await gateway.read_token_row(token)).failures == 0


@pytest.mark.settings(RESEND_SECONDS=0.05)
async def test_a_kept_connection_that_closes_later_has_cost_an_attempt(
    gateway, upstream, alice, three
):
    """Such an upstream has worked on the request: no credential is asked with it twice."""

    async def close_late(exchange):
        await asyncio.sleep(0.1)  # longer than a request may be sent again
        await exchange.play_pieces(END)

    gate = Gate()
    upstream.set_default_script(
        send_stream(*speech.content_chunks("warm"), gate, speech.chat_chunk(finish="stop"), DONE)
    )
    warm = [asyncio.create_task(gateway.request_chat(alice.key, stream=True)) for _ in range(8)]
    await upstream.wait_for_request(8)
    gate.open()
    assert {answer.status for answer in await asyncio.gather(*warm)} == {200}
    upstream.set_default_script(close_late)
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (502, "upstream_disconnected")
    bearers = [request.bearer_token for request in upstream.requests[8:]]
    assert sorted(bearers) == ["sk-up-1", "sk-up-2", "sk-up-3"]
    assert len((await rows.read_usage_records())[-1].attempts) == 3


async def test_a_connection_that_broke_is_not_used_again(gateway, upstream, alice):
    upstream.queue_scripts(send_pieces(length(5) + b'{"a"', END))
    assert (await gateway.request_chat(alice.key)).status == 502
    assert (await gateway.request_chat(alice.key)).status == 200
    assert upstream.connections == 2
