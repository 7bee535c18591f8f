"""Another token or provider is tried only before the first byte, in order and within limits.

P1 one byte out: never asked again; before, at most MAX_ATTEMPTS calls, each with a credential not
yet tried P2 the caller's fault is never retried        P3 a provider's fault touches no token
"""

import asyncio
from datetime import UTC, datetime

import pytest

from providers.database.database_threads import off_loop
from providers.models import ChatModel, Provider
from proxysite.testing import eventually, rows, speech
from proxysite.testing.upstream import (
    CUT,
    DONE,
    END,
    Gate,
    head,
    raw,
    refuse,
    reply,
    say,
    silence,
    stream,
)
from tokens.models import UpstreamToken

STREAMS = pytest.mark.parametrize("streams", [False, True], ids=["whole", "streamed"])
HTML = b"<html>Sign in</html>"


def bearers(upstream):
    return [request.bearer for request in upstream.requests]


# --- before the first byte ------------------------------------------------------------------------
RETRIED = {
    "reset": (raw(CUT), "Disconnected"),
    "closed": (raw(END), "Disconnected"),
    "401": (refuse(401), "AuthRejected"),
    "402": (refuse(402), "QuotaExhausted"),
    "403": (refuse(403), "AuthRejected"),
    "404": (refuse(404), "ModelMissing"),
    "408": (refuse(408), "Contended"),
    "409": (refuse(409), "Contended"),
    "425": (refuse(425), "Contended"),
    "429": (refuse(429), "RateLimited"),
    "500": (refuse(500), "ServerFailed"),
    "503": (refuse(503), "ServerFailed"),
    "a page": (reply(HTML, content_type="text/html"), "BadResponse"),
    "cut JSON": (reply(b'{"choices": ['), "BadResponse"),
    "redirect": (reply(b"", 302, location="/x"), "UnexpectedRedirect"),
    "cut body": (raw(head(200, {"content-length": "100"}), b"{", END), "Disconnected"),
}


@STREAMS
@pytest.mark.parametrize("fault", RETRIED)
async def test_before_the_first_byte_the_next_provider_answers(
    gateway, upstream, alice, second, fault, streams
):
    other, row = second
    script, outcome = RETRIED[fault]
    upstream.will(script)
    answer = await gateway.chat(alice.key, stream=streams)
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert (len(upstream.requests), len(other.requests)) == (1, 1)
    assert other.requests[0].json["model"] == "second-model"
    used = await rows.only_usage()
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
    upstream.will(RETRIED[fault][0])
    answer = await gateway.chat(alice.key, stream=streams)
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert bearers(upstream) == ["sk-up-1", "sk-up-2"]
    used = await rows.only_usage()
    assert [one["token"] for one in used.attempts] == [str(row.pk) for row in three[:2]]
    assert used.token_id == three[1].pk


@STREAMS
@pytest.mark.parametrize("status", [400, 413, 422])
async def test_the_callers_fault_is_asked_once_and_touches_nothing(
    gateway, upstream, alice, three, second, status, streams
):
    other, _ = second
    upstream.will(refuse(status))
    answer = await gateway.chat(alice.key, stream=streams)
    assert answer.status == status
    assert (len(upstream.requests), len(other.requests)) == (1, 0)
    after = await gateway.token(three[0])
    assert (after.strikes, after.resting, after.failures) == (0, False, 0)
    assert gateway.failures() == 0


async def test_after_the_first_byte_nobody_else_is_asked(gateway, upstream, alice, three, second):
    other, _ = second
    upstream.will(stream(*speech.words("Hello"), upstream.gate, CUT))
    async with gateway.reading(alice.key) as reading:
        await reading.until("Hello")
        upstream.gate.open()
        answer = await reading.rest()
    assert answer.stream_error["code"] == "upstream_disconnected"
    assert (len(upstream.requests), len(other.requests)) == (1, 0)


@pytest.mark.settings(MAX_TOKENS_TRIED=4)
@pytest.mark.parametrize(("fault", "attempts"), [("401", 4), ("429", 4), ("500", 3), ("reset", 3)])
async def test_there_are_no_more_attempts_than_allowed_and_no_token_is_tried_twice(
    gateway, upstream, alice, three, provider, fault, attempts
):
    await off_loop(rows.tokens, provider, "sk-up-4", "sk-up-5")
    await gateway.reload()
    upstream.always(RETRIED[fault][0])
    answer = await gateway.chat(alice.key)
    assert answer.status >= 400
    assert bearers(upstream) == [f"sk-up-{number}" for number in range(1, attempts + 1)]
    assert len((await rows.only_usage()).attempts) == attempts


