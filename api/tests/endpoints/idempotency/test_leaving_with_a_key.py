"""Callers who leave, and keys that may not store, with an `Idempotency-Key`."""

import asyncio

from api.models import ApiKey, IdempotentRequest
from api.tests.endpoints.idempotency.keyed_requests import is_empty, key_header, list_kept_requests
from api.tests.endpoints.late_answers import send_late
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, wait_until_true
from proxysite.testing.gateway import build_raw_request
from proxysite.testing.upstream import Gate, answer_honestly


async def leave_in_the_middle(gateway, upstream, key):
    """A caller sends a request with a key and leaves while the upstream answers; returns the
    upstream's gate.
    """
    gate = Gate()
    upstream.queue_scripts(send_late(gate, answer_honestly("Hello!")))
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
            "POST",
            "/v1/chat/completions",
            alice.key,
            content=read_body(alice),
            headers=JSON_WITH_KEY,
        )
        assert answer.status in (200, 409)
        return answer.status == 200 and answer.headers["idempotent-replayed"] == "true"

    await wait_until_true(answered)
    assert len(upstream.requests) == 1
    assert (await rows.read_only_usage_record()).status == "complete"
    await wait_until_true(lambda: gateway.inner.requests_in_flight == 0)


JSON_WITH_KEY = {"content-type": "application/json", "idempotency-key": "k-1"}


def read_body(person):
    return build_raw_request(person.key).split(b"\r\n\r\n", 1)[1]


async def forbid_storing(person):
    await run_in_thread(ApiKey.objects.filter(pk=person.row.pk).update, stores_content=False)


async def test_a_key_that_may_not_store_is_protected_only_while_the_request_runs(
    gateway, upstream, alice
):
    await forbid_storing(alice)
    await gateway.reload_rows()
    gate = Gate()
    upstream.queue_scripts(send_late(gate, answer_honestly("Hello!")))
    first = asyncio.create_task(gateway.request_chat(alice.key, headers=key_header()))
    await upstream.wait_for_request()
    assert (await gateway.request_chat(alice.key, headers=key_header())).error[
        "code"
    ] == "idempotency_in_flight"
    [row] = await list_kept_requests()
    assert (row.content, row.status) == (None, None)
    gate.open()
    assert (await first).status == 200
    await wait_until_true(lambda: is_empty(IdempotentRequest))
    again = await gateway.request_chat(alice.key, headers=key_header())
    assert (again.status, "idempotent-replayed" in again.headers) == (200, False)
    await wait_until_true(lambda: is_empty(IdempotentRequest))


async def test_the_work_of_a_key_that_may_not_store_ends_when_its_caller_leaves(
    gateway, upstream, alice
):
    await forbid_storing(alice)
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
    assert await list_kept_requests() == []
    assert gateway.inner.requests_in_flight == 0
