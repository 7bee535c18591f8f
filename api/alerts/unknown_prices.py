"""Find models that were used although their price is unknown, and report them.

Nothing is reported while there is no price at all: such a gateway counts no money.
"""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

from django.db.models import QuerySet

from api.alerts.alert_facts import AlertFacts, make_model_id
from api.alerts.event_records import record_alerts
from api.models import AlertKind, AlertSubject, Price, Status, UsageRecord
from providers.models import Provider
from providers.protocol.attempt import ANSWERING_OUTCOMES

LOOKBACK_SECONDS = 2 * 3_600  # more than the pause between two looks
MOST_MODELS = 500
UpstreamModel = tuple[int, str]  # the provider's id and the name of the model there


def report_unknown_prices() -> int:
    """Report each upstream model of an unknown price that was used lately, once a day.

    Returns how many were not reported before.
    """
    if not Price.objects.exists():
        return 0
    today = datetime.now(UTC).date().isoformat()
    facts = [
        AlertFacts(
            AlertKind.UNKNOWN_PRICE,
            AlertSubject.MODEL,
            make_model_id(provider_id, upstream_model),
            today,
        )
        for provider_id, upstream_model in sorted(find_unpriced_models())
    ]
    return len(record_alerts(facts)) if facts else 0


def find_unpriced_models() -> set[UpstreamModel]:
    """Return the upstream models that answered lately, and have no price that is valid now."""
    used = set(find_used_models(filter_without_cost(LOOKBACK_SECONDS)))
    now = datetime.now(UTC)
    priced = Price.objects.filter(
        provider_id__in={provider_id for provider_id, _ in used}, valid_from__lte=now
    )
    return used - set(priced.values_list("provider_id", "upstream_model"))


def filter_without_cost(seconds: float) -> QuerySet[UsageRecord]:
    """Return the answered requests of the last seconds whose cost is unknown.

    Ids are UUIDv7: the oldest one of a time has its milliseconds since 1970 as first 48 bits.
    """
    oldest_milliseconds = int((time.time() - seconds) * 1_000)
    return UsageRecord.objects.filter(
        pk__gte=UUID(int=oldest_milliseconds << 80), cost_micro_usd=None, provider__isnull=False
    ).exclude(status__in=(Status.REFUSED, Status.ERROR))


def find_used_models(records: QuerySet[UsageRecord]) -> Iterator[UpstreamModel]:
    """Yield the upstream models that answered these requests; one request for each model is read.

    An attempt names its provider, and the model as that provider calls it.
    """
    provider_ids = dict(Provider.objects.values_list("name", "pk"))
    groups = records.order_by().values_list("provider_id", "model").distinct()
    for provider_id, model in groups[:MOST_MODELS]:
        of_group = records.filter(provider_id=provider_id, model=model).order_by("-pk")
        for attempt in of_group.values_list("attempts", flat=True)[0]:
            is_answer = attempt.get("outcome") in ANSWERING_OUTCOMES
            attempt_provider_id = provider_ids.get(attempt.get("provider"))
            if is_answer and attempt_provider_id is not None and attempt.get("model"):
                yield attempt_provider_id, attempt["model"]