@pytest.mark.settings(MAX_ATTEMPTS=2)
async def test_the_number_of_attempts_is_a_setting(gateway, upstream, alice, three):
    upstream.always(refuse(500))
    assert (await gateway.chat(alice.key)).status == 502
    assert len(upstream.requests) == 2


@STREAMS
async def test_all_attempts_share_one_deadline(gateway, upstream, alice, three, streams):
    await off_loop(Provider.objects.update, total_seconds=0.2, first_byte_seconds=0.15)
    await gateway.reload()
    upstream.always(silence)
    began = asyncio.get_running_loop().time()
    answer = await gateway.chat(alice.key, stream=streams)
    assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
    assert (
        asyncio.get_running_loop().time() - began < 3 * 0.2
    )  # three tokens, each with its own time, would take this
    assert (await rows.only_usage()).status == "error"


async def test_an_upstream_that_sends_nothing_is_given_up_for_another(
    gateway, upstream, alice, second
):
    await off_loop(Provider.objects.filter(name="fake").update, first_byte_seconds=0.1)
    await gateway.reload()
    upstream.will(silence)
    answer = await gateway.chat(alice.key, stream=True)
    assert answer.text == "Hello there!"
    await upstream.last.departure()
    assert (await rows.only_usage()).attempts[0]["outcome"] == "UpstreamTimeout"


async def test_providers_are_asked_by_priority_and_all_of_their_tokens_first(
    gateway, upstream, alice, three, second
):
    other, _ = second
    upstream.always(refuse(401))
    assert (await gateway.chat(alice.key)).status == 200
    assert bearers(upstream) == ["sk-up-1", "sk-up-2", "sk-up-3"]
    assert len(other.requests) == 1
    await off_loop(ChatModel.objects.filter(provider__name="second").update, priority=-1)
    await gateway.reload()
    assert (await gateway.chat(alice.key)).status == 200
    assert len(other.requests) == 2


async def test_every_call_goes_with_the_token_of_its_provider(gateway, upstream, alice, second):
    other, _ = second
    upstream.will(refuse(500))
    await gateway.chat(alice.key)
    assert bearers(upstream) == ["sk-up-1"]
    assert bearers(other) == ["sk-second-1"]


# --- rotation -------------------------------------------------------------------------------------
async def test_tokens_take_turns(gateway, upstream, alice, three):
    for _ in range(6):
        await gateway.chat(alice.key)
    assert bearers(upstream) == ["sk-up-1", "sk-up-2", "sk-up-3"] * 2


async def test_the_token_with_the_best_priority_is_used(gateway, upstream, alice, three, provider):
    def prefer():
        Provider.objects.update(rotation="priority")
        UpstreamToken.objects.update(priority=5)
        UpstreamToken.objects.filter(pk=three[1].pk).update(priority=1)

    await off_loop(prefer)
    await gateway.reload()
    for _ in range(3):
        await gateway.chat(alice.key)
    assert bearers(upstream) == ["sk-up-2"] * 3


# --- strikes --------------------------------------------------------------------------------------
async def test_three_strikes_in_a_row_disable_a_token(gateway, upstream, alice, token):
    for strikes in (1, 2, 3):
        upstream.will(refuse(401, "gone"))
        assert (await gateway.chat(alice.key)).status == 503
        after = await gateway.token(token)
        assert (after.strikes, after.state) == (strikes, "disabled" if strikes == 3 else "active")
    assert "gone" in after.reason
    answer = await gateway.chat(alice.key)
    assert (answer.status, answer.error["code"]) == (503, "no_available_token")
    assert int(answer.headers["retry-after"]) >= 1
    assert len(upstream.requests) == 3
    assert (await rows.usage())[-1].attempts[0]["outcome"] == "skipped"


async def test_a_good_answer_wipes_the_strikes_out(gateway, upstream, alice, token):
    for _ in range(3):
        upstream.will(refuse(401), refuse(401), say())
        assert [(await gateway.chat(alice.key)).status for _ in range(3)] == [503, 503, 200]
        assert (await gateway.token(token)).strikes == 0
    assert (await gateway.token(token)).state == "active"


