"""/v1/audio/transcriptions and /v1/audio/translations with OpenAI's own client."""

import pytest

from api.tests.endpoints.relayed.relayed_requests import (
    RECORDING,
    TOKEN_USAGE,
    open_client,
    read_form,
)
from proxysite.testing import rows
from proxysite.testing.upstream import send_refusal, send_reply


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
