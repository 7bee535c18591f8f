"""Batches within the limits and budgets of their key, and over upstreams that fail."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from api.models import LimitSet, Price
from api.tests.endpoints.batches.batch_requests import (
    answer_at_gate,
    create_batch,
    make_line,
    make_lines,
    read_results,
    run_batch,
    wait_for_end,
)
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.upstream import answer_honestly, send_refusal, send_reply


def answer_with_usage():
    return send_reply(speech.chat_completion(usage=speech.token_usage(100, 200)))


async def create_price(provider, **fields):
    """Let a request of `answer_with_usage` cost 50 cents."""
    model = await run_in_thread(provider.models.get)
    values = {"prompt_usd": 1_000, "completion_usd": 2_000} | fields
    valid_from = datetime(2020, 1, 1, tzinfo=UTC)
    names = {"provider": provider, "upstream_model": model.upstream_name}
    await run_in_thread(lambda: Price.objects.create(**names, valid_from=valid_from, **values))


async def limit_key(gateway, alice, **limits):
    await run_in_thread(lambda: LimitSet.objects.create(key=alice.row, **limits))
    await gateway.reload_rows()


@pytest.mark.settings(BATCH_SPARE_SHARE=0.01)
async def test_no_line_fails_because_of_a_rate_limit(client, gateway, alice, upstream, monkeypatch):
    waits = []
    pause = "api.batches.lines.pacing.Pacer.pause"
    monkeypatch.setattr(pause, lambda pacer, seconds: waits.append(seconds))
    upstream.queue_scripts(*[send_refusal(429, retry_after="1")] * 3)
    await limit_key(gateway, alice, requests_per_minute=60)
    batch = await create_batch(client, make_lines(65))
    await wait_until_true(lambda: len(waits) > 3)
    monkeypatch.undo()
    await run_in_thread(lambda: LimitSet.objects.all().delete())
    await gateway.reload_rows()
    batch = await wait_for_end(client, batch.id)
    assert batch.request_counts.model_dump() == {"total": 65, "completed": 65, "failed": 0}
    assert all(0 < seconds <= 60 for seconds in waits)


async def test_a_batch_leaves_a_share_of_each_limit_to_other_requests(
    client, gateway, alice, upstream
):
    await limit_key(gateway, alice, requests_per_minute=20)
    batch = await create_batch(client, make_lines(30))
    await wait_until_true(lambda: len(upstream.requests) >= 16)
    for _number in range(3):
        assert (await gateway.request_chat(alice.key)).status == 200
    await client.batches.cancel(batch.id)
    batch = await wait_for_end(client, batch.id)
    assert batch.request_counts.completed <= 20
    records = await rows.read_usage_records()
    assert not [record for record in records if record.refused_by and not record.client]


@pytest.mark.settings(BATCH_LINES_AT_ONCE=8)
async def test_half_of_the_concurrent_requests_are_left_to_others(client, gateway, alice, upstream):
    upstream.queue_scripts(answer_honestly())
    upstream.set_default_script(answer_at_gate)
    await limit_key(gateway, alice, concurrent_requests=4)
    batch = await create_batch(client, make_lines(9))
    await upstream.wait_for_request(3)
    upstream.queue_scripts(answer_honestly(), answer_honestly())
    for _number in range(2):
        assert (await gateway.request_chat(alice.key)).status == 200
    await client.batches.cancel(batch.id)
    upstream.gate.open()


@pytest.mark.settings(BATCH_QUOTA_SECONDS=0, BATCH_LINES_AT_ONCE=1)
async def test_lines_without_money_fail_with_insufficient_quota(
    client, gateway, alice, upstream, provider
):
    upstream.set_default_script(answer_with_usage())
    await create_price(provider)
    await limit_key(gateway, alice, total_budget_usd=1)
    batch = await run_batch(client, make_lines(5))
    assert batch.status == "completed"
    assert batch.request_counts.failed >= 3
    errors = await read_results(client, batch.error_file_id)
    assert {line["error"]["code"] for line in errors.values()} == {"insufficient_quota"}
    assert len(upstream.requests) == batch.request_counts.completed


async def test_a_batch_waits_for_money(client, gateway, alice, upstream, provider, monkeypatch):
    monkeypatch.setattr("api.batches.lines.line_runner.MONEY_LOOK_SECONDS", 0.05)
    upstream.set_default_script(answer_with_usage())
    await create_price(provider)
    await limit_key(gateway, alice, total_budget_usd=1)
    batch = await create_batch(client, make_lines(5))

    async def has_refused_lines():
        return any(record.refused_by for record in await rows.read_usage_records())

    await wait_until_true(has_refused_lines)
    await run_in_thread(lambda: LimitSet.objects.all().delete())
    await gateway.reload_rows()
    batch = await wait_for_end(client, batch.id)
    assert batch.request_counts.model_dump() == {"total": 5, "completed": 5, "failed": 0}


async def test_lines_of_a_batch_have_their_own_price(client, upstream, provider, gateway):
    upstream.set_default_script(answer_with_usage())
    await create_price(provider, batch_factor="0.5")
    await gateway.reload_rows()
    batch = await run_batch(client, make_lines(2))
    costs = [record.cost_micro_usd for record in await rows.read_usage_records()]
    assert costs == [250_000, 250_000]
    usage = batch.model_dump()["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (200, 400, 600)


async def test_a_line_is_asked_again_when_its_upstream_fails(client, upstream):
    upstream.queue_scripts(*[send_refusal(500)] * 2)
    batch = await run_batch(client, make_lines(3))
    assert batch.request_counts.completed == 3


@pytest.mark.settings(BATCH_LINE_TRIES=2)
async def test_a_line_whose_upstream_fails_for_good_is_an_error(
    client, upstream, gateway, monkeypatch
):
    asked = Counter()

    async def fail_one(exchange):
        content = exchange.request.json["messages"][0]["content"]
        asked[content] += 1
        script = send_refusal(400, "Bad.") if content == "Hello line-1" else answer_honestly()
        await script(exchange)

    upstream.set_default_script(fail_one)
    batch = await run_batch(client, [*make_lines(4), make_line("unknown", model="nothing")])
    assert batch.status == "completed"
    assert batch.request_counts.model_dump() == {"total": 5, "completed": 3, "failed": 2}
    errors = await read_results(client, batch.error_file_id)
    assert errors["line-1"]["response"]["status_code"] == 400
    assert errors["line-1"]["response"]["body"]["error"]["message"]
    assert errors["unknown"]["response"]["status_code"] == 404
    assert asked["Hello line-1"] == 1
