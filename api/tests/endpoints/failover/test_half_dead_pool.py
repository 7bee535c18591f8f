"""A pool of which most tokens are dead answers whenever one token can; nobody else pays for it."""

import random
from collections import Counter

import pytest

from api.tests.endpoints.failover.half_dead_tokens import (
    add_tokens,
    answer_by_token,
    count_requests_by_token,
    send_many_requests,
)
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, wait_until_true
from proxysite.testing.upstream import answer_honestly, send_refusal
from tokens.models import UpstreamToken

CRASHING_MESSAGES = [{"role": "user", "content": "a prompt that makes the engine crash"}]


# --- failover goes on while it is cheap -----------------------------------------------------------
async def test_a_request_goes_on_past_limited_tokens_to_one_that_answers(
    gateway, upstream, alice, provider
):
    await add_tokens(gateway, provider, *(f"sk-up-{n}" for n in range(2, 6)))
    limited = send_refusal(429, retry_after="1800")
    upstream.set_default_script(answer_by_token({f"sk-up-{n}": limited for n in (1, 2, 3)}))
    answer = await gateway.request_chat(alice.key)
    assert answer.status == 200
    assert sum(count_requests_by_token(upstream).values()) == 4


@pytest.mark.settings(MAX_TOKENS_TRIED=4)
async def test_a_request_that_gave_up_says_so_and_the_next_one_is_answered(
    gateway, upstream, alice, provider
):
    await add_tokens(gateway, provider, *(f"sk-up-{n}" for n in range(2, 8)))
    upstream.set_default_script(
        answer_by_token({f"sk-up-{n}": send_refusal(429, retry_after="1800") for n in range(1, 6)})
    )
    answer = await gateway.request_chat(alice.key)
    assert (answer.status, answer.error["code"]) == (503, "no_token_answered")
    assert (
        "4 of 7 upstream tokens were tried and none answered (4 limited)" in answer.error["message"]
    )
    assert answer.headers["retry-after"] == "1"
    assert (await gateway.request_chat(alice.key)).status == 200


# --- whose fault is it ----------------------------------------------------------------------------
@pytest.mark.parametrize("status", [500, 503, 429, 401, 402])
async def test_one_good_token_of_five_answers_everybody(gateway, upstream, alice, provider, status):
    await add_tokens(gateway, provider, *(f"sk-up-{n}" for n in range(2, 6)))
    upstream.set_default_script(
        answer_by_token({"sk-up-4": answer_honestly("Hello")}, send_refusal(status))
    )
    statuses = await send_many_requests(gateway, alice.key, 100, 100)
    assert Counter(statuses)[200] >= 99
    statuses = await send_many_requests(gateway, alice.key, 50, 10)
    assert Counter(statuses) == {200: 50}
    after = await run_in_thread(lambda: list(UpstreamToken.objects.values_list("state", flat=True)))
    if status >= 500:
        assert "disabled" not in after


async def test_a_token_that_alone_fails_is_left_alone_for_a_growing_time(
    gateway, upstream, alice, three, token
):
    upstream.set_default_script(answer_by_token({"sk-up-1": send_refusal(500)}))
    for _ in range(12):
        assert (await gateway.request_chat(alice.key)).status == 200
    assert count_requests_by_token(upstream)["sk-up-1"] == 1
    after = await gateway.read_token_row(token)
    assert (after.state, after.strikes, after.has_cooldown) == ("failing", 0, True)
    assert after.reason.startswith("failing: ")
    assert gateway.blocked_seconds() is None


@pytest.mark.settings(FAILING_SECONDS=0.1)
async def test_a_token_that_failed_is_used_again_once_it_answers(
    gateway, upstream, alice, three, token
):
    upstream.set_default_script(answer_by_token({"sk-up-1": send_refusal(500)}))
    for _ in range(4):
        assert (await gateway.request_chat(alice.key)).status == 200
    assert (await gateway.read_token_row(token)).state == "failing"
    upstream.set_default_script(answer_honestly("Hello"))

    async def is_used_again():
        await gateway.request_chat(alice.key)
        return (await gateway.read_token_row(token)).state == "active"

    await wait_until_true(is_used_again, 5)


@pytest.mark.settings(BREAKER_SECONDS=60)
async def test_prompts_that_crash_the_upstream_shut_it_for_nobody_else(
    gateway, upstream, alice, mallory, provider
):
    await add_tokens(gateway, provider, *(f"sk-up-{n}" for n in range(2, 20)))

    async def script(exchange):
        await (
            send_refusal(500) if b"crash" in exchange.request.body else answer_honestly("Hello")
        )(exchange)

    upstream.set_default_script(script)
    for _ in range(12):
        assert (await gateway.request_chat(mallory.key, messages=CRASHING_MESSAGES)).status in (
            502,
            503,
        )
        assert (await gateway.request_chat(alice.key)).status == 200
    assert gateway.blocked_seconds() is None
    for _ in range(12):  # and with nobody else's requests in between
        await gateway.request_chat(mallory.key, messages=CRASHING_MESSAGES)
    assert (await gateway.request_chat(alice.key)).status == 200


