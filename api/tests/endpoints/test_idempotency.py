"""`Idempotency-Key`: one upstream call and one answer, however often a request is sent."""

import asyncio

import pytest
from django.db import OperationalError

from api.idempotency import claims
from api.models import ApiKey, IdempotentRequest
from api.tasks import delete_kept_answers
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.gateway import HELLO, build_raw_request
from proxysite.testing.upstream import Gate, answer_honestly, send_refusal, send_reply

PATHS = {
    "/v1/chat/completions": {"model": "m", "messages": HELLO},
    "/v1/completions": {"model": "m", "prompt": "Hello"},
    "/v1/embeddings": {"model": "m", "input": "Hello"},
    "/v1/responses": {"model": "m", "input": "Hello"},
}
ANSWERS = {
    "/v1/completions": speech.text_completion("Hello!"),
    "/v1/embeddings": speech.embedding_list([0.5, 0.25]),
}


def keyed(key="k-1"):
    return {"idempotency-key": key}


async def kept():
    return await run_in_thread(lambda: list(IdempotentRequest.objects.order_by("pk")))


@pytest.mark.parametrize("path", PATHS)
async def test_the_same_request_gets_the_same_answer_and_is_asked_once(
    gateway, upstream, alice, path
):
    upstream.set_default_script(
        send_reply(ANSWERS[path]) if path in ANSWERS else answer_honestly("Hello!")
    )
    first = await gateway.send_request("POST", path, alice.key, json=PATHS[path], headers=keyed())
    assert first.status == 200, first.body
    assert not {"idempotent-replayed", "idempotent-stored"} & set(first.headers)
    for _ in range(3):
        again = await gateway.send_request(
            "POST", path, alice.key, json=PATHS[path], headers=keyed()
        )
        assert (again.status, again.body) == (200, first.body)
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["content-type"] == first.headers["content-type"]
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
        assert again.headers["cache-control"] == "no-store"
    assert len(upstream.requests) == 1
    assert len(await rows.read_usage_records()) == 1


async def test_requests_without_a_key_or_with_another_are_asked_each(gateway, upstream, alice):
    upstream.set_default_script(answer_honestly("Hello!"))
    for headers in ({}, {}, keyed("a"), keyed("b"), keyed("A")):
        answer = await gateway.request_chat(alice.key, headers=headers)
        assert (answer.status, "idempotent-replayed" in answer.headers) == (200, False)
    assert len(upstream.requests) == 5


async def test_another_body_or_endpoint_with_the_same_key_is_refused(gateway, upstream, alice):
    upstream.set_default_script(answer_honestly("Hello!"))
    first = await gateway.request_chat(alice.key, headers=keyed())
    other = [
        await gateway.request_chat(alice.key, headers=keyed(), temperature=0.5),
        await gateway.send_request(
            "POST", "/v1/responses", alice.key, json=PATHS["/v1/responses"], headers=keyed()
        ),
    ]
    for refused in other:
        assert (refused.status, refused.error["code"]) == (422, "idempotency_key_reused")
    assert len(upstream.requests) == 1
    assert (await gateway.request_chat(alice.key, headers=keyed())).body == first.body


async def test_while_the_first_runs_the_same_request_is_told_to_wait(gateway, upstream, alice):
    gate = Gate()

    async def late(exchange):
        await gate.wait_until_open()
        await answer_honestly("Hello!")(exchange)

    upstream.queue_scripts(late)
    first = asyncio.create_task(gateway.request_chat(alice.key, headers=keyed()))
    await upstream.wait_for_request()
    for _ in range(3):
        refused = await gateway.request_chat(alice.key, headers=keyed())
        assert (refused.status, refused.error["code"]) == (409, "idempotency_in_flight")
        assert refused.headers["retry-after"] == "1"
    reused = await gateway.request_chat(alice.key, headers=keyed(), temperature=1)
    assert reused.error["code"] == "idempotency_key_reused"
    gate.open()
    answer = await first
    assert answer.status == 200
    assert (await gateway.request_chat(alice.key, headers=keyed())).body == answer.body
    assert len(upstream.requests) == 1


