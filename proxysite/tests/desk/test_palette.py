"""The quick search finds pages and rows that the person may see, and keeps secrets out of sight."""

import pytest

from proxysite.testing import rows
from proxysite.tests.desk.pages import SECRET

pytestmark = pytest.mark.django_db


def search(client, text):
    answer = client.post("/admin/search", {"q": text})
    assert answer.status_code == 200
    return {finding["address"]: finding for finding in answer.json()["findings"]}


def test_a_page_is_found_by_a_part_of_its_name(admin_client):
    assert list(search(admin_client, "virtual")) == ["/admin/providers/virtualmodel/"]


def test_a_token_is_found_by_its_whole_secret_which_is_not_in_the_answer(admin_client, token):
    answer = admin_client.post("/admin/search", {"q": SECRET})
    address = f"/admin/tokens/upstreamtoken/{token.pk}/change/"
    assert address in [finding["address"] for finding in answer.json()["findings"]]
    assert SECRET not in answer.content.decode()
    assert "no-store" in answer.headers["cache-control"]


def test_users_keys_and_providers_are_found_by_how_they_begin(admin_client, provider):
    person = rows.create_person("alice")
    assert f"/admin/auth/user/{person.user.pk}/change/" in search(admin_client, "ali")
    assert f"/admin/api/apikey/{person.row.pk}/change/" in search(admin_client, person.row.prefix)
    assert f"/admin/providers/provider/{provider.pk}/change/" in search(admin_client, "k2")


def test_a_person_finds_nothing_that_he_may_not_see(staff, token):
    rows.create_person("alice")
    client = staff("view_apikey")
    assert not search(client, SECRET)
    open_to_all = ("/playground/", "/api/docs/")
    found = [address for address in search(client, "a") if address not in open_to_all]
    assert all("/apikey/" in address for address in found)
    assert not [address for address in search(client, "alice") if "/auth/" in address]


def test_the_text_is_posted_by_a_member_of_staff(admin_client, client, django_user_model):
    assert admin_client.get("/admin/search?q=a").status_code == 405
    user = django_user_model.objects.create_user("plain")
    client.logout()
    client.force_login(user)
    assert client.post("/admin/search", {"q": "a"}).status_code == 302