async def test_a_cut_stream_wipes_no_strikes_out(gateway, upstream, alice, token):
    upstream.will(refuse(401), stream(*speech.words("Hello"), upstream.gate, CUT))
    await gateway.chat(alice.key)
    async with gateway.reading(alice.key) as reading:
        await reading.until("Hello")
        upstream.gate.open()
        await reading.rest()
    assert (await gateway.token(token)).strikes == 1


async def test_counters_are_written(gateway, upstream, alice, token):
    upstream.will(say(), refuse(429))
    for _ in range(2):
        await gateway.chat(alice.key)
    await gateway.restart()
    after = await rows.fresh(token)
    assert (after.requests, after.failures) == (2, 1)
    assert after.last_used_at is not None


@pytest.mark.parametrize("how", ["disabled", "deleted", "expired"])
async def test_a_token_stops_being_used_within_a_second(gateway, upstream, alice, token, how):
    assert (await gateway.chat(alice.key)).status == 200
    mine = UpstreamToken.objects.filter(pk=token.pk)
    change = {
        "disabled": lambda: mine.disable("by hand"),
        "deleted": mine.delete,
        "expired": lambda: mine.update(expires_at=datetime.now(UTC)),
    }
    await off_loop(change[how])

    async def refused():
        return (await gateway.chat(alice.key)).status == 503

    await eventually(refused, 1.0)
    asked = len(upstream.requests)
    code = "no_upstream_token" if how == "deleted" else "no_available_token"
    assert (await gateway.chat(alice.key)).error["code"] == code
    assert len(upstream.requests) == asked


async def test_a_running_stream_outlives_its_token_and_the_next_one_has_another(
    gateway, upstream, alice, three
):
    gate = Gate()
    upstream.will(stream(*speech.words("one"), gate, speech.chunk(finish="stop"), DONE))
    async with gateway.reading(alice.key) as reading:
        await reading.until("one")
        await off_loop(three[0].delete)
        await gateway.reload()
        gate.open()
        assert (await reading.rest()).done
    assert (await rows.only_usage()).status == "complete"
    for _ in range(3):
        await gateway.chat(alice.key)
    assert "sk-up-1" not in bearers(upstream)[1:]


async def test_a_new_token_is_used_within_a_second(gateway, upstream, alice, token, provider):
    await off_loop(token.delete)
    await gateway.reload()
    assert (await gateway.chat(alice.key)).status == 503
    await off_loop(rows.tokens, provider, "sk-new")

    async def answered():
        return (await gateway.chat(alice.key)).status == 200

    await eventually(answered, 1.0)
    assert bearers(upstream) == ["sk-new"]


async def test_a_token_that_cannot_be_opened_is_no_answer_of_the_provider(
    gateway, upstream, alice, three
):
    def swap():
        one, other, _ = UpstreamToken.objects.all()
        UpstreamToken.objects.filter(pk=one.pk).update(sealed=other.sealed)

    await off_loop(swap)
    await gateway.reload()
    answer = await gateway.chat(alice.key)
    assert (answer.status, answer.text) == (200, "Hello there!")
    assert bearers(upstream) == ["sk-up-2"]
    assert gateway.failures() == 0


# --- providers without tokens ---------------------------------------------------------------------
async def test_a_provider_that_needs_no_token_is_asked_without_one(
    gateway, upstream, alice, token, provider
):
    def without():
        token.delete()
        Provider.objects.update(needs_token=False)

    await off_loop(without)
    await gateway.reload()
    assert (await gateway.chat(alice.key)).status == 200
    assert "authorization" not in upstream.requests[0].headers
    assert (await rows.only_usage()).token_id is None
    upstream.always(refuse(500))
    assert (await gateway.chat(alice.key)).status == 502
    assert len(upstream.requests) == 2


async def test_a_provider_without_any_token_is_a_503(gateway, upstream, alice, token):
    await off_loop(token.delete)
    await gateway.reload()
    answer = await gateway.chat(alice.key)
    assert (answer.status, answer.error["code"]) == (503, "no_upstream_token")
    assert upstream.requests == []
    assert (await rows.only_usage()).status == "error"
