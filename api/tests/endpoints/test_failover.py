"""Another token or provider is tried only before the first byte, in order and within limits.

P1 one byte out: never asked again; before, at most MAX_ATTEMPTS calls, each with a credential not
yet tried P2 the caller's fault is never retried        P3 a provider's fault touches no token
"""

import asyncio
from datetime import UTC, datetime

import pytest

from providers.database.database_threads import run_in_thread
from providers.models import ChatModel, Provider
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.upstream import (
    CUT,
    DONE,
    END,
    Gate,
    answer_honestly,
    encode_response_head,
    keep_silent,
    send_pieces,
    send_refusal,
    send_reply,
    send_stream,
)
from tokens.models import UpstreamToken

STREAMS = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
HTML = b"<html>Sign in</html>"


def bearers(upstream):
    return [request.bearer_token for request in upstream.requests]


# --- before the first byte ------------------------------------------------------------------------
RETRIED = {
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


@STREAMS
@pytest.mark.parametrize("fault", RETRIED)
async def test_before_the_first_byte_the_next_provider_answers(
    gateway, upstream, alice, second, fault, streams
):
    other, row = second
    script, outcome = RETRIED[fault]
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


@STREAMS
@pytest.mark.parametrize("fault", ["401", "429", "500", "reset"])
async def test_before_the_first_byte_another_token_answers(
    gateway, upstream, alice, three, fault, streams
):
    upstream.queue_scripts(RETRIED[fault][0])
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert bearers(upstream) == ["sk-up-1", "sk-up-2"]
    used = await rows.read_only_usage_record()
    assert [one["token"] for one in used.attempts] == [str(row.pk) for row in three[:2]]
    assert used.token_id == three[1].pk


@STREAMS
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
    upstream.set_default_script(RETRIED[fault][0])
    answer = await gateway.request_chat(alice.key)
    assert answer.status >= 400
    assert bearers(upstream) == [f"sk-up-{number}" for number in range(1, attempts + 1)]
    assert len((await rows.read_only_usage_record()).attempts) == attempts


@pytest.mark.settings(MAX_ATTEMPTS=2)
async def test_the_number_of_attempts_is_a_setting(gateway, upstream, alice, three):
    upstream.set_default_script(send_refusal(500))
    assert (await gateway.request_chat(alice.key)).status == 502
    assert len(upstream.requests) == 2


@STREAMS
async def test_all_attempts_share_one_deadline(gateway, upstream, alice, three, streams):
    await run_in_thread(Provider.objects.update, total_seconds=0.2, first_byte_seconds=0.15)
    await gateway.reload_rows()
    upstream.set_default_script(keep_silent)
    began = asyncio.get_running_loop().time()
    answer = await gateway.request_chat(alice.key, stream=streams)
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    assert (
        asyncio.get_running_loop().time() - began < 3 * 0.2
    )  # three tokens, each with its own time, would take this
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
    assert bearers(upstream) == ["sk-up-1", "sk-up-2", "sk-up-3"]
    assert len(other.requests) == 1
    await run_in_thread(ChatModel.objects.filter(provider__name="second").update, priority=-1)
    await gateway.reload_rows()
    assert (await gateway.request_chat(alice.key)).status == 200
    assert len(other.requests) == 2


async def test_every_call_goes_with_the_token_of_its_provider(gateway, upstream, alice, second):
    other, _ = second
    upstream.queue_scripts(send_refusal(500))
    await gateway.request_chat(alice.key)
    assert bearers(upstream) == ["sk-up-1"]
    assert bearers(other) == ["sk-second-1"]


# --- rotation -------------------------------------------------------------------------------------
async def test_tokens_take_turns(gateway, upstream, alice, three):
    for _ in range(6):
        await gateway.request_chat(alice.key)
    assert bearers(upstream) == ["sk-up-1", "sk-up-2", "sk-up-3"] * 2


async def test_the_token_with_the_best_priority_is_used(gateway, upstream, alice, three, provider):
    def prefer():
        Provider.objects.update(rotation="priority")
        UpstreamToken.objects.update(priority=5)
        UpstreamToken.objects.filter(pk=three[1].pk).update(priority=1)

    await run_in_thread(prefer)
    await gateway.reload_rows()
    for _ in range(3):
        await gateway.request_chat(alice.key)
    assert bearers(upstream) == ["sk-up-2"] * 3


# --- strikes --------------------------------------------------------------------------------------
async def test_three_strikes_in_a_row_disable_a_token(gateway, upstream, alice, token):
    for strikes in (1, 2, 3):
        upstream.queue_scripts(send_refusal(401, "gone"))
        assert (await gateway.request_chat(alice.key)).status == 503
        after = await gateway.read_token_row(token)
        assert (after.strikes, after.state) == (strikes, "disabled" if strikes == 3 else "active")
    assert "gone" in after.reason
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (503, "no_available_token")
    assert int(answer.headers["retry-after"]) >= 1
    assert len(upstream.requests) == 3
    assert (await rows.read_usage_records())[-1].attempts[0]["outcome"] == "skipped"


async def test_a_good_answer_wipes_the_strikes_out(gateway, upstream, alice, token):
    for _ in range(3):
        upstream.queue_scripts(send_refusal(401), send_refusal(401), answer_honestly())
        assert [(await gateway.request_chat(alice.key)).status for _ in range(3)] == [503, 503, 200]
        assert (await gateway.read_token_row(token)).strikes == 0
    assert (await gateway.read_token_row(token)).state == "active"


async def test_a_cut_stream_wipes_no_strikes_out(gateway, upstream, alice, token):
    upstream.queue_scripts(
        send_refusal(401), send_stream(*speech.content_chunks("Hello"), upstream.gate, CUT)
    )
    await gateway.request_chat(alice.key)
    async with gateway.open_stream(alice.key) as reading:
        await reading.read_until("Hello")
        upstream.gate.open()
        await reading.read_rest()
    assert (await gateway.read_token_row(token)).strikes == 1


async def test_counters_are_written(gateway, upstream, alice, token):
    upstream.queue_scripts(answer_honestly(), send_refusal(429))
    for _ in range(2):
        await gateway.request_chat(alice.key)
    await gateway.restart_server()
    after = await rows.reload_row(token)
    assert (after.requests, after.failures) == (2, 1)
    assert after.last_used_at is not None


@pytest.mark.parametrize("how", ["disabled", "deleted", "expired"])
async def test_a_token_stops_being_used_within_a_second(gateway, upstream, alice, token, how):
    assert (await gateway.request_chat(alice.key)).status == 200
    mine = UpstreamToken.objects.filter(pk=token.pk)
    change = {
        "disabled": lambda: mine.mark_disabled("by hand"),
        "deleted": mine.delete,
        "expired": lambda: mine.update(expires_at=datetime.now(UTC)),
    }
    await run_in_thread(change[how])

    async def refused():
        return (await gateway.request_chat(alice.key)).status == 503

    await wait_until_true(refused, 1.0)
    asked = len(upstream.requests)
    code = "no_upstream_token" if how == "deleted" else "no_available_token"
    assert (await gateway.request_chat(alice.key)).error["code"] == code
    assert len(upstream.requests) == asked


async def test_a_running_stream_outlives_its_token_and_the_next_one_has_another(
    gateway, upstream, alice, three
):
    gate = Gate()
    upstream.queue_scripts(
        send_stream(*speech.content_chunks("one"), gate, speech.chat_chunk(finish="stop"), DONE)
    )
    async with gateway.open_stream(alice.key) as reading:
        await reading.read_until("one")
        await run_in_thread(three[0].delete)
        await gateway.reload_rows()
        gate.open()
        assert (await reading.read_rest()).is_complete
    assert (await rows.read_only_usage_record()).status == "complete"
    for _ in range(3):
        await gateway.request_chat(alice.key)
    assert "sk-up-1" not in bearers(upstream)[1:]


async def test_a_new_token_is_used_within_a_second(gateway, upstream, alice, token, provider):
    await run_in_thread(token.delete)
    await gateway.reload_rows()
    assert (await gateway.request_chat(alice.key)).status == 503
    await run_in_thread(rows.create_tokens, provider, "sk-new")

    async def answered():
        return (await gateway.request_chat(alice.key)).status == 200

    await wait_until_true(answered, 1.0)
    assert bearers(upstream) == ["sk-new"]


async def test_a_token_that_cannot_be_opened_is_no_answer_of_the_provider(
    gateway, upstream, alice, three
):
    def swap():
        one, other, _ = UpstreamToken.objects.all()
        UpstreamToken.objects.filter(pk=one.pk).update(sealed=other.sealed)

    await run_in_thread(swap)
    await gateway.reload_rows()
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert bearers(upstream) == ["sk-up-2"]
    assert gateway.count_failures() == 0


# --- providers without tokens ---------------------------------------------------------------------
async def test_a_provider_that_needs_no_token_is_asked_without_one(
    gateway, upstream, alice, token, provider
):
    def without():
        token.delete()
        Provider.objects.update(needs_token=False)

    await run_in_thread(without)
    await gateway.reload_rows()
    assert (await gateway.request_chat(alice.key)).status == 200
    assert "authorization" not in upstream.requests[0].headers
    assert (await rows.read_only_usage_record()).token_id is None
    upstream.set_default_script(send_refusal(500))
    assert (await gateway.request_chat(alice.key)).status == 502
    assert len(upstream.requests) == 2


async def test_a_provider_without_any_token_is_a_503(gateway, upstream, alice, token):
    await run_in_thread(token.delete)
    await gateway.reload_rows()
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (503, "no_upstream_token")
    assert upstream.requests == []
    assert (await rows.read_only_usage_record()).status == "error"