async def test_of_many_at_once_one_is_answered_and_the_others_wait_or_get_its_answer(
    gateway, upstream, alice
):
    upstream.set_default_script(answer_honestly("Hello!"))
    found = await asyncio.gather(
        *(gateway.request_chat(alice.key, headers=keyed()) for _ in range(25))
    )
    assert {answer.status for answer in found} <= {200, 409}
    assert len({answer.body for answer in found if answer.status == 200}) == 1
    assert len(upstream.requests) == 1


async def test_a_key_is_its_users_alone_and_every_key_of_his_has_it(
    gateway, upstream, alice, mallory
):
    upstream.set_default_script(answer_honestly("Hello!"))
    first = await gateway.request_chat(alice.key, headers=keyed())
    other = await gateway.request_chat(mallory.key, headers=keyed())
    assert (other.status, "idempotent-replayed" in other.headers) == (200, False)
    assert other.json["id"] != first.json["id"]
    second = await run_in_thread(rows.create_person, "alice")
    assert (await gateway.request_chat(second.key, headers=keyed())).body == first.body
    assert len(upstream.requests) == 2


FINAL = {
    "refused here": ({"messages": []}, None, 400),
    "an unknown model": ({"model": "nobody"}, None, 404),
    "refused by the upstream": ({}, send_refusal(400, "Too long.", "context_length_exceeded"), 400),
}


@pytest.mark.parametrize("case", FINAL)
async def test_an_error_of_the_request_itself_is_kept(gateway, upstream, alice, case):
    body, script, status = FINAL[case]
    if script is not None:
        upstream.queue_scripts(script)
    first = await gateway.request_chat(alice.key, headers=keyed(), **body)
    asked = len(upstream.requests)
    again = await gateway.request_chat(alice.key, headers=keyed(), **body)
    assert (first.status, again.status) == (status, status)
    assert (again.body, again.headers["idempotent-replayed"]) == (first.body, "true")
    assert len(upstream.requests) == asked


@pytest.mark.parametrize("status", [429, 500, 503], ids=str)
@pytest.mark.settings(MAX_ATTEMPTS=1, REST_SECONDS=0.01, MAX_REST_SECONDS=0.02)
async def test_an_error_that_may_pass_is_not_kept_and_the_next_try_may_succeed(
    gateway, upstream, alice, status
):
    upstream.queue_scripts(send_refusal(status))
    assert (await gateway.request_chat(alice.key, headers=keyed())).status >= 429
    await wait_until_true(lambda: is_empty(IdempotentRequest))

    async def answered():
        answer = await gateway.request_chat(alice.key, headers=keyed())
        return answer.status == 200 and "idempotent-replayed" not in answer.headers

    await wait_until_true(answered)
    assert (await gateway.request_chat(alice.key, headers=keyed())).headers[
        "idempotent-replayed"
    ] == "true"


async def is_empty(model):
    return not await run_in_thread(model.objects.exists)


async def test_a_streamed_request_ignores_the_key(gateway, upstream, alice):
    upstream.set_default_script(answer_honestly("Hello!"))
    for _ in range(2):
        answer = await gateway.request_chat(alice.key, headers=keyed("x" * 999), stream=True)
        assert (answer.status, answer.is_complete) == (200, True)
    assert len(upstream.requests) == 2
    assert await kept() == []


async def test_a_key_that_is_none_is_refused(gateway, upstream, alice, subtests):
    for key in ["", "x" * 256, "ü", "a\tb"]:
        with subtests.test(key=key):
            raw = build_raw_request(alice.key, headers=f"Idempotency-Key: {key}\r\n")
            async with gateway.open_bare_connection() as wire:
                await wire.send(raw)
                answer = await wire.receive_answer()
            assert (answer.status, answer.error["code"]) == (400, "invalid_idempotency_key")
            assert upstream.requests == []


async def test_a_caller_without_a_valid_key_is_refused_as_ever(gateway, upstream, alice):
    assert (await gateway.request_chat("sk-ps-wrong", headers=keyed())).error[
        "code"
    ] == "invalid_api_key"
    assert (await gateway.request_chat(None, headers=keyed())).status == 401
    bad = await gateway.send_request(
        "POST", "/v1/chat/completions", alice.key, content=b"{", headers=keyed()
    )
    assert bad.status in (400, 415)
    assert await kept() == []


