"""Postgres stops answering: new requests are refused in time, running ones are not harmed."""

import asyncio

import pytest
from django.db import connection

from api.models import UsageRecord
from api.tests.endpoints.late_answers import send_late
from api.tests.endpoints.ledger.impatient_database import SHORT_DATABASE_TIMEOUT, is_answered
from api.tests.endpoints.whole_and_streamed import WHOLE_AND_STREAMED
from providers.database.database_threads import run_in_thread
from proxysite.testing import PATIENCE_SECONDS, rows, wait_until_true
from proxysite.testing.upstream import Gate, answer_honestly

PROMISED_SECONDS = 3  # in which new requests are told that the database is away


@SHORT_DATABASE_TIMEOUT
@WHOLE_AND_STREAMED
async def test_a_frozen_database_is_a_503_for_new_requests_and_no_harm_to_running_ones(
    database_proxy, gateway, upstream, alice, mallory, streams
):
    gate = Gate()
    upstream.queue_scripts(send_late(gate, answer_honestly()))
    assert (await gateway.request_chat("sk-ps-unknown")).status == 401
    asking = asyncio.create_task(gateway.request_chat(alice.key, stream=streams))
    await upstream.wait_for_request()
    with database_proxy.freeze_traffic():
        gate.open()
        async with asyncio.timeout(PROMISED_SECONDS):
            answer = await asking
        assert (answer.status, answer.text) == (200, "Hello there!")
        async with asyncio.timeout(PROMISED_SECONDS):
            known, unknown = await asyncio.gather(
                gateway.request_chat(alice.key), gateway.request_chat(mallory.key)
            )
        for refused in (known, unknown):
            assert (refused.status, refused.error["code"]) == (503, "database_unavailable")
        assert (await gateway.send_request("GET", "/healthz")).status == 200
        assert (await gateway.send_request("GET", "/readyz")).status == 503
        assert len(upstream.requests) == 1
    await wait_until_true(lambda: is_answered(gateway, alice))
    assert (await gateway.request_chat(mallory.key)).status == 200
    first = (await rows.read_usage_records())[0]
    assert f"req_{first.id.hex}" == answer.headers["x-request-id"]
    assert first.status == "complete"


@SHORT_DATABASE_TIMEOUT
@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/m", "/health"])
async def test_the_ordinary_doors_do_not_hang_on_a_frozen_database(
    database_proxy, gateway, alice, path
):
    assert (await gateway.send_request("GET", path, alice.key)).status == 200
    with database_proxy.freeze_traffic():
        refused = await gateway.send_request("GET", path, alice.key)
        assert (refused.status, refused.error["code"]) == (503, "database_unavailable")

    async def answered():
        return (await gateway.send_request("GET", path, alice.key)).status == 200

    await wait_until_true(answered)


@SHORT_DATABASE_TIMEOUT
async def test_many_requests_during_a_freeze_are_all_answered(
    database_proxy, gateway, upstream, alice
):
    people = [await run_in_thread(rows.create_person, f"person-{number}") for number in range(12)]
    assert await is_answered(gateway, alice)
    with database_proxy.freeze_traffic():
        async with asyncio.timeout(PROMISED_SECONDS):
            found = await asyncio.gather(*(gateway.request_chat(person.key) for person in people))
        assert {answer.status for answer in found} == {503}
    await wait_until_true(lambda: is_answered(gateway, alice))
    assert {
        answer.status
        for answer in await asyncio.gather(*(gateway.request_chat(person.key) for person in people))
    } == {200}
    assert await run_in_thread(UsageRecord.objects.filter(status="complete").count) == len(
        await rows.read_usage_records()
    )


@SHORT_DATABASE_TIMEOUT
async def test_a_gateway_that_starts_without_its_database_waits_for_it(
    database_proxy, gateway, upstream, alice
):
    await gateway.stop()
    await run_in_thread(connection.close_pool)  # a new process has none
    with database_proxy.freeze_traffic():
        async with asyncio.timeout(PATIENCE_SECONDS):
            await gateway.start()
        async with asyncio.timeout(PROMISED_SECONDS):
            refused = await gateway.request_chat(alice.key)
        assert (refused.status, refused.error["code"]) == (503, "database_unavailable")
        assert (await gateway.send_request("GET", "/healthz")).status == 200
        assert (await gateway.send_request("GET", "/readyz")).status == 503
    await wait_until_true(lambda: is_answered(gateway, alice))
