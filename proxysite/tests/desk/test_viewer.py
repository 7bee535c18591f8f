"""The viewer's language and time zone, and errors as pages."""

from datetime import UTC, datetime

import pytest

from api.models import UsageRecord

pytestmark = pytest.mark.django_db
PAGE = {"accept": "text/html"}


def create_record():
    return UsageRecord.objects.create(
        started_at=datetime(2026, 1, 31, 22, 30, tzinfo=UTC),
        endpoint="chat/completions",
        model="m",
        stream=False,
        status="complete",
    )


def test_times_are_shown_in_the_zone_of_the_browser_and_the_zone_is_named(admin_client):
    record = create_record()
    admin_client.cookies["timezone"] = "Asia/Kathmandu"
    html = admin_client.get(f"/admin/api/usagerecord/{record.pk}/change/").content.decode()
    assert "2026-02-01 04:15:00" in html
    assert "Times are in Asia/Kathmandu (UTC+05:45)." in html


@pytest.mark.parametrize("cookie", ["", "Mars/Olympus", "../../etc/passwd", "Europe%2FVienna"])
def test_a_zone_that_nobody_knows_is_utc(admin_client, cookie):
    admin_client.cookies["timezone"] = cookie
    html = admin_client.get("/admin/api/apikey/").content.decode()
    zone = "Europe/Vienna (UTC+0" if "Vienna" in cookie else "UTC (UTC+00:00)"
    assert f"Times are in {zone}" in html


def test_the_language_is_that_of_the_browser_until_a_person_chooses(admin_client):
    address = "/admin/api/apikey/"
    chinese = admin_client.get(address, headers={"accept-language": "zh-CN,zh;q=0.9"})
    assert chinese.headers["content-language"] == "zh-hans"
    assert 'lang="zh-hans"' in chinese.content.decode()
    answer = admin_client.post("/i18n/setlang/", {"language": "en", "next": address})
    assert answer.headers["location"] == address
    english = admin_client.get(address, headers={"accept-language": "zh-CN"})
    assert english.headers["content-language"] == "en"


def test_the_switch_of_languages_leads_to_no_other_site(admin_client):
    body = {"language": "zh-hans", "next": "https://evil.example/"}
    assert admin_client.post("/i18n/setlang/", body).headers["location"] == "/"


def test_answers_of_the_api_are_english_in_every_language(client):
    answer = client.get("/v1/models", headers={"accept-language": "zh-CN"})
    assert "content-language" not in answer.headers
    assert "API key" in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/admin/nothing/", "/portal/nothing/", "/playground/nothing"])
def test_a_page_that_does_not_exist_is_a_page_for_people_and_json_for_programs(admin_client, path):
    page = admin_client.get(path, headers=PAGE)
    assert page.status_code == 404
    assert "Page not found" in page.content.decode()
    program = admin_client.get(path)
    assert program.status_code == 404
    assert program.json()["error"]["code"]


def test_a_page_that_a_person_may_not_see_says_so(staff):
    answer = staff("view_apikey").get("/admin/providers/provider/", headers=PAGE)
    assert answer.status_code == 403
    assert "Your account may not do this" in answer.content.decode()


def test_a_form_without_its_token_is_refused_with_a_page_that_says_why(admin_user):
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    answer = client.post("/admin/mode", {"provider": 1}, headers=PAGE)
    assert answer.status_code == 403
    assert "The form was not accepted" in answer.content.decode()
