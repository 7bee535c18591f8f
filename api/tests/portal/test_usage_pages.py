"""A user's usage by the days of the viewer's zone, the requests and their CSV."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from api import keys
from api.models import Price, Status
from api.portal.own_usage.request_csv import COLUMNS, render_csv_pieces
from api.portal.own_usage.usage_spans import UsageSpan, make_span, read_days
from api.tests.portal.conftest import create_record
from providers.models import Provider


def test_requests_count_to_the_days_of_the_viewers_zone(alice: User) -> None:
    key, _secret = keys.create_key(alice)
    zone = ZoneInfo("Asia/Shanghai")
    today = datetime.now(zone).date()
    midnight = datetime.combine(today, datetime.min.time(), zone)
    create_record(key, started_at=midnight - timedelta(minutes=1))
    create_record(key, started_at=midnight + timedelta(minutes=1))
    with timezone.override(zone):
        span = make_span("7d")
        days, totals = read_days(alice.pk, span)
    assert days[today]["requests"] == 1
    assert days[today - timedelta(days=1)]["requests"] == 1
    assert totals["requests"] == 2
    assert len(days) == 7


def test_the_sums_of_days_are_the_total_in_a_zone_with_half_hours_and_when_clocks_change(
    alice: User,
) -> None:
    key, _secret = keys.create_key(alice)
    begin = datetime(2026, 3, 28, tzinfo=UTC)
    for hours in range(72):
        create_record(key, started_at=begin + timedelta(hours=hours, minutes=15))
    for name in ("Asia/Kolkata", "Europe/Vienna", "UTC", "Asia/Kathmandu"):
        span = UsageSpan("", begin.date(), begin.date() + timedelta(days=2), ZoneInfo(name))
        days, totals = read_days(alice.pk, span)
        assert sum(sums["requests"] for sums in days.values()) == totals["requests"], name
        assert 60 <= totals["requests"] <= 72, name


def test_the_page_shows_sums_by_model_and_key_and_marks_unknown_costs(
    browser: Client, alice: User
) -> None:
    key, _secret = keys.create_key(alice, name="laptop")
    create_record(key)
    create_record(key, model="parrot", cost_micro_usd=None)
    context = browser.get("/portal/usage/").context
    assert {row["model"]: row["requests"] for row in context["models"]} == {"echo": 1, "parrot": 1}
    assert [row["key_name"] for row in context["keys"]] == ["laptop"]
    html = browser.get("/portal/usage/", {"range": "7d"}).content.decode()
    assert "0.0015 USD*" in html
    assert "The cost of 1 request is unknown." in html


def test_a_failed_request_says_what_to_do(browser: Client, alice: User) -> None:
    key, _secret = keys.create_key(alice)
    failed = create_record(
        key, status=Status.ERROR, http_status=400, error_code="context_length_exceeded"
    )
    complete = create_record(key)
    html = browser.get("/portal/requests/", {"status": "failed"}).content.decode()
    assert "too long for the model" in html
    assert str(failed) in html
    assert str(complete) not in html
    assert "too long for the model" in browser.get(f"/portal/requests/{failed}/").content.decode()


def test_the_owner_sees_no_token_of_an_upstream_call(browser: Client, alice: User) -> None:
    key, _secret = keys.create_key(alice)
    attempts = [{"provider": "echo", "token": "tok-secret", "status": 500, "outcome": "failed"}]
    record = create_record(key, attempts=attempts)
    html = browser.get(f"/portal/requests/{record}/").content.decode()
    assert "failed" in html
    assert "tok-secret" not in html


def test_the_csv_has_every_request_and_no_formula(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.portal.own_usage.request_csv.ROWS_AT_ONCE", 2)
    key, _secret = keys.create_key(alice)
    for number in range(5):
        create_record(key, model=f"=cmd{number}")
    records = type(key).objects.none()
    from api.models import UsageRecord

    records = UsageRecord.objects.filter(user=alice).order_by("-id")
    lines = b"".join(render_csv_pieces(records)).decode().splitlines()
    assert lines[0].split(",") == list(COLUMNS)
    assert len(lines) == 6
    assert len({line.split(",")[0] for line in lines}) == 6
    assert all(",'=cmd" in line for line in lines[1:])


@pytest.mark.settings(PORTAL_CSV_ROWS=3)
def test_the_csv_has_at_most_as_many_requests_as_the_setting_says(alice: User) -> None:
    from api.models import UsageRecord

    key, _secret = keys.create_key(alice)
    for _ in range(5):
        create_record(key)
    lines = b"".join(render_csv_pieces(UsageRecord.objects.order_by("-id"))).splitlines()
    assert len(lines) == 4


def test_pages_of_requests_have_no_gaps(
    browser: Client, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.portal.own_usage.request_pages.REQUESTS_SHOWN", 2)
    key, _secret = keys.create_key(alice)
    created = {str(create_record(key)) for _ in range(5)}
    shown: list[str] = []
    before = ""
    for _page in range(3):
        context = browser.get("/portal/requests/", {"before": before}).context
        shown += [str(line["record"]) for line in context["lines"]]
        before = context["next_before"]
    assert (len(shown), set(shown), before) == (5, created, "")


def test_models_are_shown_with_context_window_and_price(
    browser: Client, provider: Provider
) -> None:
    model = provider.models.get(public_id="echo")
    model.context_window = 32_768
    model.save()
    Price.objects.create(
        provider=provider,
        upstream_model="echo",
        valid_from=timezone.now() - timedelta(days=1),
        prompt_usd="0.25",
        completion_usd="2",
    )
    html = browser.get("/portal/models/").content.decode()
    assert "32,768" in html
    assert ">0.25<" in html
    assert ">2<" in html
    assert "unknown" in html, "the context window of the other model"


def test_the_overview_shows_the_first_steps_until_there_is_a_request(
    browser: Client, alice: User
) -> None:
    assert "Get an API key" in browser.get("/portal/").content.decode()
    key, _secret = keys.create_key(alice)
    create_record(key)
    html = browser.get("/portal/").content.decode()
    assert "Get an API key" not in html
    assert "0.0015 USD" in html


@pytest.mark.parametrize("prefix", ["req_", "chatcmpl-", "resp_", ""])
def test_a_request_is_found_by_its_id_and_that_of_its_answer(
    browser: Client, alice: User, mallory: User, prefix: str
) -> None:
    record = create_record(keys.create_key(alice)[0])
    foreign = create_record(keys.create_key(mallory)[0])
    answer = browser.get("/portal/requests/", {"id": f" {prefix}{record.pk.hex}"})
    assert answer.headers["location"] == f"/portal/requests/{record}/"
    for text in (f"{prefix}{foreign.pk.hex}", "nothing"):
        html = browser.get("/portal/requests/", {"id": text}).content.decode()
        assert "None of your requests has this id." in html
