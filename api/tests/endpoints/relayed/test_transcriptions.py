"""/v1/audio/transcriptions and /v1/audio/translations with OpenAI's own client."""

import json
import warnings

import pytest

from api.tests.endpoints.relayed.relayed_requests import (
    DURATION_USAGE,
    RECORDING,
    TOKEN_USAGE,
    open_client,
    read_form,
    send_form,
)
from api.tests.pricing.price_rows import create_price
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows
from proxysite.testing.upstream import DONE, send_refusal, send_reply, send_stream


async def test_a_recording_is_transcribed(gateway, upstream, alice):
    upstream.queue_scripts(send_reply({"text": "Hello.", "usage": TOKEN_USAGE}))
    async with open_client(gateway, alice) as client:
        answer = await client.audio.transcriptions.create(
            model="m",
            file=("hello.wav", RECORDING, "audio/wav"),
            language="en",
            timestamp_granularities=["word", "segment"],
        )
    assert answer.text == "Hello."
    (asked,) = upstream.requests
    assert asked.path == "/v1/audio/transcriptions"
    assert asked.bearer_token == "sk-up-1"
    assert sorted(read_form(asked), key=str) == sorted(
        [
            ("model", None, None, b"upstream-model"),
            ("file", "hello.wav", "audio/wav", RECORDING),
            ("language", None, None, b"en"),
            ("timestamp_granularities[]", None, None, b"word"),
            ("timestamp_granularities[]", None, None, b"segment"),
        ],
        key=str,
    )
    row = await rows.read_only_usage_record()
    assert (row.endpoint, row.model, row.status) == ("audio/transcriptions", "m", "complete")
    assert (row.prompt_tokens, row.completion_tokens, row.estimated) == (14, 5, False)


@pytest.mark.parametrize("status", [429, 500, 401])
async def test_another_token_gets_the_whole_form_again(gateway, upstream, alice, three, status):
    upstream.queue_scripts(send_refusal(status), send_reply({"text": "Hello."}))
    async with open_client(gateway, alice) as client:
        answer = await client.audio.transcriptions.create(
            model="m", file=("hello.wav", RECORDING * 100, "audio/wav")
        )
    assert answer.text == "Hello."
    first, second = upstream.requests
    assert (first.bearer_token, second.bearer_token) == ("sk-up-1", "sk-up-2")
    assert read_form(first) == read_form(second)
    assert ("file", "hello.wav", "audio/wav", RECORDING * 100) in read_form(second)
    row = await rows.read_only_usage_record()
    assert (row.status, len(row.attempts)) == ("complete", 2)


@pytest.mark.parametrize(
    ("response_format", "content_type", "body", "expected"),
    [
        ("text", "text/plain; charset=utf-8", b"Hello.\n", "Hello.\n"),
        ("srt", "text/plain", b"1\n00:00:00,000 --> 00:00:01,000\nHello.\n", None),
        ("vtt", "text/vtt", b"WEBVTT\n\n00:00.000 --> 00:01.000\nHello.\n", None),
        ("text", "text/plain", b'{"error": "said the recording"}', None),
    ],
)
async def test_texts_come_as_they_are(
    gateway, upstream, alice, response_format, content_type, body, expected
):
    upstream.queue_scripts(send_reply(body, content_type=content_type))
    async with open_client(gateway, alice) as client:
        answer = await client.audio.transcriptions.with_raw_response.create(
            model="m", file=("a.mp3", RECORDING), response_format=response_format
        )
    assert answer.content == body
    assert answer.headers["content-type"] == content_type
    assert answer.headers["x-request-id"].startswith("req_")
    assert expected is None or answer.text == expected
    assert (await rows.read_only_usage_record()).status == "complete"


