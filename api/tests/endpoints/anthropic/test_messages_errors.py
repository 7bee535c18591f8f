"""Errors of Anthropic's Messages API: what they cost a token, and what callers get.

P1 an overload is the provider's trouble, a rate limit the token's P2 a request's fault is not
retried P3 a stream without its last event has broken off
"""

import pytest

from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from proxysite.testing.anthropic_speech import (
    PING,
    answer_message,
    make_error,
    make_message,
    send_error,
    send_events,
    stream_message,
    text_block,
)
from proxysite.testing.upstream import CUT, END, send_reply

HELLO = stream_message(make_message(text_block("Hello there!")))
CREDIT = "Your credit balance is too low to access the Anthropic API."
TOO_LONG = "prompt is too long: 210000 tokens > 200000 maximum"


def list_keys(upstream):
    """Return the keys with which the upstream was asked, in their order."""
    return [request.headers["x-api-key"] for request in upstream.requests]


@pytest.fixture
async def second_token(gateway, provider, token):
    """Return the second of two tokens, which the gateway has loaded."""
    (row,) = await run_in_thread(rows.create_tokens, provider, "sk-up-2")
    await gateway.reload_rows()
    return row


# --- tokens ---------------------------------------------------------------------------------------
@WHOLE_AND_STREAMED
async def test_a_rate_limited_token_rests_as_long_as_the_headers_say_and_another_answers(
    gateway, alice, upstream, token, second_token, streams
):
    upstream.queue_scripts(send_error(429, "rate_limit_error", "Too many.", retry_after="77"))
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert answer.text == "Hello there!"
    assert list_keys(upstream) == ["sk-up-1", "sk-up-2"]
    for _ in range(2):
        await gateway.request_chat(alice.key, stream=streams)
    assert list_keys(upstream)[2:] == ["sk-up-2", "sk-up-2"]
    row = await gateway.read_token_row(token)
    assert row.strikes == 0
    attempts = (await rows.read_usage_records())[0].attempts
    assert [attempt["outcome"] for attempt in attempts] == ["RateLimited", "answered"]


async def test_a_token_whose_limit_is_used_up_by_an_answer_rests_too(
    gateway, alice, upstream, token, second_token
):
    used_up = {
        "anthropic_ratelimit_requests_remaining": "0",
        "anthropic_ratelimit_requests_reset": "2099-01-01T00:00:00Z",
    }
    upstream.queue_scripts(send_reply(make_message(text_block("One.")), **used_up))
    for _ in range(3):
        assert (await gateway.request_chat(alice.key)).status == 200
    assert list_keys(upstream) == ["sk-up-1", "sk-up-2", "sk-up-2"]


@WHOLE_AND_STREAMED
async def test_an_overload_is_no_strike_and_another_token_answers(
    gateway, alice, upstream, token, second_token, streams
):
    upstream.queue_scripts(send_error(529, "overloaded_error", "Overloaded"))
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert answer.text == "Hello there!"
    attempts = (await rows.read_only_usage_record()).attempts
    assert [attempt["outcome"] for attempt in attempts] == ["ServerFailed", "answered"]
    assert list_keys(upstream) == ["sk-up-1", "sk-up-2"]
    assert (await gateway.read_token_row(token)).strikes == 0


@pytest.mark.parametrize(
    ("status", "kind", "message", "details", "outcome"),
    [
        (400, "invalid_request_error", CREDIT, {}, "QuotaExhausted"),
        (402, "billing_error", "Pay.", {}, "QuotaExhausted"),
        (
            429,
            "rate_limit_error",
            "Spent.",
            {"error_code": "enforced_spend_limit_reached"},
            "QuotaExhausted",
        ),
        (401, "authentication_error", "invalid x-api-key", {}, "AuthRejected"),
        (403, "permission_error", "No.", {}, "AuthRejected"),
        (404, "not_found_error", "model: claude-opus-4-8", {}, "ModelMissing"),
        (500, "api_error", "Internal server error", {}, "ServerFailed"),
        (504, "timeout_error", "Timeout", {}, "ServerFailed"),
    ],
)
async def test_errors_have_their_consequence(
    gateway, alice, upstream, status, kind, message, details, outcome
):
    upstream.queue_scripts(send_reply(make_error(kind, message, **details), status))
    await gateway.request_chat(alice.key)
    attempts = (await rows.read_only_usage_record()).attempts
    assert attempts[0]["outcome"] == outcome


