"""Models that are used although nobody knows their price are reported once a day."""

import time
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.utils import timezone

from api.alerts.alert_facts import make_model_id
from api.alerts.price_alerts import LOOKBACK_SECONDS, report_unknown_prices
from api.models import AlertEvent, Price, Status, UsageRecord
from api.tasks import report_unknown_prices as report_task
from providers.models import Provider
from proxysite.testing import rows

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
def provider() -> Provider:
    row = rows.create_provider("http://127.0.0.1:9", "fake", models=("m=up",))
    Price.objects.create(provider=row, upstream_model="other", valid_from=timezone.now())
    return row


def create_record(provider: Provider | None, *, age_seconds: float = 1, **fields: Any) -> None:
    milliseconds = int((time.time() - age_seconds) * 1_000)
    names = ["fake", "fake"] if provider is None else [provider.name]
    values = {
        "id": uuid.UUID(int=(milliseconds << 80) | uuid.uuid4().int >> 48),
        "started_at": timezone.now(),
        "provider": provider,
        "endpoint": "chat/completions",
        "model": "m",
        "stream": False,
        "status": Status.COMPLETE,
        "attempts": [{"provider": name, "model": "up", "outcome": "answered"} for name in names],
    }
    UsageRecord.objects.create(**values | fields)


def list_models() -> list[str]:
    return sorted(AlertEvent.objects.values_list("subject_id", flat=True))


def test_a_model_without_a_price_is_reported_once_a_day(provider: Provider) -> None:
    create_record(provider)
    create_record(provider)
    assert report_unknown_prices() == 1
    assert report_task() == 0
    event = AlertEvent.objects.get()
    assert event.subject_id == make_model_id(provider.pk, "up")
    assert event.period == datetime.now(UTC).date().isoformat()


def test_each_upstream_model_that_answered_is_reported(provider: Provider) -> None:
    deleted_id = provider.pk + 1
    outcomes = (
        (provider.pk, "failed", "ServerFailed"),
        (provider.pk, "first", "answered"),
        (provider.pk, "second", "cut"),
        (deleted_id, "third", "answered"),
        (provider.pk, "other", "answered"),
    )
    attempts = [
        {"provider_id": pk, "model": model, "outcome": outcome, "tokens": {"prompt": 1}}
        for pk, model, outcome in outcomes
    ]
    create_record(provider, model="virtual", attempts=attempts, prompt_tokens=4)
    assert report_unknown_prices() == 2
    assert list_models() == [make_model_id(provider.pk, name) for name in ("first", "second")]


@pytest.mark.parametrize(
    "fields",
    [
        {"cost_micro_usd": 0},
        {"status": Status.REFUSED},
        {"age_seconds": LOOKBACK_SECONDS + 60},
        {"attempts": []},
    ],
    ids=repr,
)
def test_other_requests_are_no_reason(provider: Provider, fields: dict[str, Any]) -> None:
    create_record(provider, **fields)
    assert report_unknown_prices() == 0


def test_a_request_without_a_provider_is_no_reason(provider: Provider) -> None:
    create_record(None)
    assert report_unknown_prices() == 0


def test_a_price_that_was_set_since_is_enough(provider: Provider) -> None:
    create_record(provider)
    Price.objects.create(provider=provider, upstream_model="up", valid_from=timezone.now())
    assert report_unknown_prices() == 0


def test_a_price_of_the_future_is_not(provider: Provider) -> None:
    create_record(provider)
    start = datetime(2999, 1, 1, tzinfo=UTC)
    Price.objects.create(provider=provider, upstream_model="up", valid_from=start)
    assert report_unknown_prices() == 1


def test_where_there_is_no_price_at_all_nothing_is_reported(provider: Provider) -> None:
    create_record(provider)
    Price.objects.all().delete()
    assert report_unknown_prices() == 0
