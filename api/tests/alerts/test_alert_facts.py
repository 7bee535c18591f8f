"""The facts of alerts: amounts, units and names."""

from datetime import UTC, datetime

import pytest

from api.alerts.alert_facts import make_model_id, split_model_id
from api.models import AlertKind
from api.tests.alerts.receiver import make_facts


def test_money_is_a_decimal_text_and_counts_are_numbers() -> None:
    until = datetime(2026, 12, 1, tzinfo=UTC)
    assert make_facts(until=until).as_json() == {
        "used": "4.01",
        "limit": "5",
        "unit": "USD",
        "until": "2026-12-01T00:00:00+00:00",
    }
    hit = make_facts(kind=AlertKind.LIMIT_HIT, limit_name="requests_per_minute", used=61, limit=60)
    assert hit.as_json() == {"used": 61, "limit": 60, "unit": "requests", "until": None}


@pytest.mark.parametrize(
    ("micro_usd", "text"), [(0, "0"), (1, "0.000001"), (10_000_000, "10"), (10**15, "1000000000")]
)
def test_no_amount_of_money_is_rounded(micro_usd: int, text: str) -> None:
    assert make_facts(used=micro_usd).as_json()["used"] == text


def test_the_time_of_a_report_is_no_part_of_its_name() -> None:
    assert make_facts(used=1).name == make_facts(used=2).name
    assert make_facts(period="2026-12-01").name != make_facts().name


def test_a_model_keeps_every_character_of_its_name() -> None:
    assert split_model_id(make_model_id(3, "a:b/c")) == (3, "a:b/c")
