"""Odd filters in the addresses of lists and exports: days at the end of time, unknown names."""

import time

import pytest
from django.test import Client

from providers.admin import reauthentication

pytestmark = pytest.mark.django_db
DAYS = "since=0001-01-01&from=0001-01-01&until=9999-12-31"
ZONES = ("UTC", "Asia/Shanghai", "America/New_York")


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    "page",
    [
        "/admin/conversations/conversation/",
        "/admin/proxysite/auditentry/",
        "/admin/proxysite/auditentry/csv/",
        "/admin/api/usagerecord/",
        "/admin/",
        "/portal/usage/",
    ],
)
def test_the_first_and_the_last_day_are_read_in_each_time_zone(
    admin_client: Client, page: str, zone: str
) -> None:
    admin_client.cookies["timezone"] = zone
    for day in DAYS.split("&"):
        assert admin_client.get(f"{page}?{day}").status_code < 500
        assert admin_client.get(f"{page}?range=custom&{day}").status_code < 500


@pytest.mark.parametrize(
    ("method", "page"),
    [
        ("get", "/admin/proxysite/auditentry/csv/"),
        ("get", "/admin/tokens/upstreamtoken/export/"),
        ("post", "/admin/conversations/conversation/export/"),
    ],
)
def test_an_export_of_an_unknown_filter_is_a_bad_request(
    admin_client: Client, method: str, page: str
) -> None:
    session = admin_client.session
    session[reauthentication.CONFIRMED_KEY] = time.time()
    session.save()
    assert getattr(admin_client, method)(f"{page}?nothing=x").status_code == 400
