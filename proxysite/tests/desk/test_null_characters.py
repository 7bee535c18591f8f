"""Addresses and searches with the character NUL are refused in words, whatever the database is."""

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db
PAGE = {"headers": {"accept": "text/html"}}


@pytest.mark.parametrize(
    "address",
    [
        "/portal/conversations/?before=%00",
        "/portal/files/?before=a%00b",
        "/portal/conversations/?q=%00",
        "/admin/auth/user/?q=%00",
        "/admin/api/apikey/?is=%00",
        "/admin/auth/user/%00/change/",
    ],
)
def test_such_an_address_of_a_page_is_a_bad_request(admin_client: Client, address: str) -> None:
    answer = admin_client.get(address, **PAGE)
    assert answer.status_code == 400
    assert "cannot be read" in answer.content.decode()


def test_endpoints_of_staff_say_so_in_json(admin_client: Client) -> None:
    answer = admin_client.get("/admin/tokens/stats?provider=%00")
    assert answer.status_code == 400
    assert "NUL" in answer.json()["error"]["message"]


def test_a_search_leaves_it_out(admin_client: Client) -> None:
    answer = admin_client.post("/admin/search", {"q": "over\x00view"})
    assert answer.json()["findings"][0]["label"] == "Overview"
    assert admin_client.post("/admin/api/apikey/search/", {"q": "a\x00b"}).status_code == 302