# --- who leaves, and who may not store ------------------------------------------------------------
async def leave_in_the_middle(gateway, upstream, key):
    """A caller sends a request with a key and leaves while the upstream answers; returns the
    upstream's gate.
    """
    gate = Gate()

    async def late(exchange):
        await gate.wait_until_open()
        await answer_honestly("Hello!")(exchange)

    upstream.queue_scripts(late)
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(key, headers="Idempotency-Key: k-1\r\n"))
        await upstream.wait_for_request()
    return gate


async def test_the_answer_is_finished_for_a_caller_who_left_and_asks_again(
    gateway, upstream, alice
):
    gate = await leave_in_the_middle(gateway, upstream, alice.key)
    await wait_until_true(lambda: gateway.inner.idempotency._callerless_tasks)
    assert gateway.inner.requests_in_flight == 1
    gate.open()

    async def answered():
        answer = await gateway.send_request(
            "POST", "/v1/chat/completions", alice.key, content=body_of(alice), headers=JSON
        )
        assert answer.status in (200, 409)
        return answer.status == 200 and answer.headers["idempotent-replayed"] == "true"

    await wait_until_true(answered)
    assert len(upstream.requests) == 1
    assert (await rows.read_only_usage_record()).status == "complete"
    await wait_until_true(lambda: gateway.inner.requests_in_flight == 0)


JSON = {"content-type": "application/json", "idempotency-key": "k-1"}


def body_of(person):
    return build_raw_request(person.key).split(b"\r\n\r\n", 1)[1]


async def no_storing(person):
    await run_in_thread(ApiKey.objects.filter(pk=person.row.pk).update, stores_content=False)


async def test_a_key_that_may_not_store_is_protected_only_while_the_request_runs(
    gateway, upstream, alice
):
    await no_storing(alice)
    await gateway.reload_rows()
    gate = Gate()

    async def late(exchange):
        await gate.wait_until_open()
        await answer_honestly("Hello!")(exchange)

    upstream.queue_scripts(late)
    first = asyncio.create_task(gateway.request_chat(alice.key, headers=keyed()))
    await upstream.wait_for_request()
    assert (await gateway.request_chat(alice.key, headers=keyed())).error[
        "code"
    ] == "idempotency_in_flight"
    [row] = await kept()
    assert (row.content, row.status) == (None, None)
    gate.open()
    assert (await first).status == 200
    await wait_until_true(lambda: is_empty(IdempotentRequest))
    again = await gateway.request_chat(alice.key, headers=keyed())
    assert (again.status, "idempotent-replayed" in again.headers) == (200, False)
    await wait_until_true(lambda: is_empty(IdempotentRequest))


async def test_the_work_of_a_key_that_may_not_store_ends_when_its_caller_leaves(
    gateway, upstream, alice
):
    await no_storing(alice)
    await gateway.reload_rows()
    gate = await leave_in_the_middle(gateway, upstream, alice.key)
    await wait_until_true(lambda: is_empty(IdempotentRequest))
    assert (await rows.read_only_usage_record()).status == "abandoned"
    gate.open()


async def test_at_the_end_of_the_server_a_claim_is_released(gateway, upstream, alice, settings):
    settings.GRACE_SECONDS = 0.2
    await leave_in_the_middle(gateway, upstream, alice.key)
    await wait_until_true(lambda: gateway.inner.idempotency._callerless_tasks)
    await gateway.inner.idempotency.stop_tasks(0.05)
    assert await kept() == []
    assert gateway.inner.requests_in_flight == 0


# --- bounds, leases, faults -----------------------------------------------------------------------
@pytest.mark.settings(IDEMPOTENCY_ANSWER_BYTES=300)
async def test_an_answer_that_is_too_large_is_not_kept_and_says_so(gateway, upstream, alice):
    upstream.set_default_script(answer_honestly("x" * 400))
    for _ in range(2):
        answer = await gateway.request_chat(alice.key, headers=keyed())
        assert (answer.status, answer.headers["idempotent-stored"]) == (200, "false")
    assert len(upstream.requests) == 2
    assert await kept() == []


