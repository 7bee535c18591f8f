"""The list prices of the file, and what they would change."""

from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import urlsplit

import pytest
import yaml
from django.utils import timezone

from api.models import Price
from api.pricing.well_known_prices import DATA_PATH, list_differences, plan_prices
from api.tests.pricing.price_rows import create_price
from providers.models import Provider
from providers.presets import PRESETS

SECTIONS = yaml.safe_load(DATA_PATH.read_text())
HOSTS = {host for section in SECTIONS for host in section["hosts"]}
GPT_5_FROM = datetime(2026, 7, 1, tzinfo=UTC)


@pytest.fixture
def openai(transactional_db: None) -> Provider:
    return Provider.objects.create(
        name="mine", kind="openai_compatible", base_url="https://api.openai.com/v1"
    )


def apply(*providers: Provider) -> dict[str, int]:
    """Write the prices, and return how many had which outcome."""
    outcomes: dict[str, int] = {}
    for plan in plan_prices(providers):
        outcomes[plan.outcome] = outcomes.get(plan.outcome, 0) + 1
        if plan.is_to_write:
            plan.price.full_clean()
            plan.price.save()
    return outcomes


def find_outcomes(provider: Provider, model: str) -> list[str]:
    return [plan.outcome for plan in plan_prices([provider]) if plan.price.upstream_model == model]


# --- the file -------------------------------------------------------------------------------------
def test_every_entry_has_a_source_and_a_day_that_is_past() -> None:
    for section in SECTIONS:
        assert section["source"]
        assert section["checked"] <= timezone.now().date()
        assert section["models"]


def test_its_hosts_are_those_of_presets() -> None:
    known = {urlsplit(preset.base_url).hostname for preset in PRESETS.values()}
    assert known >= HOSTS
    assert len(HOSTS) > 8


@pytest.mark.parametrize("host", sorted(HOSTS))
def test_every_price_of_a_host_can_be_a_row(host: str, transactional_db: None) -> None:
    provider = Provider.objects.create(
        name="p", kind="openai_compatible", base_url=f"https://{host}/v1"
    )
    outcomes = apply(provider)
    assert outcomes.keys() <= {"new", "changed"}
    assert apply(provider) == {"same": sum(outcomes.values())}
    for price in provider.prices.all():
        assert price.source
        assert price.prompt_usd is not None
        assert price.completion_usd is not None
        # a cached token that cost more than an uncached one would be a slip
        assert price.cached_usd is None or price.cached_usd <= price.prompt_usd


# --- what it would change -------------------------------------------------------------------------
def test_a_provider_of_another_host_gets_no_prices(transactional_db: None) -> None:
    rows = [
        Provider(name="openai", kind="openai_compatible", base_url="https://openai.example/v1"),
        Provider(name="echo", kind="echo"),
    ]
    for row in rows:
        row.save()
    assert plan_prices(rows) == []


def test_new_prices_have_their_source_and_their_day(openai: Provider) -> None:
    assert apply(openai).keys() == {"new"}
    price = Price.objects.get(upstream_model="gpt-5-mini")
    assert (price.prompt_usd, price.cached_usd) == (Decimal("0.25"), Decimal("0.025"))
    assert price.completion_usd == 2
    assert price.valid_from == GPT_5_FROM
    assert "openai.com" in price.source
    tiers = Price.objects.get(upstream_model="gpt-5.4").tiers
    assert tiers[0]["above_prompt_tokens"] == 272_000


def test_a_price_of_before_is_changed_and_stays_as_history(openai: Provider) -> None:
    create_price(openai, "gpt-5-mini", prompt_usd="0.5", completion_usd="2")
    (plan,) = [plan for plan in plan_prices([openai]) if plan.price.upstream_model == "gpt-5-mini"]
    assert plan.outcome == "changed"
    assert plan.before is not None
    assert list_differences(plan.before, plan.price) == [
        "prompt 0.5 → 0.25",
        "cached none → 0.025",
    ]
    apply(openai)
    assert openai.prices.filter(upstream_model="gpt-5-mini").count() == 2


def test_a_newer_price_of_the_operator_stays(openai: Provider) -> None:
    create_price(openai, "gpt-5-mini", valid_from=timezone.now())
    create_price(openai, "gpt-5", valid_from=GPT_5_FROM)
    assert find_outcomes(openai, "gpt-5-mini") == ["kept"]
    assert find_outcomes(openai, "gpt-5") == ["kept"]
    apply(openai)
    assert openai.prices.filter(upstream_model__in=("gpt-5", "gpt-5-mini")).count() == 2


def test_a_model_with_two_list_prices_has_both(transactional_db: None) -> None:
    anthropic = Provider.objects.create(
        name="anthropic", kind="openai_compatible", base_url="https://api.anthropic.com/v1"
    )
    assert find_outcomes(anthropic, "claude-sonnet-5-5") == ["new", "changed"]
    apply(anthropic)
    prices = anthropic.prices.filter(upstream_model="claude-sonnet-5-5").order_by("valid_from")
    assert [price.cached_usd for price in prices] == [Decimal("0.2"), Decimal("0.1")]
    assert find_outcomes(anthropic, "claude-sonnet-5-5") == ["same", "same"]
