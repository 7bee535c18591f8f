"""The cost of a request in its usage record, in every way in which it can end."""

import asyncio

import pytest

from api.models import Price
from api.tests.endpoints.late_answers import send_late
from api.tests.endpoints.responses.background_responses import create_background_response
from api.tests.endpoints.strategies.multipath_answers import QUESTION, send_answer
from api.tests.pricing.price_rows import create_price
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.gateway import build_raw_request
from proxysite.testing.upstream import (
    CUT,
    DONE,
    PAUSE,
    Gate,
    answer_honestly,
    send_refusal,
    send_reply,
    send_stream,
)

MODEL = "upstream-model"


@pytest.fixture
async def price(gateway, provider):
    """Return a price that the gateway has loaded: 2 and 8 USD, cached 0.5, reasoning 10."""
    row = await run_in_thread(
        create_price,
        provider,
        MODEL,
        prompt_usd="2",
        cached_usd="0.5",
        completion_usd="8",
        reasoning_usd="10",
    )
    await gateway.reload_rows()
    return row


async def read_cost():
    """Return cost and price of the only usage record."""
    row = await rows.read_only_usage_record()
    return row.cost_micro_usd, row.price_id


USAGE = speech.token_usage(
    100,
    50,
    prompt_tokens_details={"cached_tokens": 40},
    completion_tokens_details={"reasoning_tokens": 20},
)
# 60 × 2 + 40 × 0.5 + 30 × 8 + 20 × 10
USAGE_MICRO_USD = 120 + 20 + 240 + 200


# --- answers --------------------------------------------------------------------------------------
async def test_a_whole_answer_costs_what_its_tokens_cost(gateway, upstream, alice, price):
    upstream.queue_scripts(send_reply(speech.chat_completion("Hi", usage=USAGE)))
    assert (await gateway.request_chat(alice.key)).status == 200
    assert await read_cost() == (USAGE_MICRO_USD, price.pk)


async def test_a_stream_costs_the_same(gateway, upstream, alice, price):
    upstream.queue_scripts(
        send_stream(*speech.streamed_completion("Hi"), speech.usage_chunk(USAGE), DONE)
    )
    assert (await gateway.request_chat(alice.key, stream=True)).status == 200
    assert await read_cost() == (USAGE_MICRO_USD, price.pk)


async def test_reasoning_beside_the_completion_is_charged(gateway, upstream, alice, price):
    """xAI counts reasoning tokens beside completion tokens: the total tells."""
    usage = speech.token_usage(100, 30, completion_tokens_details={"reasoning_tokens": 20})
    upstream.queue_scripts(
        send_reply(speech.chat_completion("Hi", usage=usage | {"total_tokens": 150}))
    )
    answer = await gateway.request_chat(alice.key)
    assert answer.json["usage"]["completion_tokens"] == 30  # as the upstream has it
    record = await rows.read_only_usage_record()
    assert (record.completion_tokens, record.reasoning_tokens) == (50, 20)
    assert record.cost_micro_usd == 200 + 30 * 8 + 20 * 10


async def test_an_answer_that_was_counted_here_costs_what_was_counted(
    gateway, upstream, alice, price
):
    upstream.queue_scripts(send_reply(speech.chat_completion("hello world", usage=None)))
    await gateway.request_chat(alice.key)
    record = await rows.read_only_usage_record()
    assert record.estimated
    assert record.completion_tokens == 2
    assert record.cost_micro_usd == record.prompt_tokens * 2 + 2 * 8


async def test_another_upstream_has_another_price(gateway, upstream, alice, second, price):
    other, other_provider = second
    dear = await run_in_thread(
        lambda: create_price(other_provider, "second-model", prompt_usd="20", completion_usd="0")
    )
    await gateway.reload_rows()
    upstream.queue_scripts(send_refusal(500), send_refusal(500))
    other.queue_scripts(send_reply(speech.chat_completion("Hi", usage=USAGE)))
    assert (await gateway.request_chat(alice.key)).status == 200
    assert await read_cost() == (2_000, dear.pk)


# --- unknown, and nothing -------------------------------------------------------------------------
async def test_without_a_price_the_cost_is_unknown(gateway, upstream, alice):
    await gateway.request_chat(alice.key)
    assert await read_cost() == (None, None)


async def test_a_price_for_another_model_leaves_the_cost_unknown(
    gateway, upstream, alice, provider
):
    await run_in_thread(create_price, provider, "upstream-mode")
    await run_in_thread(create_price, provider, "m")
    await gateway.reload_rows()
    await gateway.request_chat(alice.key)
    assert await read_cost() == (None, None)


@pytest.mark.parametrize("is_priced", [True, False])
async def test_a_request_that_no_upstream_answered_costs_nothing(
    gateway, upstream, alice, provider, is_priced
):
    if is_priced:
        await run_in_thread(create_price, provider, MODEL)
        await gateway.reload_rows()
    upstream.set_default_script(send_refusal(400, "no"))
    assert (await gateway.request_chat(alice.key)).status == 400
    assert await read_cost() == (0, None)


