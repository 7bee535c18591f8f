"""Models that were used and have no price."""

from datetime import timedelta

from django.utils import timezone

from api.models import Status
from api.pricing.unknown_prices import find_unknown_prices
from api.tests.pricing.price_rows import RecordCreator, create_price
from providers.models import Provider


def list_unknown(most_records: int | None = None) -> list[tuple[str, str, list[str], int]]:
    return [
        (entry.provider.name, entry.upstream_model, sorted(entry.models), entry.requests)
        for entry in find_unknown_prices(most_records)
    ]


def test_models_without_a_price_are_listed_by_their_upstream_names(
    echo: Provider, records: RecordCreator
) -> None:
    create_price(echo, "priced")
    for _ in range(2):
        records.create_record(echo, model="a")
    records.create_record(echo, model="b")
    records.create_record(echo, model="c", upstream_model="small")
    # it has a price by now: recost gives its requests their cost
    records.create_record(echo, model="d", upstream_model="priced")
    assert list_unknown() == [("echo", "big", ["a", "b"], 3), ("echo", "small", ["c"], 1)]


def test_a_price_of_later_is_none_yet(echo: Provider, records: RecordCreator) -> None:
    create_price(echo, valid_from=timezone.now() + timedelta(hours=1))
    records.create_record(echo)
    assert list_unknown() == [("echo", "big", ["called"], 1)]


def test_costs_that_are_unknown_for_another_reason_are_not_listed(
    echo: Provider, records: RecordCreator
) -> None:
    old = timezone.now() - timedelta(days=31)
    records.create_record(echo, started_at=old)
    records.create_record(echo, cost_micro_usd=0)
    records.create_record(echo, status=Status.INTERRUPTED, attempts=[])
    records.create_record(None, status=Status.REFUSED, attempts=[])
    records.create_record(None)
    gone = Provider.objects.create(name="gone", kind="echo", needs_token=False)
    records.create_record(gone)
    gone.delete()
    assert list_unknown() == []


def test_the_page_looks_at_the_latest_records_only(echo: Provider, records: RecordCreator) -> None:
    hour = timedelta(hours=1)
    records.create_record(echo, started_at=timezone.now() - hour, upstream_model="old", model="o")
    records.create_record(echo)
    records.create_record(echo, cost_micro_usd=0)
    assert list_unknown(2) == [("echo", "big", ["called"], 1)]
    assert len(list_unknown(3)) == 2
    assert len(list_unknown(4)) == 2
