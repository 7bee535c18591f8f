"""Costs of recorded requests, computed anew."""

from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest
from django.db.models import Sum
from django.utils import timezone

from api.models import Price, UsageHour, UsageRecord
from api.pricing import cost_changes, recost
from api.pricing.cost_changes import CostChange, apply_cost_changes
from api.pricing.recost import RecostRange, RecostReport, update_costs
from api.tests.pricing.price_rows import EMPTY_ATTEMPT, LONG_AGO, RecordCreator, create_price
from api.usage import folding, reconciliation
from providers.models import Provider
from providers.protocol.usage_meter import TokenUsage


@pytest.fixture
def today() -> RecostRange:
    now = timezone.now()
    return RecostRange(now - timedelta(days=1), now)


def read_costs() -> list[tuple[int | None, int | None]]:
    """Return the costs of all records, and the ids of their prices."""
    return list(UsageRecord.objects.order_by("id").values_list("cost_micro_usd", "price_id"))


@pytest.fixture
def price(echo: Provider) -> Price:
    """Return a price of 1 USD per million prompt tokens, and 2 for completion tokens."""
    return create_price(echo)


def test_a_price_that_comes_later_gives_earlier_requests_their_cost(
    echo: Provider, records: RecordCreator, price: Price, today: RecostRange
) -> None:
    records.create_record(echo)  # 1000 × 1 + 500 × 2
    records.create_record(echo, cost_micro_usd=2_000, price=price)
    records.create_record(echo, cost_micro_usd=2_500, price=price)
    records.create_record(echo, upstream_model="other")
    assert update_costs(today, dry_run=True) == RecostReport(4, 2, 0, 1_500)
    assert read_costs()[0] == (None, None)
    assert update_costs(today) == RecostReport(4, 2, 0, 1_500)
    assert read_costs() == [(2_000, price.pk)] * 3 + [(None, None)]
    assert update_costs(today) == RecostReport(4, 0, 0, 0)


def test_each_request_has_the_price_of_its_time(
    echo: Provider, records: RecordCreator, price: Price, today: RecostRange
) -> None:
    changed_at = timezone.now() - timedelta(hours=2)
    new = create_price(echo, valid_from=changed_at, prompt_usd="10", completion_usd="20")
    records.create_record(echo, started_at=changed_at - timedelta(microseconds=1))
    records.create_record(echo, started_at=changed_at)
    update_costs(today)
    assert read_costs() == [(2_000, price.pk), (20_000, new.pk)]


def test_only_records_of_the_range_are_touched(
    echo: Provider, records: RecordCreator, price: Price
) -> None:
    noon = timezone.now() - timedelta(days=3)
    for seconds in (-1, 0, 59, 60):
        records.create_record(echo, started_at=noon + timedelta(seconds=seconds))
    update_costs(RecostRange(noon, noon + timedelta(seconds=60)))
    assert [cost for cost, _ in read_costs()] == [None, 2_000, 2_000, None]


def test_a_provider_and_a_model_choose_records(
    echo: Provider, records: RecordCreator, price: Price, today: RecostRange
) -> None:
    other = Provider.objects.create(name="other", kind="echo", needs_token=False)
    create_price(other)
    records.create_record(echo, model="one")
    records.create_record(other, model="two")
    records.create_record(other, model="two", upstream_model="three")
    assert update_costs(replace(today, provider_id=echo.pk)) == RecostReport(1, 1, 0, 2_000)
    assert update_costs(replace(today, model="three")) == RecostReport(1, 0, 0, 0)
    assert update_costs(replace(today, model="big"), dry_run=True).changed_records == 1
    assert update_costs(replace(today, model="two")).changed_records == 1


def test_a_cost_is_unknown_again_when_its_price_is_gone(
    echo: Provider, records: RecordCreator, today: RecostRange
) -> None:
    records.create_record(echo, cost_micro_usd=2_000, price_id=99)
    assert update_costs(today) == RecostReport(1, 1, 0, -2_000)
    assert read_costs() == [(None, None)]