# --- requests that end early ----------------------------------------------------------------------
async def test_a_cut_stream_costs_what_was_produced(gateway, upstream, alice, price):
    upstream.queue_scripts(send_stream(*speech.content_chunks("hello world"), PAUSE, CUT))
    async with gateway.open_stream(alice.key) as answer:
        await answer.read_until("hello world")
        upstream.gate.open()
        await answer.read_rest()
    record = await rows.read_only_usage_record()
    assert record.status == "truncated"
    assert record.cost_micro_usd == record.prompt_tokens * 2 + record.completion_tokens * 8
    assert (record.completion_tokens, record.price_id) == (2, price.pk)


async def test_an_answer_whose_caller_left_costs_what_was_produced(gateway, upstream, alice, price):
    upstream.queue_scripts(send_stream(*speech.content_chunks("hello world"), upstream.gate))
    async with gateway.open_stream(alice.key) as answer:
        await answer.read_until("hello world")
    (record,) = await wait_until_true(rows.read_usage_records)
    assert record.status == "abandoned"
    assert record.completion_tokens == 2
    assert record.cost_micro_usd == record.prompt_tokens * 2 + 2 * 8


async def test_a_caller_that_left_before_the_answer_pays_its_prompt(
    gateway, upstream, alice, price
):
    gate = Gate()
    upstream.queue_scripts(send_late(gate, answer_honestly()))
    async with gateway.open_bare_connection() as wire:
        await wire.send(build_raw_request(alice.key))
        await upstream.wait_for_request()
        wire.close_connection()
        (record,) = await wait_until_true(rows.read_usage_records)
    gate.open()
    assert record.prompt_tokens > 0
    assert record.cost_micro_usd == record.prompt_tokens * 2


# --- several calls --------------------------------------------------------------------------------
async def test_every_call_of_a_strategy_counts(gateway, upstream, alice, price):
    await run_in_thread(lambda: rows.create_virtual_model("mpr-m", "m", "multipath", candidates=2))
    await gateway.reload_rows()
    upstream.queue_scripts(
        send_answer("plan", 10, 1),
        send_answer("draft A", 20, 2),
        send_answer("draft B", 30, 3),
        send_answer("Both.", 40, 4),
    )
    assert (await gateway.request_chat(alice.key, model="mpr-m", messages=QUESTION)).status == 200
    record = await rows.read_only_usage_record()
    assert (record.prompt_tokens, record.completion_tokens) == (100, 10)
    assert record.cost_micro_usd == 280
    tokens = [attempt["tokens"] for attempt in record.attempts]
    assert sorted(call["prompt"] for call in tokens) == [10, 20, 30, 40]
    assert {attempt["provider_id"] for attempt in record.attempts} == {price.provider_id}


async def test_the_attempt_of_a_single_call_has_no_tokens_of_its_own(
    gateway, upstream, alice, price
):
    await gateway.request_chat(alice.key)
    (attempt,) = (await rows.read_only_usage_record()).attempts
    assert not {"tokens", "provider_id"} & attempt.keys()


async def test_a_response_in_the_background_costs_what_its_answer_costs(
    gateway, upstream, alice, price
):
    upstream.queue_scripts(
        send_stream(*speech.streamed_completion("Hi"), speech.usage_chunk(USAGE), DONE)
    )
    assert (await create_background_response(gateway, alice)).status == 200
    await wait_until_true(lambda: not gateway.inner.background.feeds)
    assert await read_cost() == (USAGE_MICRO_USD, price.pk)


# --- changes of prices ----------------------------------------------------------------------------
async def test_a_price_comes_into_force_in_a_running_process_by_itself(
    gateway, upstream, alice, provider
):
    row = await run_in_thread(create_price, provider, MODEL)
    async with asyncio.timeout(10):
        await wait_until_true(lambda: gateway.inner.prices)
    await gateway.request_chat(alice.key)
    record = await rows.read_only_usage_record()
    assert record.price_id == row.pk
    await run_in_thread(Price.objects.all().delete)
    await wait_until_true(lambda: not gateway.inner.prices)


# --- the upstream's own figure --------------------------------------------------------------------
async def test_the_cost_that_an_upstream_reports_is_kept_and_passed_on(
    gateway, upstream, alice, price
):
    usage = USAGE | {"cost": 0.0001234, "cost_details": {"upstream_inference_cost": 0.00001}}
    upstream.queue_scripts(send_reply(speech.chat_completion("Hi", usage=usage)))
    answer = await gateway.request_chat(alice.key)
    assert answer.json["usage"] == usage
    record = await rows.read_only_usage_record()
    assert record.reported_cost_micro_usd == 133
    assert record.cost_micro_usd == USAGE_MICRO_USD


async def test_a_reported_cost_needs_no_price(gateway, upstream, alice):
    usage = USAGE | {"cost": 0.5}
    upstream.queue_scripts(
        send_stream(*speech.streamed_completion("Hi"), speech.usage_chunk(usage), DONE)
    )
    await gateway.request_chat(alice.key, stream=True)
    record = await rows.read_only_usage_record()
    assert (record.cost_micro_usd, record.reported_cost_micro_usd) == (None, 500_000)
