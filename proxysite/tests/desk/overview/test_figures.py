"""Figures, charts and lists: errors by origin, unknown costs marked, changes, links."""

import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.utils import timezone

from api.models import ApiKey, BusiestSubjects
from api.usage.folding import fold_all_records
from api.usage.spans import stored_tops
from api.usage.spans.stored_tops import update_stored_tops
from proxysite.desk.overview import figures, top_lists
from proxysite.desk.overview.quantities import describe_change, format_duration, format_money
from proxysite.desk.overview.ranges import build_period
from proxysite.tests.desk.pages import create_record, read_text

pytestmark = pytest.mark.django_db
ALL = ("1h", "24h", "7d", "30d")


@pytest.fixture(autouse=True)
def empty_cache():
    cache.clear()


def read_stats(name="24h"):
    period = build_period(name, timezone.now())
    stats = figures.list_stats(figures.read_figures(period))
    return {stat.label: stat for stat in stats}


def ago(**length):
    return timezone.now() - timedelta(**length)


@pytest.mark.parametrize("is_folded", [True, False])
@pytest.mark.parametrize("name", ALL)
def test_errors_are_apart_by_their_origin(name, is_folded):
    create_record(status="error", http_status=500, error_code="internal_error")
    for _ in range(2):
        create_record(status="error", http_status=502, error_code="upstream_failed")
    for _ in range(3):
        create_record(status="error", http_status=400, error_code="invalid_value")
    create_record(status="refused", request_count=40)
    create_record(status="abandoned", http_status=499)
    if is_folded:
        fold_all_records()
    stats = read_stats(name)
    assert stats["Requests"].value == "47"
    assert stats["Requests"].note == "40 of them were refused by a limit"
    ours, upstream, caller = (
        stats[f"Errors of {whose}"] for whose in ("this gateway", "upstreams", "callers")
    )
    assert (ours.value, upstream.value, caller.value) == ("1", "2", "3")
    assert (ours.tone, upstream.tone, caller.tone) == ("bad", "bad", "")


def test_what_happened_before_the_span_does_not_stay_red():
    create_record(at=ago(days=2), status="error", http_status=502, error_code="upstream_failed")
    assert read_stats()["Errors of upstreams"].tone == ""


def test_a_share_of_everything_is_a_hundred_percent():
    create_record(status="error", http_status=502, error_code="upstream_failed")
    assert read_stats()["Errors of upstreams"].note == "100 % of all requests"


def test_figures_stand_beside_those_of_the_period_before():
    for hours in (1, 2, 3, 30):
        create_record(at=ago(hours=hours), prompt_tokens=100, cost_micro_usd=1_000_000)
    stats = read_stats()
    assert stats["Requests"].change == "+200 %"
    assert stats["Tokens"].change == "+200 %"
    assert (stats["Spend"].value, stats["Spend"].change) == ("$3.00", "+200 %")


def test_an_unknown_cost_is_marked_and_never_zero():
    create_record(cost_micro_usd=None)
    stat = read_stats()["Spend"]
    assert stat.value == "–*"
    assert stat.note == "* without 1 request whose price is unknown"
    create_record(cost_micro_usd=2_500_000)
    assert read_stats()["Spend"].value == "$2.50*"


@pytest.mark.parametrize("is_folded", [True, False])
@pytest.mark.parametrize("name", ["1h", "24h"])
def test_answer_times_are_those_of_answered_requests(name, is_folded):
    for number in range(1, 101):
        create_record(first_byte_ms=number * 10, total_ms=number * 100)
    create_record(status="error", first_byte_ms=60_000, total_ms=60_000)
    if is_folded:
        fold_all_records()
    stat = read_stats(name)["First byte, median"]
    assert 450 <= int(stat.value.removesuffix(" ms")) <= 550
    tail = re.fullmatch(r"95 % within (\S+) ms", stat.note)
    assert 855 <= float(tail[1]) <= 1_045
    assert 4.5 <= float(read_stats(name)["Total time, median"].value.removesuffix(" s")) <= 5.5


def test_figures_lead_to_their_requests():
    create_record(status="error", http_status=502, error_code="upstream_failed")
    address = urlsplit(read_stats()["Errors of upstreams"].address)
    assert address.path == "/admin/api/usagerecord/"
    values = parse_qs(address.query)
    assert values["origin"] == ["upstream"]
    assert values["from"]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
