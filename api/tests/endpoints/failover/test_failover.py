"""Another token or provider is tried only before the first byte, in order and within limits.

P1 one byte out: never asked again; before, at most MAX_ATTEMPTS calls, each with a credential not
yet tried P2 the caller's fault is never retried        P3 a provider's fault touches no token
"""

import pytest

from api.tests.endpoints.chat_messages import list_bearer_tokens
from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from providers.database.database_threads import run_in_thread
from providers.models import ChatModel, Provider
from proxysite.testing import rows, speech
from proxysite.testing.upstream import (
    CUT,
    END,
    encode_response_head,
    keep_silent,
    send_pieces,
    send_refusal,
    send_reply,
    send_stream,
)

HTML = b"<html>Sign in</html>"
RETRIED_FAILURES = {
    "reset": (send_pieces(CUT), "Disconnected"),
    "closed": (send_pieces(END), "Disconnected"),
    "401": (send_refusal(401), "AuthRejected"),
    "402": (send_refusal(402), "QuotaExhausted"),
    "403": (send_refusal(403), "AuthRejected"),
    "404": (send_refusal(404), "ModelMissing"),
    "408": (send_refusal(408), "Contended"),
    "409": (send_refusal(409), "Contended"),
    "425": (send_refusal(425), "Contended"),
    "429": (send_refusal(429), "RateLimited"),
    "500": (send_refusal(500), "ServerFailed"),
    "503": (send_refusal(503), "ServerFailed"),
    "a page": (send_reply(HTML, content_type="text/html"), "BadResponse"),
    "cut JSON": (send_reply(b'{"choices": ['), "BadResponse"),
    "redirect": (send_reply(b"", 302, location="/x"), "UnexpectedRedirect"),
    "cut body": (
        send_pieces(encode_response_head(200, {"content-length": "100"}), b"{", END),
        "Disconnected",
    ),
}


@WHOLE_AND_STREAMED
@pytest.mark.parametrize("fault", RETRIED_FAILURES)
async def test_before_the_first_byte_the_next_provider_answers(
    gateway, upstream, alice, second, fault, streams
):
    other, row = second
    script, outcome = RETRIED_FAILURES[fault]
    upstream.queue_scripts(script)
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert (len(upstream.requests), len(other.requests)) == (1, 1)
    assert other.requests[0].json["model"] == "second-model"
    used = await rows.read_only_usage_record()
    assert (used.status, used.provider_id) == ("complete", row.pk)
    assert [(one["provider"], one["outcome"]) for one in used.attempts] == [
        ("fake", outcome),
        ("second", "answered"),
    ]
    assert used.attempts[0]["reason"]
    assert used.attempts[0]["total_ms"] is not None


@WHOLE_AND_STREAMED
@pytest.mark.parametrize("fault", ["401", "429", "500", "reset"])
async def test_before_the_first_byte_another_token_answers(
    gateway, upstream, alice, three, fault, streams
):
    upstream.queue_scripts(RETRIED_FAILURES[fault][0])
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert list_bearer_tokens(upstream) == ["sk-up-1", "sk-up-2"]
    used = await rows.read_only_usage_record()
    assert [one["token"] for one in used.attempts] == [str(row.pk) for row in three[:2]]
    assert used.token_id == three[1].pk


@WHOLE_AND_STREAMED
@pytest.mark.parametrize("status", [400, 413, 422])
async def test_the_callers_fault_is_asked_once_and_touches_nothing(
    gateway, upstream, alice, three, second, status, streams
):
    other, _ = second
    upstream.queue_scripts(send_refusal(status))
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert answer.status == status
    assert (len(upstream.requests), len(other.requests)) == (1, 0)
    after = await gateway.read_token_row(three[0])
    assert (after.strikes, after.has_cooldown, after.failures) == (0, False, 0)
    assert gateway.count_failures() == 0


async def test_after_the_first_byte_nobody_else_is_asked(gateway, upstream, alice, three, second):
    other, _ = second
    upstream.queue_scripts(send_stream(*speech.content_chunks("Hello"), upstream.gate, CUT))
    async with gateway.open_stream(alice.key) as reading:
        await reading.read_until("Hello")
        upstream.gate.open()
        answer = await reading.read_rest()
    assert answer.stream_error["code"] == "upstream_disconnected"
    assert (len(upstream.requests), len(other.requests)) == (1, 0)


@pytest.mark.settings(MAX_TOKENS_TRIED=4)
@pytest.mark.parametrize(("fault", "attempts"), [("401", 4), ("429", 4), ("500", 3), ("reset", 3)])
async def test_there_are_no_more_attempts_than_allowed_and_no_token_is_tried_twice(
    gateway, upstream, alice, three, provider, fault, attempts
):
    await run_in_thread(rows.create_tokens, provider, "sk-up-4", "sk-up-5")
    await gateway.reload_rows()
    upstream.set_default_script(RETRIED_FAILURES[fault][0])
    answer = await gateway.request_chat(alice.key)
    assert answer.status >= 400
    assert list_bearer_tokens(upstream) == [f"sk-up-{number}" for number in range(1, attempts + 1)]
    assert len((await rows.read_only_usage_record()).attempts) == attempts


@pytest.mark.settings(MAX_ATTEMPTS=2)
async def test_the_number_of_attempts_is_a_setting(gateway, upstream, alice, three):
    upstream.set_default_script(send_refusal(500))
    assert (await gateway.request_chat(alice.key)).status == 502
    assert len(upstream.requests) == 2


@WHOLE_AND_STREAMED
async def test_all_attempts_share_one_deadline(gateway, upstream, alice, three, streams):
    await run_in_thread(Provider.objects.update, total_seconds=0.2, first_byte_seconds=0.15)
    await gateway.reload_rows()
    upstream.set_default_script(keep_silent)
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    assert len(upstream.requests) < 3  # three tokens, each with its own time, would all be asked
    assert (await rows.read_only_usage_record()).status == "error"


async def test_an_upstream_that_sends_nothing_is_given_up_for_another(
    gateway, upstream, alice, second
):
    await run_in_thread(Provider.objects.filter(name="fake").update, first_byte_seconds=0.1)
    await gateway.reload_rows()
    upstream.queue_scripts(keep_silent)
    answer = await gateway.request_chat(alice.key, stream=True)
    assert answer.text == "Hello there!"
    await upstream.last_exchange.wait_until_left()
    assert (await rows.read_only_usage_record()).attempts[0]["outcome"] == "UpstreamTimeout"


async def test_providers_are_asked_by_priority_and_all_of_their_tokens_first(
    gateway, upstream, alice, three, second
):
    other, _ = second
    upstream.set_default_script(send_refusal(401))
    assert (await gateway.request_chat(alice.key)).status == 200
    assert list_bearer_tokens(upstream) == ["sk-up-1", "sk-up-2", "sk-up-3"]
    assert len(other.requests) == 1
    await run_in_thread(ChatModel.objects.filter(provider__name="second").update, priority=-1)
    await gateway.reload_rows()
    assert (await gateway.request_chat(alice.key)).status == 200
    assert len(other.requests) == 2


async def test_every_call_goes_with_the_token_of_its_provider(gateway, upstream, alice, second):
    other, _ = second
    upstream.queue_scripts(send_refusal(500))
    await gateway.request_chat(alice.key)
    assert list_bearer_tokens(upstream) == ["sk-up-1"]
    assert list_bearer_tokens(other) == ["sk-second-1"]