def test_a_request_with_several_calls_costs_their_sum(
    echo: Provider, records: RecordCreator, price: Price, today: RecostRange
) -> None:
    dear = create_price(echo, "dear", prompt_usd="100", completion_usd="0")
    parts = {"big": TokenUsage(900, 500), "dear": TokenUsage(100, 0)}
    attempts = [
        EMPTY_ATTEMPT
        | {"model": model, "provider_id": echo.pk, "tokens": msgspec.structs.asdict(usage)}
        for model, usage in parts.items()
    ]
    records.create_record(echo, attempts=attempts)
    update_costs(today)
    assert read_costs() == [(900 + 1_000 + 10_000, dear.pk)]


def test_records_that_do_not_tell_keep_their_cost(
    echo: Provider, records: RecordCreator, price: Price, today: RecostRange
) -> None:
    records.create_record(echo, attempts=[EMPTY_ATTEMPT, EMPTY_ATTEMPT], cost_micro_usd=5)
    records.create_record(None, attempts=[], status="interrupted", prompt_tokens=0)
    failed = {"outcome": "ServerFailed", "prompt_tokens": 0, "completion_tokens": 0}
    records.create_record(None, status="error", **failed)
    assert update_costs(today) == RecostReport(3, 1, 2, 0)
    assert read_costs() == [(5, None), (None, None), (0, None)]


def test_all_slices_are_read(
    echo: Provider,
    records: RecordCreator,
    price: Price,
    today: RecostRange,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recost, "SLICE_ROWS", 2)
    for _ in range(5):
        records.create_record(echo)
    assert update_costs(today) == RecostReport(5, 5, 0, 10_000)
    assert read_costs() == [(2_000, price.pk)] * 5


def test_a_range_of_long_ago_has_no_records(echo: Provider, records: RecordCreator) -> None:
    records.create_record(echo)
    long_ago = RecostRange(LONG_AGO, LONG_AGO + timedelta(days=1))
    assert update_costs(long_ago) == RecostReport()


# --- writes ---------------------------------------------------------------------------------------
def test_a_cost_that_has_changed_meanwhile_is_left(echo: Provider, records: RecordCreator) -> None:
    same = records.create_record(echo, cost_micro_usd=1)
    other = records.create_record(echo, cost_micro_usd=7)
    changes = [CostChange(record.pk, 1, 5, None) for record in (same, other)]
    assert apply_cost_changes(changes) == changes[:1]
    assert [cost for cost, _ in read_costs()] == [5, 7]
    assert apply_cost_changes(changes) == []


def test_more_changes_than_one_statement_takes_are_made(
    echo: Provider, records: RecordCreator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost_changes, "CHANGES_AT_ONCE", 2)
    rows = [records.create_record(echo) for _ in range(5)]
    changes = [CostChange(row.pk, None, number, None) for number, row in enumerate(rows)]
    assert apply_cost_changes(changes) == changes
    assert [cost for cost, _ in read_costs()] == [0, 1, 2, 3, 4]


def test_the_roll_ups_change_with_the_records(
    echo: Provider, records: RecordCreator, price: Price, today: RecostRange
) -> None:
    for cost in (None, 1, 2_000, 70):
        records.create_record(echo, cost_micro_usd=cost)
    folding.fold_all_records()
    records.create_record(echo)  # on SQLite it is not folded yet
    assert update_costs(today).changed_records == 5  # one gets its price alone
    folding.fold_all_records()
    sums = UsageHour.objects.aggregate(
        cost=Sum("cost_micro_usd"), unknown=Sum("unknown_cost_requests")
    )
    assert sums == {"cost": 10_000, "unknown": 0}
    assert reconciliation.compare_rollups(*reconciliation.find_records_span()).count == 0
