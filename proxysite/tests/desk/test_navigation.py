"""The navigation of the desk: every page has its place, and a person sees what he may open."""

import pytest
from django.contrib import admin

from proxysite.desk import navigation

pytestmark = pytest.mark.django_db


def read_labels(client):
    response = client.get("/admin/api/apikey/")
    return {
        str(section.label): [str(entry.label) for entry in section.entries]
        for section in response.context["navigation"]
    }


def test_every_model_of_the_admin_has_a_place_in_the_navigation():
    listed = {
        page.model
        for section in navigation.SECTIONS
        for page in section.pages
        if isinstance(page, navigation.ModelPage)
    }
    registered = {model._meta.label_lower for model in admin.site._registry}
    assert registered - listed == set()


def test_a_superuser_sees_every_section(admin_client):
    assert list(read_labels(admin_client)) == [str(row.label) for row in navigation.SECTIONS]


def test_a_person_sees_the_pages_that_he_may_view_and_no_others(staff):
    labels = read_labels(staff("view_apikey", "view_usagerecord"))
    assert labels == {
        "Overview": ["Overview", "Playground", "API documentation"],
        "Requests": ["Requests", "Live board"],
        "Keys and people": ["API keys"],
    }


@pytest.mark.settings(PLAYGROUND=False)
def test_a_page_that_is_switched_off_is_left_out(staff):
    assert "Playground" not in read_labels(staff("view_apikey"))["Overview"]


def test_the_page_that_is_open_is_marked_and_no_other(admin_client, provider):
    html = admin_client.get(f"/admin/providers/provider/{provider.pk}/change/").content.decode()
    assert html.count('aria-current="page"') == 1
    assert '<a href="/admin/providers/provider/" aria-current="page">' in html
