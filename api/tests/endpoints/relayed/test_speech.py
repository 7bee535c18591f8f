"""/v1/audio/speech with OpenAI's own client: bytes while they come, and events."""

import httpx
import pytest

from api.tests.endpoints.relayed.relayed_requests import open_client
from api.tests.pricing.price_rows import create_price
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, wait_until_true
from proxysite.testing.upstream import (
    CUT,
    PAUSE,
    encode_chunked,
    encode_response_head,
    send_pieces,
    send_refusal,
    send_reply,
    send_stream,
)

SPEECH = "/v1/audio/speech"
AUDIO = bytes(range(256)) * 400
HEAD = encode_response_head(200, {"content-type": "audio/mpeg", "transfer-encoding": "chunked"})
END = b"0\r\n\r\n"


def send_audio(*pieces):
    """Return a script that sends audio in pieces of unknown number."""
    return send_pieces(HEAD, *map(encode_chunked, pieces), *([] if CUT in pieces else [END]))


async def request_speech(gateway, person, **fields):
    """Ask for a text to be read aloud."""
    body = {"model": "m", "input": "Hello there.", "voice": "alloy"} | fields
    return await gateway.send_request("POST", SPEECH, person.key, json=body)


async def test_speech_is_streamed_to_a_file(gateway, upstream, alice, provider, tmp_path):
    await run_in_thread(
        create_price,
        provider,
        "upstream-model",
        prompt_usd=None,
        completion_usd=None,
        characters_usd="15",
    )
    await gateway.reload_rows()
    upstream.queue_scripts(send_audio(AUDIO[:1000], PAUSE, AUDIO[1000:]))
    async with (
        open_client(gateway, alice) as client,
        client.audio.speech.with_streaming_response.create(
            model="m", input="Hello there.", voice="alloy", response_format="mp3", speed=1.5
        ) as answer,
    ):
        assert answer.headers["content-type"] == "audio/mpeg"
        pieces = answer.iter_bytes()
        first = await anext(pieces)
        upstream.gate.open()  # the first bytes were there before the last were made
        rest = b"".join([piece async for piece in pieces])
    path = tmp_path / "speech.mp3"
    path.write_bytes(first + rest)
    assert path.read_bytes() == AUDIO
    assert upstream.requests[0].json == {
        "model": "upstream-model",
        "input": "Hello there.",
        "voice": "alloy",
        "response_format": "mp3",
        "speed": 1.5,
    }
    row = await rows.read_only_usage_record()
    assert (row.endpoint, row.status) == ("audio/speech", "complete")
    assert row.attempts[0]["units"] == {"characters": 12}
    assert row.cost_micro_usd == 180


async def test_speech_comes_as_events(gateway, upstream, alice):
    usage = {"input_tokens": 4, "output_tokens": 30, "total_tokens": 34}
    upstream.queue_scripts(
        send_stream(
            {"type": "speech.audio.delta", "audio": "AAAA"},
            {"type": "speech.audio.done", "usage": usage},
        )
    )
    answer = await request_speech(gateway, alice, stream_format="sse")
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.body.startswith(b"event: speech.audio.delta\ndata: {")
    assert answer.body.endswith(b"\n\n")
    row = await rows.read_only_usage_record()
    assert (row.stream, row.prompt_tokens, row.completion_tokens) == (True, 4, 30)


async def test_a_failing_token_is_replaced_before_the_first_byte(gateway, upstream, alice, three):
    upstream.queue_scripts(send_refusal(429), send_refusal(500), send_audio(AUDIO))
    answer = await request_speech(gateway, alice)
    assert (answer.status, answer.body) == (200, AUDIO)
    assert [asked.bearer_token for asked in upstream.requests] == ["sk-up-1", "sk-up-2", "sk-up-3"]


async def test_an_error_before_the_first_byte_keeps_its_status(gateway, upstream, alice):
    upstream.queue_scripts(send_refusal(400, "No such voice.", "invalid_value"))
    answer = await request_speech(gateway, alice)
    assert answer.status == 400
    assert answer.error["message"] == "No such voice."
    upstream.queue_scripts(send_reply(b"<html>", content_type="text/html"))
    assert (await request_speech(gateway, alice)).status == 502


@pytest.mark.settings(UPSTREAM_STREAM_BYTES=1_500)
@pytest.mark.parametrize(
    ("end", "code"), [(CUT, "upstream_disconnected"), (AUDIO, "bad_upstream_response")]
)
async def test_speech_that_breaks_off_never_looks_complete(gateway, upstream, alice, end, code):
    upstream.queue_scripts(send_audio(AUDIO[:1000], PAUSE, end))
    headers = {"authorization": f"Bearer {alice.key}"}
    body = {"model": "m", "input": "Hello", "voice": "alloy"}
    async with gateway._http.stream("POST", SPEECH, json=body, headers=headers) as answer:
        pieces = answer.aiter_raw()
        assert await anext(pieces) == AUDIO[:1000]
        upstream.gate.open()
        with pytest.raises(httpx.TransportError):
            await anext(pieces)
    row = await rows.read_only_usage_record()
    assert (row.status, row.error_code) == ("truncated", code)


async def test_a_caller_who_leaves_ends_the_speech(gateway, upstream, alice):
    upstream.queue_scripts(send_audio(AUDIO[:1000], PAUSE, AUDIO))
    headers = {"authorization": f"Bearer {alice.key}"}
    body = {"model": "m", "input": "Hello", "voice": "alloy"}
    async with gateway._http.stream("POST", SPEECH, json=body, headers=headers) as answer:
        assert await anext(answer.aiter_raw()) == AUDIO[:1000]
    await upstream.last_exchange.wait_until_left()
    await wait_until_true(lambda: not gateway.request_tasks)
    row = await rows.read_only_usage_record()
    assert (row.status, row.http_status) == ("abandoned", 499)
    assert row.attempts[0]["units"] == {"characters": 5}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": None}, "input"),
        ({"voice": None}, "voice"),
        ({"speed": 5}, "speed"),
        ({"stream_format": "ogg"}, "stream_format"),
        ({"api_base": "http://elsewhere"}, "api_base"),
    ],
)
async def test_a_wrong_request_is_a_400(gateway, upstream, alice, fields, param):
    answer = await request_speech(gateway, alice, **fields)
    assert (answer.status, answer.error["param"]) == (400, param)
    assert upstream.requests == []
