"""Answers that are kept for an `Idempotency-Key`: how many, how long, and when one cannot be."""

import asyncio

import pytest
from django.db import OperationalError

from api.idempotency import claims
from api.tasks import delete_kept_answers
from api.tests.endpoints.idempotency.keyed_requests import key_header, list_kept_requests
from api.tests.endpoints.late_answers import send_late
from providers.database.database_threads import run_in_thread
from proxysite.testing import wait_until_true
from proxysite.testing.upstream import Gate, answer_honestly


@pytest.mark.settings(IDEMPOTENCY_ANSWER_BYTES=300)
async def test_an_answer_that_is_too_large_is_not_kept_and_says_so(gateway, upstream, alice):
    upstream.set_default_script(answer_honestly("x" * 400))
    for _ in range(2):
        answer = await gateway.request_chat(alice.key, headers=key_header())
        assert (answer.status, answer.headers["idempotent-stored"]) == (200, "false")
    assert len(upstream.requests) == 2
    assert await list_kept_requests() == []


@pytest.mark.settings(IDEMPOTENCY_KEYS_PER_USER=3)
async def test_beyond_the_bound_of_keys_the_oldest_answers_go(gateway, upstream, alice, mallory):
    upstream.set_default_script(answer_honestly("Hello!"))
    await gateway.request_chat(mallory.key, headers=key_header("0"))
    for number in range(6):
        await gateway.request_chat(alice.key, headers=key_header(str(number)))
    found = await list_kept_requests()
    assert [row.key for row in found if row.user_id == alice.user.pk] == ["3", "4", "5"]
    assert [row.key for row in found if row.user_id == mallory.user.pk] == ["0"]


@pytest.mark.settings(IDEMPOTENCY_BYTES_PER_USER=2_000)
async def test_beyond_the_bound_of_bytes_the_oldest_answers_go(gateway, upstream, alice):
    upstream.set_default_script(answer_honestly("x" * 500))
    for number in range(5):
        assert (
            await gateway.request_chat(alice.key, headers=key_header(str(number)))
        ).status == 200
    found = await list_kept_requests()
    assert 1 <= len(found) < 5
    assert sum(row.size_bytes for row in found) <= 2_000
    assert found[-1].key == "4"


async def test_what_has_expired_runs_anew_and_is_deleted(gateway, upstream, alice, settings):
    upstream.set_default_script(answer_honestly("Hello!"))
    settings.IDEMPOTENCY_SECONDS = 0
    await gateway.request_chat(alice.key, headers=key_header())
    settings.IDEMPOTENCY_SECONDS = 86_400
    again = await gateway.request_chat(alice.key, headers=key_header(), temperature=0.5)
    assert (again.status, "idempotent-replayed" in again.headers) == (200, False)
    assert (await gateway.request_chat(alice.key, headers=key_header(), temperature=0.5)).headers[
        "idempotent-replayed"
    ] == "true"
    settings.IDEMPOTENCY_SECONDS = 0
    for number in range(3):
        await gateway.request_chat(alice.key, headers=key_header(f"old-{number}"))
    assert await run_in_thread(delete_kept_answers) == 3
    assert [row.key for row in await list_kept_requests()] == ["k-1"]


def make_keyed_request(person, holder, digest="d"):
    return claims.KeyedRequest(person.user.pk, "k", digest, holder)


def test_a_claim_whose_process_is_dead_can_be_taken_over_once_its_lease_ends(alice, settings):
    settings.IDEMPOTENCY_LEASE_SECONDS = 60
    first = claims.claim_key(make_keyed_request(alice, "one"))
    assert isinstance(first, claims.Claim)
    with pytest.raises(claims.IdempotencyInFlight):
        claims.claim_key(make_keyed_request(alice, "two"))
    settings.IDEMPOTENCY_LEASE_SECONDS = 0
    claims.renew_claims({"one": first.row_id})
    with pytest.raises(claims.IdempotencyKeyReused):
        claims.claim_key(make_keyed_request(alice, "two", digest="another body"))
    second = claims.claim_key(make_keyed_request(alice, "two"))
    assert isinstance(second, claims.Claim)
    assert not claims.store_answer(first, claims.StoredAnswer(200, b"late"))
    claims.release_key(first)
    assert claims.store_answer(second, claims.StoredAnswer(200, b"in time"))
    assert claims.claim_key(make_keyed_request(alice, "three")) == claims.StoredAnswer(
        200, b"in time"
    )


async def test_a_long_request_keeps_its_claim(gateway, upstream, alice, settings):
    settings.IDEMPOTENCY_LEASE_SECONDS = 0.3
    gate = Gate()
    upstream.queue_scripts(send_late(gate, answer_honestly("Hello!")))
    keeping = asyncio.create_task(gateway.inner.idempotency.renew_until_cancelled())
    first = asyncio.create_task(gateway.request_chat(alice.key, headers=key_header()))
    await upstream.wait_for_request()
    [row] = await list_kept_requests()

    async def renewed():
        return (await list_kept_requests())[0].claimed_until > row.claimed_until

    await wait_until_true(renewed)
    gate.open()
    assert (await first).status == 200
    keeping.cancel()
    await asyncio.wait([keeping])


async def test_an_answer_that_cannot_be_kept_goes_out_all_the_same(
    gateway, upstream, alice, monkeypatch
):
    def broken(claim, answer):
        raise OperationalError("away")

    monkeypatch.setattr(claims, "store_answer", broken)
    answer = await gateway.request_chat(alice.key, headers=key_header())
    assert (answer.status, answer.headers["idempotent-stored"]) == (200, "false")


async def test_the_body_and_the_key_pepper_are_not_in_the_row(gateway, upstream, alice):
    await gateway.request_chat(
        alice.key, headers=key_header(), messages=[{"role": "user", "content": "canary"}]
    )
    [row] = await list_kept_requests()
    assert b"canary" not in bytes(row.content)
    assert len(row.digest) == 64