async def test_the_seconds_of_a_recording_are_charged(gateway, upstream, alice, provider):
    await run_in_thread(
        create_price,
        provider,
        "upstream-model",
        prompt_usd=None,
        completion_usd=None,
        audio_second_usd="0.0001",
    )
    await gateway.reload_rows()
    segments = [{"id": 0, "start": 0, "end": 8.47, "text": "Hello."}]
    verbose = {"task": "transcribe", "language": "english", "duration": 8.47, "text": "Hello."}
    upstream.queue_scripts(
        send_reply(verbose | {"segments": segments}),
        send_reply({"text": "Hello.", "usage": DURATION_USAGE}),
        send_reply({"text": "Hello."}),
    )
    async with open_client(gateway, alice) as client:
        for response_format in ("verbose_json", "json", "json"):
            answer = await client.audio.transcriptions.create(
                model="m", file=("a.mp3", RECORDING), response_format=response_format
            )
            assert answer.text == "Hello."
    found = await rows.read_usage_records()
    assert [row.attempts[0].get("units") for row in found] == [
        {"audio_seconds": 8.47},
        {"audio_seconds": 9.0},
        {"lacks_seconds": True},
    ]
    assert [row.cost_micro_usd for row in found] == [847, 900, None]


async def test_a_transcript_is_streamed(gateway, upstream, alice):
    done = {"type": "transcript.text.done", "text": "Hello there.", "usage": TOKEN_USAGE}
    upstream.queue_scripts(
        send_stream(
            {"type": "transcript.text.delta", "delta": "Hello"},
            upstream.gate,
            {"type": "transcript.text.delta", "delta": " there."},
            done,
        )
    )
    async with open_client(gateway, alice) as client:
        stream = await client.audio.transcriptions.create(
            model="m", file=("a.mp3", RECORDING), stream=True
        )
        first = await anext(stream)
        assert (first.type, first.delta) == ("transcript.text.delta", "Hello")
        upstream.gate.open()
        rest = [event async for event in stream]
    assert [event.type for event in rest] == ["transcript.text.delta", "transcript.text.done"]
    assert ("stream", None, None, b"true") in read_form(upstream.requests[0])
    row = await rows.read_only_usage_record()
    assert (row.stream, row.prompt_tokens, row.completion_tokens) == (True, 14, 5)


async def test_a_stream_in_the_form_of_chat_chunks_is_passed_on(gateway, upstream, alice):
    chunk = {
        "object": "transcription.chunk",
        "model": "upstream-model",
        "choices": [{"delta": {"content": "Hello."}}],
    }
    upstream.queue_scripts(send_stream(chunk, DONE))
    answer = await send_form(gateway, alice, stream="true")
    assert answer.events == [chunk | {"model": "m"}]
    assert answer.is_complete


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (send_stream({"type": "transcript.text.delta", "delta": "Hello"}), "upstream_disconnected"),
        (
            send_stream(
                {"type": "transcript.text.delta", "delta": "Hello"},
                {"type": "error", "error": {"type": "server_error", "message": "broken"}},
            ),
            "upstream_failed",
        ),
    ],
    ids=["cut", "error event"],
)
async def test_a_stream_that_breaks_off_ends_with_an_error(gateway, upstream, alice, script, code):
    upstream.queue_scripts(script)
    answer = await send_form(gateway, alice, stream="true")
    if answer.status == 200:
        last = json.loads(answer.body.rstrip().rpartition(b"data: ")[2])
        assert last["error"]["code"] == code
    else:  # the pieces came in one read
        assert answer.error["code"] == code
    row = await rows.read_only_usage_record()
    assert (row.status, row.error_code) in [("truncated", code), ("error", code)]


async def test_a_recording_is_translated(gateway, upstream, alice):
    upstream.queue_scripts(send_reply({"text": "Hello."}))
    async with open_client(gateway, alice) as client:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            answer = await client.audio.translations.create(model="m", file=("a.mp3", RECORDING))
    assert answer.text == "Hello."
    assert upstream.requests[0].path == "/v1/audio/translations"
    assert (await rows.read_only_usage_record()).endpoint == "audio/translations"
