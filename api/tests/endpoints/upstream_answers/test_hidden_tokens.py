"""Tokens never show, whatever an upstream repeats or wherever it leads to."""

from base64 import b64encode

import pytest

from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech
from proxysite.testing.upstream import send_refusal, send_reply, send_stream
from proxysite.testing.upstream_server import Upstream


@WHOLE_AND_STREAMED
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


# --- a stream that nobody asked for ---------------------------------------------------------------
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