async def test_one_request_counts_once_however_often_it_was_tried(gateway, upstream, alice, three):
    upstream.set_default_script(send_refusal(500))
    await gateway.request_chat(alice.key)
    assert len(upstream.requests) == 3
    assert gateway.count_failures() == 1


@pytest.mark.settings(BREAKER_SECONDS=30)
async def test_an_outage_is_not_multiplied_and_touches_no_token(gateway, upstream, alice, provider):
    await add_tokens(gateway, provider, *(f"sk-up-{n}" for n in range(2, 31)))
    upstream.set_default_script(send_refusal(503))
    statuses = await send_many_requests(gateway, alice.key, 500, 50)
    assert set(statuses) <= {502, 503}
    assert len(upstream.requests) <= 1.2 * 500
    assert gateway.blocked_seconds() is not None
    await gateway.read_token_row(await run_in_thread(UpstreamToken.objects.first))
    assert (
        await run_in_thread(UpstreamToken.objects.filter(state="active", rests_until=None).count)
        == 30
    )


@pytest.mark.settings(BREAKER_SECONDS=0.2)
async def test_after_an_outage_all_are_answered_again(gateway, upstream, alice, three):
    upstream.set_default_script(send_refusal(503))
    await send_many_requests(gateway, alice.key, 30, 10)
    assert gateway.is_breaker_open()
    upstream.set_default_script(answer_honestly("Hello"))

    async def is_back():
        return (await gateway.request_chat(alice.key)).status == 200

    await wait_until_true(is_back, 5)
    assert Counter(await send_many_requests(gateway, alice.key, 30, 10)) == {200: 30}


async def test_a_limit_of_the_organization_rests_the_provider_not_one_token_after_the_other(
    gateway, upstream, alice, provider
):
    await add_tokens(gateway, provider, *(f"sk-up-{n}" for n in range(2, 51)))
    text = "Rate limit reached for m in organization org-acme1 on requests per min (RPM)."
    upstream.set_default_script(send_refusal(429, text, retry_after="20"))
    answers = [await gateway.request_chat(alice.key) for _ in range(5)]
    assert {answer.status for answer in answers} == {429}
    assert {answer.error["code"] for answer in answers} == {"rate_limit_exceeded"}
    assert all(15 <= int(answer.headers["retry-after"]) <= 21 for answer in answers)
    assert len(upstream.requests) <= 3


@pytest.mark.settings(ONLY_TOKEN_RETRIES=1)
async def test_the_only_credential_is_asked_again_after_a_passing_failure(
    gateway, upstream, alice, token
):
    upstream.queue_scripts(send_refusal(503))
    assert (await gateway.request_chat(alice.key)).status == 200
    used = await rows.read_only_usage_record()
    assert [one["outcome"] for one in used.attempts] == ["ServerFailed", "answered"]


@pytest.mark.settings(ONLY_TOKEN_RETRIES=1)
@pytest.mark.parametrize("status", [400, 401, 429])
async def test_the_only_credential_is_asked_once_when_asking_again_is_in_vain(
    gateway, upstream, alice, token, status
):
    upstream.set_default_script(send_refusal(status))
    await gateway.request_chat(alice.key)
    assert len(upstream.requests) == 1


# --- what must be reached -------------------------------------------------------------------------
async def test_a_pool_with_three_quarters_dead_tokens_answers_nearly_everybody(
    gateway, upstream, alice, provider
):
    draw = random.Random(7)
    secrets = [f"sk-up-{n}" for n in range(2, 201)]
    await add_tokens(gateway, provider, *secrets)
    dead = dict(
        zip(
            draw.sample(["sk-up-1", *secrets], 150),
            (send_refusal(s) for s in [401, 402, 429, 500] * 50),
            strict=False,
        )
    )
    unsteady = set(draw.sample(sorted({"sk-up-1", *secrets} - dead.keys()), 5))

    async def script(exchange):
        bearer = exchange.request.bearer_token
        fails = bearer in unsteady and draw.random() < 0.5
        await dead.get(bearer, send_refusal(500) if fails else answer_honestly("Hello"))(exchange)

    upstream.set_default_script(script)
    first = Counter(await send_many_requests(gateway, alice.key, 100, 100))
    assert first[200] >= 90, first  # nothing is known of any token yet
    then = Counter(await send_many_requests(gateway, alice.key, 400, 50))
    assert then[200] >= 399, then
    often = {
        bearer: times
        for bearer, times in count_requests_by_token(upstream).items()
        if bearer in dead and times > 3
    }
    assert not often
