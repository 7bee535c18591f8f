"""The commands about prices and costs: set_price, list_prices, seed_prices, recost."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from api.models import Price, UsageRecord
from api.tests.pricing.price_rows import RecordCreator, create_price
from providers.models import Provider
from providers.tests.command_runner import refused, run

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def echo() -> Provider:
    return Provider.objects.create(name="echo", kind="echo", needs_token=False)


@pytest.fixture
def openai() -> Provider:
    return Provider.objects.create(
        name="openai", kind="openai_compatible", base_url="https://api.openai.com/v1"
    )


# --- set_price ------------------------------------------------------------------------------------
def test_a_price_has_everything_that_was_said() -> None:
    said = run(
        *("set_price", "echo", "big", "--prompt", "0.25", "--cached", "0.025", "--completion", "2"),
        *("--cache-write", "0.3", "--reasoning", "3", "--request", "0.01", "--image", "0.04"),
        *("--audio-second", "0.001", "--tier", "200000:prompt=2.5,cache-write=3,completion=15"),
        *("--tier", "400000:prompt=5", "--from", "2026-12-01T08:30", "--source", "contract"),
    )
    assert said == "big of echo has this price from 2026-12-01 08:30 UTC on.\n"
    price = Price.objects.get()
    assert price.valid_from == datetime(2026, 12, 1, 8, 30, tzinfo=UTC)
    assert (price.prompt_usd, price.cached_usd) == (Decimal("0.25"), Decimal("0.025"))
    assert (price.cache_write_usd, price.completion_usd) == (Decimal("0.3"), 2)
    assert (price.reasoning_usd, price.request_usd) == (3, Decimal("0.01"))
    assert (price.image_usd, price.audio_second_usd) == (Decimal("0.04"), Decimal("0.001"))
    assert price.tiers == [
        {
            "above_prompt_tokens": 200_000,
            "prompt_usd": "2.5",
            "cache_write_usd": "3",
            "completion_usd": "15",
        },
        {"above_prompt_tokens": 400_000, "prompt_usd": "5"},
    ]
    assert price.source == "contract"


def test_a_price_begins_now_and_earlier_ones_stay(echo: Provider) -> None:
    create_price(echo)
    run("set_price", "echo", "big", "--prompt", "0")
    latest = Price.objects.order_by("valid_from").last()
    assert latest is not None
    assert abs(latest.valid_from - timezone.now()) < timedelta(minutes=1)
    assert (latest.prompt_usd, latest.completion_usd) == (0, None)
    assert Price.objects.count() == 2


def test_a_price_of_the_past_says_how_requests_since_then_get_their_cost() -> None:
    said = run("set_price", "echo", "big", "--prompt", "1", "--from", "2026-01-02")
    assert "recost --from 2026-01-02 --provider echo" in said


def test_a_dry_run_checks_and_writes_nothing() -> None:
    said = run("set_price", "echo", "big", "--prompt", "1", "--dry-run")
    assert "would have this price" in said
    assert Price.objects.count() == 0
    assert "greater" in refused("set_price", "echo", "big", "--prompt", "-1", "--dry-run")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nobody", "big", "--prompt", "1"), "There is no provider 'nobody'; there are: echo."),
        (("echo", " ", "--prompt", "1"), "Name the model as the provider calls it."),
        (("echo", "big"), "Give at least one price; 0 means that it costs nothing."),
        (("echo", "big", "--prompt", "-1"), "Ensure this value is greater than or equal to 0."),
        (("echo", "big", "--prompt", "NaN"), "“NaN” value must be a decimal number."),
        (("echo", "big", "--prompt", "0.123456789"), "no more than 8 decimal places."),
        (("echo", "big", "--prompt", "1", "--tier", "x"), "'x' is no tier: write for example"),
        (("echo", "big", "--prompt", "1", "--tier", "5:prompt"), "USD such as 2.5, not ''."),
        (
            ("echo", "big", "--prompt", "1", "--tier", "5:prompt=1", "--tier", "4:prompt=1"),
            "The tiers must ascend: 4 comes after 5.",
        ),
        (("echo", "big", "--prompt", "1", "--tier", "5:request=1"), "no field 'request_usd'"),
        (("echo", "big", "--prompt", "1", "--from", "soon"), "'soon' is no time: write for"),
        (("echo", "big", "--prompt", "1", "--from", "1999-12-31"), "is before the year 2000."),
    ],
    ids=str,
)
def test_a_mistake_in_a_price_is_named(words: tuple[str, ...], sentence: str) -> None:
    assert sentence in refused("set_price", *words)
    assert Price.objects.count() == 0


def test_two_prices_at_the_same_instant_are_refused() -> None:
    words = ("set_price", "echo", "big", "--prompt", "1", "--from", "2026-12-01")
    run(*words)
    assert refused(*words) == "This model already has a price from this moment on."


# --- list_prices ----------------------------------------------------------------------------------
def test_prices_in_force_and_of_later_are_listed_and_all_with_their_history(
    echo: Provider,
) -> None:
    now = timezone.now()
    create_price(echo, prompt_usd="1")
    create_price(echo, prompt_usd="2.50", valid_from=now - timedelta(days=1))
    create_price(echo, prompt_usd="3", valid_from=now + timedelta(days=1))
    entries = json.loads(run("list_prices", "--format", "json"))
    assert [entry["prompt_usd"] for entry in entries] == ["3", "2.5"]
    entries = json.loads(run("list_prices", "--format", "json", "--history"))
    assert [entry["prompt_usd"] for entry in entries] == ["3", "2.5", "1"]
    text = run("list_prices", "--provider", "echo")
    assert [line.split()[:2] for line in text.splitlines()[1:]] == [["echo", "big"]] * 2


def test_models_that_were_used_without_a_price_are_listed(echo: Provider) -> None:
    assert "Every model" in run("list_prices", "--unknown")
    RecordCreator().create_record(echo)
    expected = {"provider": "echo", "model": "big", "requests": 1, "called": ["called"]}
    assert json.loads(run("list_prices", "--unknown", "--format", "json")) == [expected]
    assert run("list_prices", "--unknown").splitlines()[1].split() == [
        "echo",
        "big",
        "1",
        "called",
    ]


def test_without_prices_the_list_says_who_makes_them() -> None:
    assert run("list_prices").startswith("No prices yet: seed_prices, set_price")


# --- seed_prices ----------------------------------------------------------------------------------
def test_list_prices_are_shown_first_and_written_when_applied(openai: Provider) -> None:
    create_price(openai, "gpt-5-mini", prompt_usd="0.5", completion_usd="2")
    shown = run("seed_prices")
    assert "changed  openai gpt-5-mini" in shown
    assert "prompt 0.5 → 0.25; cached none → 0.025" in shown
    assert "new      openai gpt-5 " in shown
    assert "Nothing is written without --apply." in shown
    assert Price.objects.count() == 1
    assert run("seed_prices", "--apply").splitlines()[-1].startswith("Written: ")
    count = Price.objects.count()
    assert count > 30
    assert run("seed_prices", "--apply").splitlines() == [
        f"Written: 0 new, 0 changed, {count - 1} same, 0 kept."
    ]
    assert Price.objects.count() == count


def test_list_prices_of_one_provider_as_json(openai: Provider) -> None:
    entries = json.loads(run("seed_prices", "--provider", "openai", "--format", "json"))
    (mini,) = [entry for entry in entries if entry["model"] == "gpt-5-mini"]
    assert (mini["outcome"], mini["prompt_usd"], mini["differences"]) == ("new", "0.25", [])
    assert mini["source"]
    assert json.loads(run("seed_prices", "--provider", "echo", "--format", "json")) == []
    assert "There is no provider 'x'" in refused("seed_prices", "--provider", "x")


def test_a_provider_without_list_prices_is_told_how_to_set_its_own() -> None:
    assert "set_price writes yours" in run("seed_prices")


# --- recost ---------------------------------------------------------------------------------------
def test_costs_are_computed_anew_after_a_look(echo: Provider) -> None:
    record = RecordCreator().create_record(echo)
    create_price(echo)
    day = f"{timezone.now() - timedelta(days=1):%Y-%m-%d}"
    said = run("recost", "--from", day, "--dry-run")
    assert said == "1 of 1 records would change; difference +0.002000 USD.\n"
    assert UsageRecord.objects.get().cost_micro_usd is None
    said = run("recost", "--from", day, "--provider", "echo", "--model", "big")
    assert said == "1 of 1 records changed; difference +0.002000 USD.\n"
    record.refresh_from_db()
    assert record.cost_micro_usd == 2_000
    assert run("recost", "--from", day).startswith("0 of 1 records changed; difference +0.000000")


def test_records_that_cannot_be_computed_are_counted(echo: Provider) -> None:
    RecordCreator().create_record(echo, attempts=[], cost_micro_usd=5)
    assert "1 keep their cost" in run("recost", "--from", "2026-01-01")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "--from"),
        (("--from", "2026-02-01", "--to", "2026-01-01"), "--from must be before --to."),
        (("--from", "x"), "'x' is no time"),
        (("--from", "2026-01-01", "--provider", "x"), "There is no provider 'x'"),
    ],
    ids=str,
)
def test_a_mistake_in_a_range_is_named(words: tuple[str, ...], sentence: str) -> None:
    assert sentence in refused("recost", *words)