# --- the request's fault --------------------------------------------------------------------------
async def test_a_bad_request_is_the_callers_and_names_the_field(gateway, alice, upstream, token):
    message = "max_tokens: 999999 > 128000, which is the maximum"
    upstream.queue_scripts(send_error(400, "invalid_request_error", message))
    answer = await gateway.request_chat(alice.key, max_tokens=999_999)
    assert (answer.status, answer.error["message"]) == (400, message)
    assert answer.error["param"] == "max_tokens"
    assert len(upstream.requests) == 1
    assert (await gateway.read_token_row(token)).strikes == 0


async def test_too_long_a_prompt_has_openais_code(gateway, alice, upstream):
    upstream.queue_scripts(send_error(400, "invalid_request_error", TOO_LONG))
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (400, "context_length_exceeded")


async def test_too_large_a_request_keeps_its_status(gateway, alice, upstream):
    upstream.queue_scripts(send_error(413, "request_too_large", "Request exceeds the maximum size"))
    assert (await gateway.request_chat(alice.key)).status == 413


# --- streams --------------------------------------------------------------------------------------
@pytest.mark.parametrize("end", [CUT, END], ids=["reset", "closed"])
@pytest.mark.parametrize("count", [4, len(HELLO) - 1], ids=["in the text", "before the last event"])
async def test_a_stream_without_its_last_event_has_broken_off(gateway, alice, upstream, count, end):
    upstream.queue_scripts(send_events(*HELLO[:count], end))
    answer = await gateway.request_chat(alice.key, stream=True)
    assert answer.stream_error["code"] == "upstream_disconnected"


async def test_an_error_within_a_stream_ends_it(gateway, alice, upstream):
    error = make_error("overloaded_error", "Overloaded")
    upstream.queue_scripts(send_events(*HELLO[:4], error))
    answer = await gateway.request_chat(alice.key, stream=True)
    assert answer.stream_error["message"] == "Overloaded"


async def test_an_error_that_begins_a_stream_is_followed_by_another_token(
    gateway, alice, upstream, second_token
):
    upstream.queue_scripts(send_events(make_error("overloaded_error", "Overloaded")))
    answer = await gateway.request_chat(alice.key, stream=True)
    assert (answer.text, answer.is_complete) == ("Hello there!", True)


async def test_pings_and_unknown_events_are_no_answer_and_no_fault(gateway, alice, upstream):
    new = {"type": "something_new", "index": 0}
    upstream.queue_scripts(send_events(PING, HELLO[0], PING, new, *HELLO[1:]))
    answer = await gateway.request_chat(alice.key, stream=True)
    assert (answer.text, answer.is_complete) == ("Hello there!", True)


async def test_a_whole_answer_that_is_an_error_or_none_is_a_failure(gateway, alice, upstream):
    upstream.queue_scripts(send_reply(make_error("overloaded_error")))
    assert (await gateway.request_chat(alice.key)).status == 502
    upstream.queue_scripts(send_reply({"hello": "world"}))
    assert (await gateway.request_chat(alice.key)).error["code"] == "bad_upstream_response"


async def test_a_whole_body_for_a_streamed_request_is_streamed(gateway, alice, upstream):
    upstream.queue_scripts(send_reply(make_message(text_block("All at once."))))
    answer = await gateway.request_chat(alice.key, stream=True)
    assert (answer.text, answer.is_complete) == ("All at once.", True)


async def test_a_refused_field_is_left_out_and_learnt(gateway, alice, upstream):
    refusal = "`temperature` is deprecated for this model."
    upstream.queue_scripts(
        send_error(400, "invalid_request_error", refusal), answer_message(), answer_message()
    )
    answer = await gateway.request_chat(alice.key, model="m-old", temperature=0.5)
    assert (answer.status, answer.headers["x-proxysite-omitted"]) == (200, "temperature")
    await gateway.request_chat(alice.key, model="m-old", temperature=0.5)
    sent = ["temperature" in request.json for request in upstream.requests]
    assert sent == [True, False, False]
