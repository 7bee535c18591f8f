"""Upstream models that answered requests and have no price."""

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Count, F, QuerySet, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from api.models import UsageRecord
from api.pricing import recorded_calls
from api.pricing.price_directory import read_directory
from api.request_ids import first_id_at
from providers.models import Provider

SPAN = timedelta(days=30)
SAMPLED_RECORDS = 5  # of each model that callers named; they tell the upstream model
RECENT_RECORDS = 20_000  # the page looks at no more


@dataclass(slots=True)
class UnknownPrice:
    """An upstream model without a price, and the requests to it whose cost is unknown.

    `models` are the names that callers used. `requests` counts all requests by these names that the
    provider answered at an unknown cost.
    """

    provider: Provider
    upstream_model: str
    models: list[str]
    requests: int = 0


def find_unknown_prices(
    most_records: int | None = None, span: timedelta = SPAN
) -> list[UnknownPrice]:
    """Return the models of the last 30 days, or another span, without a price now.

    The most used come first.

    With `most_records`, only so many of the latest records are looked at.
    """
    now = timezone.now()
    prices = read_directory()
    providers = Provider.objects.in_bulk()
    unknown: dict[tuple[int, str], UnknownPrice] = {}
    records = filter_unknown_costs(most_records, span)
    groups = records.order_by().values_list("provider_id", "model").annotate(requests=Count("pk"))
    sampled_calls = find_sampled_calls(records)
    for answering_id, model, requests in groups:
        for provider_id, upstream_model in sampled_calls.get((answering_id, model), ()):
            provider = providers.get(provider_id)
            if provider is None or prices.find_price(provider_id, upstream_model, now):
                continue
            entry = unknown.setdefault(
                (provider_id, upstream_model), UnknownPrice(provider, upstream_model, [])
            )
            entry.models.append(model)
            entry.requests += requests
    return sorted(unknown.values(), key=lambda entry: -entry.requests)


def filter_unknown_costs(most_records: int | None, span: timedelta) -> QuerySet[UsageRecord]:
    """Return the records of the latest time whose cost is unknown, for want of a price."""
    recent = UsageRecord.objects.filter(pk__gte=first_id_at(timezone.now() - span))
    if most_records is not None:
        next_older = recent.order_by("-pk").values_list("pk", flat=True)[most_records:][:1]
        recent = recent.filter(pk__gt=next_older[0]) if next_older else recent
    return recent.filter(cost_micro_usd=None).exclude(status__in=recorded_calls.UNTOLD_STATUSES)


def find_sampled_calls(
    records: QuerySet[UsageRecord],
) -> dict[tuple[int | None, str], set[tuple[int, str]]]:
    """Return provider id and upstream model of the calls in the latest records of each model.

    They are given by the provider that answered and the name that callers used; one query.
    """
    place = Window(
        RowNumber(), partition_by=[F("provider_id"), F("model")], order_by=F("pk").desc()
    )
    latest = records.order_by().annotate(place=place).filter(place__lte=SAMPLED_RECORDS)
    sampled: dict[tuple[int | None, str], set[tuple[int, str]]] = {}
    for record in latest.values(*recorded_calls.COLUMNS, "model"):
        calls = sampled.setdefault((record["provider_id"], record["model"]), set())
        for call in recorded_calls.read_answered_calls(record) or ():
            if call.provider_id is not None:
                calls.add((call.provider_id, call.upstream_model))
    return sampled
