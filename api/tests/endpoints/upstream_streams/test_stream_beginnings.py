"""How streams begin: with an error, with silence, with nothing."""

import pytest

from api.tests.endpoints.upstream_streams.streamed_hello import (
    EVENT_STREAM,
    HELLO,
    STOP,
    update_providers,
)
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.upstream import (
    DONE,
    END,
    Gate,
    encode_response_head,
    keep_silent,
    send_pieces,
    send_stream,
)


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
        send_stream(said) if said else send_pieces(encode_response_head(200, EVENT_STREAM), END)
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


# --- the other stream -----------------------------------------------------------------------------
async def test_a_first_byte_that_does_not_come_is_not_waited_for_longer_than_agreed(
    gateway, upstream, alice
):
    await update_providers(gateway, first_byte_seconds=0.1)
    upstream.queue_scripts(send_pieces(encode_response_head(200, EVENT_STREAM), Gate()))
    answer = await gateway.request_chat(alice.key, stream=True)
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    upstream.queue_scripts(keep_silent)
    answer = await gateway.request_chat(alice.key, stream=True)
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
