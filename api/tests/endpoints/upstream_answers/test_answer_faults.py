"""What faulty answers of an upstream do to the caller, the token, the provider and the ledger
(faults U-1 to U-14).
"""

import gzip
from dataclasses import dataclass

import pytest

from api.tests.endpoints.upstream_answers.raw_answers import (
    CHUNKED_HEAD,
    WHOLE_BODY,
    encode_length_head,
)
from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from proxysite.testing import rows, speech
from proxysite.testing.upstream import (
    CUT,
    END,
    Script,
    encode_response_head,
    send_pieces,
    send_refusal,
    send_reply,
)

HTML = b"<!DOCTYPE html><html><title>Sign in</title><script>alert(1)</script></html>"
JSON = {"content-type": "application/json"}


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


def make_provider_fault(name, script, status=502, code="bad_upstream_response"):
    return Fault(name, script, status, code, breaks=True)


def make_refusal(
    name, status, shown, shown_code, token=None, shown_kind="upstream_error", **fields
):
    return Fault(name, send_refusal(status, **fields), shown, shown_code, token, kind=shown_kind)


def make_callers_fault(name, status, shown=None, **fields):
    kind, code = "invalid_request_error", fields.get("code") or "invalid_value"
    return Fault(name, send_refusal(status, **fields), shown or status, code, kind=kind)


QUOTA = "rate_limit_exceeded", "exhaust", "rate_limit_error"
FAULTS = [
    make_provider_fault(
        "reset instead of an answer", send_pieces(CUT), code="upstream_disconnected"
    ),
    make_provider_fault(
        "closed instead of an answer", send_pieces(END), code="upstream_disconnected"
    ),
    make_provider_fault(
        "reset within the head",
        send_pieces(b"HTTP/1.1 200 OK\r\nContent-", CUT),
        code="upstream_disconnected",
    ),
    # the credential
    make_refusal("401", 401, 503, "no_available_token", "strike"),
    make_refusal(
        "401 invalid_api_key", 401, 503, "no_available_token", "strike", code="invalid_api_key"
    ),
    Fault(
        "401 as text",
        send_reply(b"no", 401, content_type="text/plain"),
        503,
        "no_available_token",
        "strike",
    ),
    make_refusal("403", 403, 503, "no_available_token", "strike"),
    make_refusal("402", 402, 429, *QUOTA),
    make_refusal("429 quota", 429, 429, *QUOTA, code="insufficient_quota"),
    make_refusal(
        "429 quota as Moonshot has it", 429, 429, *QUOTA, kind="exceeded_current_quota_error"
    ),
    make_refusal("429", 429, 429, "rate_limit_exceeded", "rest", "rate_limit_error"),
    # the caller
    make_callers_fault("400", 400),
    make_callers_fault("400 with a code", 400, code="context_length_exceeded"),
    make_callers_fault("413", 413),
    make_callers_fault("422", 422),
    Fault(
        "401 that names a parameter",
        send_reply(
            speech.openai_error_body("bad", "invalid_request_error", param="temperature"), 401
        ),
        *(400, "invalid_value"),
        kind="invalid_request_error",
    ),
    make_callers_fault("403 about the content", 403, code="content_filter"),
    # the model, the moment
    make_refusal("404", 404, 404, "model_not_found", None, "invalid_request_error"),
    make_refusal("408", 408, 504, "upstream_busy"),
    make_refusal("409", 409, 409, "upstream_busy"),
    make_refusal("425", 425, 503, "upstream_busy"),
    # the provider
    *(
        make_provider_fault(str(status), send_refusal(status), code="upstream_failed")
        for status in (500, 502, 503, 520, 529)
    ),
    make_provider_fault("504", send_refusal(504), 504, "upstream_timeout"),
    make_provider_fault(
        "500 as a page", send_reply(HTML, 500, content_type="text/html"), code="upstream_failed"
    ),
    make_provider_fault("403 as a page", send_reply(HTML, 403, content_type="text/html")),
    make_provider_fault(
        "429 overloaded", send_refusal(429, kind="engine_overloaded_error"), code="upstream_failed"
    ),
    make_provider_fault("a page", send_reply(HTML, content_type="text/html; charset=utf-8")),
    make_provider_fault("a page called JSON", send_reply(HTML)),
    make_provider_fault("nothing", send_reply(b"")),
    make_provider_fault("cut JSON", send_reply(WHOLE_BODY[:-5])),
    make_provider_fault("a list", send_reply([1])),
    make_provider_fault("a text", send_reply("hello")),
    make_provider_fault("null", send_reply(None)),
    make_provider_fault("an empty object", send_reply({})),
    make_provider_fault("no choices", send_reply(speech.chat_completion() | {"choices": []})),
    make_provider_fault("choices null", send_reply(speech.chat_completion() | {"choices": None})),
    make_provider_fault(
        "a choice without message",
        send_reply(speech.chat_completion() | {"choices": [{"index": 0}]}),
    ),
    make_provider_fault(
        "204", send_pieces(encode_response_head(204, {})), code="bad_upstream_response"
    ),
    make_provider_fault(
        "an error with status 200",
        send_reply(speech.openai_error_body("down")),
        code="upstream_failed",
    ),
    make_provider_fault(
        "shorter than announced",
        send_pieces(encode_length_head(len(WHOLE_BODY) + 1) + WHOLE_BODY, END),
        code="upstream_disconnected",
    ),
    make_provider_fault(
        "reset in the body",
        send_pieces(encode_length_head(len(WHOLE_BODY)) + WHOLE_BODY[:9], CUT),
        code="upstream_disconnected",
    ),
    make_provider_fault(
        "no number as length",
        send_pieces(encode_response_head(200, JSON | {"content-length": "many"}) + WHOLE_BODY),
    ),
    make_provider_fault(
        "two lengths",
        send_pieces(
            encode_response_head(200, JSON | {"content-length": "3", "Content-Length": "5"})
            + WHOLE_BODY
        ),
    ),
    make_provider_fault("broken chunk", send_pieces(CHUNKED_HEAD + b"zz\r\n" + WHOLE_BODY)),
    make_provider_fault(
        "cut chunks",
        send_pieces(CHUNKED_HEAD + b'4\r\n{"a"\r\n', END),
        code="upstream_disconnected",
    ),
    make_provider_fault("no HTTP", send_pieces(b"hello\r\n\r\n")),
    make_provider_fault("binary", send_pieces(bytes(range(256)))),
    make_provider_fault(
        "another protocol",
        send_pieces(
            encode_response_head(101, {"upgrade": "websocket", "connection": "upgrade"}), END
        ),
    ),
    make_provider_fault(
        "an endless head", send_pieces(b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 20_000 + b"\r\n")
    ),
    make_provider_fault("gzip", send_reply(gzip.compress(WHOLE_BODY), content_encoding="gzip")),
    make_provider_fault("brotli", send_reply(b"\x0b\x02\x80", content_encoding="br")),
    *(
        make_provider_fault(
            str(status),
            send_reply(b"", status, location="http://127.0.0.1:1/"),
            code="unexpected_redirect",
        )
        for status in (301, 302, 303, 307, 308)
    ),
]


@WHOLE_AND_STREAMED
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
    if fault.code in ("rate_limit_exceeded", "no_available_token"):
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