@pytest.mark.parametrize("name", ALL)
def test_the_lists_behind_the_figures_have_the_same_requests(admin_client, provider, name, zone):
    june = User.objects.create_user("june")
    key = ApiKey.objects.create(user=june, prefix="sk-ps-june", digest="d")
    for number in range(7):
        create_record(key=key, user=june, provider=provider, model="a", cost_micro_usd=None)
        if number % 2:
            create_record(status="error", http_status=502, error_code="upstream_failed")
    fold_all_records()
    admin_client.cookies["timezone"] = zone
    admin_client.get(f"/admin/overview/top?range={name}")  # a page has them in the cache then
    html = admin_client.get(f"/admin/?range={name}").content.decode()
    links = set(re.findall(r'href="(/admin/api/usagerecord/\?[^"]*)"', html))
    assert len(links) == 1 + 3 + 1 + 5, links
    counts = []
    for link in sorted(links):
        answer = admin_client.get(link.replace("&amp;", "&"))
        shown = answer.content.decode()
        assert answer.status_code == 200
        assert "There is no" not in shown, link
        counts.append(len(set(re.findall(r"/usagerecord/([0-9a-f-]{36})/change/", shown))))
    assert sorted(counts) == sorted([10, 0, 3, 0, 10, 7, 7, 7, 3, 7]), counts


@pytest.mark.parametrize("name", ALL)
def test_the_busiest_keys_users_models_and_providers_are_listed(provider, name):
    june = User.objects.create_user("june")
    key = ApiKey.objects.create(user=june, prefix="sk-ps-june", digest="d")
    for number in range(3):
        create_record(key=key, user=june, provider=provider, model="a", prompt_tokens=number)
    create_record(model="<b>", cost_micro_usd=None)
    fold_all_records()
    lists = top_lists.build_top_lists(build_period(name, timezone.now()))
    assert lists is not None
    lines = {one.title: one.lines for one in lists.lists}
    assert [line.name for line in lines["Keys"]] == ["sk-ps-june"]
    assert [line.name for line in lines["Users"]] == ["june"]
    assert [(line.name, line.requests) for line in lines["Models"]] == [("a", "3"), ("<b>", "1")]
    assert f"provider__id__exact={provider.pk}" in lines["Providers"][0].address


def test_lists_of_long_ranges_come_after_the_page(admin_client, staff):
    create_record(model="kimi-k2")
    fold_all_records()
    html = admin_client.get("/admin/?range=30d").content.decode()
    assert 'data-refresh="/admin/overview/top?range=30d"' in html
    assert "Keys with the most requests" not in html
    part = admin_client.get("/admin/overview/top?range=30d").content.decode()
    assert "kimi-k2" in part
    assert "data-refresh-again" not in part
    html = admin_client.get("/admin/?range=30d").content.decode()
    assert "Keys with the most requests" in html, "they are in the cache now"
    assert staff("view_provider").get("/admin/overview/top?range=30d").status_code == 403


@pytest.mark.parametrize(("name", "days"), [("7d", 7), ("30d", 30)])
def test_lists_that_take_long_are_those_that_a_worker_added_up(
    admin_client, name, days, monkeypatch
):
    create_record(model="kimi-k2")
    fold_all_records()
    monkeypatch.setattr(stored_tops, "QUICK_MILLISECONDS", 0)
    update_stored_tops()
    create_record(model="came-later")
    fold_all_records()
    html = admin_client.get(f"/admin/?range={name}").content.decode()
    assert "kimi-k2" in html
    assert "came-later" not in html.partition("These lists were added up at")[0]
    assert "These lists were added up at" in html
    BusiestSubjects.objects.filter(days=days).update(end=timezone.now() - timedelta(hours=4))
    part = admin_client.get(f"/admin/overview/top?range={name}").content.decode()
    assert "came-later" in part, "what is too old is not shown"


def test_lists_that_are_quick_are_added_up_when_somebody_looks(admin_client):
    update_stored_tops()
    create_record(model="kimi-k2")
    fold_all_records()
    assert "kimi-k2" in admin_client.get("/admin/overview/top?range=7d").content.decode()


@pytest.mark.parametrize("name", [*ALL, "nonsense"])
def test_each_range_has_a_page_with_four_charts(admin_client, name):
    create_record(model="<script>")
    html = admin_client.get(f"/admin/?range={name}").content.decode()
    assert html.count('<svg class="chart"') == 4
    assert html.count('aria-current="page"') >= 1
    assert "<script>" not in re.sub(r"<script[^>]* src=[^>]*>", "", html)


def test_days_are_those_of_the_viewer(admin_client):
    now = timezone.now()
    create_record()
    admin_client.cookies["timezone"] = "Asia/Kathmandu"
    html = admin_client.get("/admin/?range=30d").content.decode()
    local = now + timedelta(hours=5, minutes=45)
    assert f">{local - timedelta(days=29):%m-%d}</text>" in html


def test_amounts_are_short():
    assert format_money(0) == "$0.00"
    assert format_money(1_234_567_890) == "$1,234.57"
    assert format_money(12_345) == "$0.0123"
    assert format_duration(None) == "–"
    assert format_duration(850.4) == "850 ms"
    assert format_duration(1_234) == "1.23 s"
    assert format_duration(150_000) == "2.5 min"
    assert describe_change(5, 0) == ""
    assert describe_change(110, 100) == "+10 %"


def test_the_page_says_what_changes_are_against(admin_client, provider):
    assert "Changes are against the 24 hours before." in read_text(admin_client)
