"""Budgets of keys, users, teams and end users, as callers meet them."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from api.models import LimitSet, Price, Spend
from api.usage.folding import fold_all_records
from providers.database.database_threads import run_in_thread
from proxysite.testing import rows, speech, wait_until_true
from proxysite.testing.rows import Person
from proxysite.testing.upstream import DONE, Gate, send_reply, send_stream

PROMPT_TOKENS, COMPLETION_TOKENS = 100, 200
COST_USD = Decimal("0.5")  # of a request: a dollar for a thousand prompt tokens, two for the others


@pytest.fixture
def price(provider) -> Price:
    return Price.objects.create(
        provider=provider,
        upstream_model=provider.models.get().upstream_name,
        valid_from=datetime(2020, 1, 1, tzinfo=UTC),
        prompt_usd=1_000,
        completion_usd=2_000,
    )


@pytest.fixture
def dollar_a_day(alice: Person, price: Price) -> LimitSet:
    return LimitSet.objects.create(key=alice.row, day_budget_usd=1, time_zone="Asia/Kolkata")


def answer_with_usage():
    usage = speech.token_usage(PROMPT_TOKENS, COMPLETION_TOKENS)
    return send_reply(speech.chat_completion(usage=usage))


async def read_costs() -> list[int | None]:
    return [row.cost_micro_usd for row in await rows.read_usage_records()]


async def read_spent(kind: str, subject_id: int) -> int:
    def read() -> int:
        fold_all_records()
        return Spend.objects.get(
            subject_kind=kind, subject_id=subject_id, slot=datetime(1970, 1, 1, tzinfo=UTC)
        ).micro_usd

    return await run_in_thread(read)


async def test_a_spent_budget_refuses_for_good_and_says_until_when(
    dollar_a_day, gateway, upstream, alice
):
    upstream.queue_scripts(*[answer_with_usage()] * 2)
    for _ in range(2):
        assert (await gateway.request_chat(alice.key, max_tokens=200)).status == 200
    refused = await gateway.request_chat(alice.key, max_tokens=200)
    assert (refused.status, refused.error["code"]) == (429, "insufficient_quota")
    assert refused.error["type"] == "insufficient_quota"
    assert refused.headers["x-should-retry"] == "false"
    assert "retry-after" not in refused.headers
    message = refused.error["message"]
    assert "The budget of 1 USD a day of the API key" in message
    assert "is spent; it is renewed at " in message
    assert message.endswith("00:00 (Asia/Kolkata).")
    assert await read_costs() == [500_000, 500_000]


async def test_a_request_that_costs_more_than_is_left_is_the_last_one(
    dollar_a_day, gateway, upstream, alice
):
    usage = speech.token_usage(100, 350)
    upstream.queue_scripts(*[send_reply(speech.chat_completion(usage=usage))] * 3)
    statuses = [(await gateway.request_chat(alice.key, max_tokens=400)).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert sum(await read_costs()) == 1_600_000


async def test_an_answer_whose_caller_leaves_costs_what_was_produced(
    dollar_a_day, gateway, upstream, alice
):
    gate = Gate()
    upstream.queue_scripts(send_stream(*speech.content_chunks("one two three four"), gate, DONE))
    async with gateway.open_stream(alice.key, max_tokens=50) as reading:
        await reading.read_until("four")
    gate.open()
    await wait_until_true(lambda: not gateway.inner.requests_in_flight)
    [record] = await rows.read_usage_records()
    cost = record.prompt_tokens * 1_000 + record.completion_tokens * 2_000
    assert record.status == "abandoned"
    assert record.completion_tokens >= 4
    assert record.cost_micro_usd == cost
    assert await read_spent("key", alice.row.pk) == cost


@pytest.fixture
def cent_for_each_end_user(alice: Person, price: Price) -> None:
    LimitSet.objects.create(key=alice.row, for_each_end_user=True, total_budget_usd=1)


async def test_each_end_user_of_a_key_has_a_budget(
    cent_for_each_end_user, gateway, upstream, alice
):
    upstream.queue_scripts(*[answer_with_usage()] * 5)

    async def ask(**fields: str) -> int:
        return (await gateway.request_chat(alice.key, max_tokens=200, **fields)).status

    assert [await ask(safety_identifier="ann") for _ in range(3)] == [200, 200, 429]
    assert [await ask(user="bob") for _ in range(3)] == [200, 200, 429]
    assert await ask() == 200


@pytest.fixture
def total_of_user(alice: Person, price: Price) -> None:
    LimitSet.objects.create(user=alice.user, total_budget_usd="0.5")


async def test_a_strategys_calls_are_paid_from_the_budget_of_its_request(
    total_of_user, gateway, upstream, alice
):
    await run_in_thread(rows.create_virtual_model, "m-paths", "m", "multipath")
    await gateway.reload_rows()
    upstream.queue_scripts(*[answer_with_usage()] * 8)
    assert (await gateway.request_chat(alice.key, model="m-paths", max_tokens=10)).status == 200
    [record] = await rows.read_usage_records()
    assert record.cost_micro_usd == len(upstream.requests) * 500_000
    refused = await gateway.request_chat(alice.key, max_tokens=10)
    assert refused.error["code"] == "insufficient_quota"


async def test_an_unknown_price_is_no_cost_and_refuses_nobody(
    dollar_a_day, price, gateway, upstream, alice
):
    await run_in_thread(price.delete)
    await gateway.reload_rows()
    upstream.queue_scripts(*[answer_with_usage()] * 3)
    for _ in range(3):
        assert (await gateway.request_chat(alice.key)).status == 200
    assert await read_costs() == [None] * 3


@pytest.fixture
def spent_before(alice: Person, price: Price) -> None:
    LimitSet.objects.create(key=alice.row, month_budget_usd=2)
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    Spend.objects.create(subject_kind="key", subject_id=alice.row.pk, slot=now, micro_usd=1_600_000)


async def test_what_was_spent_before_a_start_counts(spent_before, gateway, upstream, alice):
    upstream.queue_scripts(answer_with_usage())
    assert (await gateway.request_chat(alice.key, max_tokens=200)).status == 200
    refused = await gateway.request_chat(alice.key, max_tokens=200)
    assert refused.error["code"] == "insufficient_quota"


def test_the_price_makes_the_cost() -> None:
    assert float(COST_USD) == (PROMPT_TOKENS * 1_000 + COMPLETION_TOKENS * 2_000) / 1_000_000