@pytest.mark.settings(IDEMPOTENCY_KEYS_PER_USER=3)
async def test_beyond_the_bound_of_keys_the_oldest_answers_go(gateway, upstream, alice, mallory):
    upstream.set_default_script(answer_honestly("Hello!"))
    await gateway.request_chat(mallory.key, headers=keyed("0"))
    for number in range(6):
        await gateway.request_chat(alice.key, headers=keyed(str(number)))
    found = await kept()
    assert [row.key for row in found if row.user_id == alice.user.pk] == ["3", "4", "5"]
    assert [row.key for row in found if row.user_id == mallory.user.pk] == ["0"]


@pytest.mark.settings(IDEMPOTENCY_BYTES_PER_USER=2_000)
async def test_beyond_the_bound_of_bytes_the_oldest_answers_go(gateway, upstream, alice):
    upstream.set_default_script(answer_honestly("x" * 500))
    for number in range(5):
        assert (await gateway.request_chat(alice.key, headers=keyed(str(number)))).status == 200
    found = await kept()
    assert 1 <= len(found) < 5
    assert sum(row.size_bytes for row in found) <= 2_000
    assert found[-1].key == "4"


async def test_what_has_expired_runs_anew_and_is_deleted(gateway, upstream, alice, settings):
    upstream.set_default_script(answer_honestly("Hello!"))
    settings.IDEMPOTENCY_SECONDS = 0
    await gateway.request_chat(alice.key, headers=keyed())
    settings.IDEMPOTENCY_SECONDS = 86_400
    again = await gateway.request_chat(alice.key, headers=keyed(), temperature=0.5)
    assert (again.status, "idempotent-replayed" in again.headers) == (200, False)
    assert (await gateway.request_chat(alice.key, headers=keyed(), temperature=0.5)).headers[
        "idempotent-replayed"
    ] == "true"
    settings.IDEMPOTENCY_SECONDS = 0
    for number in range(3):
        await gateway.request_chat(alice.key, headers=keyed(f"old-{number}"))
    assert await run_in_thread(delete_kept_answers) == 3
    assert [row.key for row in await kept()] == ["k-1"]


def asked(person, holder, digest="d"):
    return claims.KeyedRequest(person.user.pk, "k", digest, holder)


def test_a_claim_whose_process_is_dead_can_be_taken_over_once_its_lease_ends(alice, settings):
    settings.IDEMPOTENCY_LEASE_SECONDS = 60
    first = claims.claim_key(asked(alice, "one"))
    assert isinstance(first, claims.Claim)
    with pytest.raises(claims.IdempotencyInFlight):
        claims.claim_key(asked(alice, "two"))
    settings.IDEMPOTENCY_LEASE_SECONDS = 0
    claims.renew_claims({"one": first.row_id})
    with pytest.raises(claims.IdempotencyKeyReused):
        claims.claim_key(asked(alice, "two", digest="another body"))
    second = claims.claim_key(asked(alice, "two"))
    assert isinstance(second, claims.Claim)
    assert not claims.store_answer(first, claims.StoredAnswer(200, b"late"))
    claims.release_key(first)
    assert claims.store_answer(second, claims.StoredAnswer(200, b"in time"))
    assert claims.claim_key(asked(alice, "three")) == claims.StoredAnswer(200, b"in time")


async def test_a_long_request_keeps_its_claim(gateway, upstream, alice, settings):
    settings.IDEMPOTENCY_LEASE_SECONDS = 0.3
    gate = Gate()

    async def late(exchange):
        await gate.wait_until_open()
        await answer_honestly("Hello!")(exchange)

    upstream.queue_scripts(late)
    keeping = asyncio.create_task(gateway.inner.idempotency.renew_until_cancelled())
    first = asyncio.create_task(gateway.request_chat(alice.key, headers=keyed()))
    await upstream.wait_for_request()
    [row] = await kept()

    async def renewed():
        return (await kept())[0].claimed_until > row.claimed_until

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
    answer = await gateway.request_chat(alice.key, headers=keyed())
    assert (answer.status, answer.headers["idempotent-stored"]) == (200, "false")


async def test_the_body_and_the_key_pepper_are_not_in_the_row(gateway, upstream, alice):
    await gateway.request_chat(
        alice.key, headers=keyed(), messages=[{"role": "user", "content": "canary"}]
    )
    [row] = await kept()
    assert b"canary" not in bytes(row.content)
    assert len(row.digest) == 64
