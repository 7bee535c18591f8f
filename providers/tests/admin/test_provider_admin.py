"""Pages of the admin of providers, models and aliases: who sees them, and what they show."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import reverse

from providers.models import ChatModel, ModelAlias, Provider, Revision
from providers.tests.admin.provider_pages import ALIASES, MODELS, PROVIDERS, read_page

pytestmark = pytest.mark.django_db
MARKUP = "<script>alert(1)</script>"


def test_every_page_opens(admin_client: Client, model: ChatModel) -> None:
    alias = ModelAlias.objects.create(alias="gpt-4o", public_id="kimi-k2")
    for name, row in ((PROVIDERS, model.provider), (MODELS, model), (ALIASES, alias)):
        assert str(row) in read_page(admin_client, f"{name}_changelist")
        read_page(admin_client, f"{name}_changelist", q="kimi")
        read_page(admin_client, f"{name}_add")
        for view in ("change", "history", "delete"):
            assert str(row) in read_page(admin_client, f"{name}_{view}", row.pk)


def test_the_site_bears_its_name(admin_client: Client) -> None:
    assert "proxysite</a>" in read_page(admin_client, "index")
    assert "Django" not in read_page(admin_client, "index")


def test_who_may_only_look_sees_every_page_and_no_button(looker: Client, model: ChatModel) -> None:
    alias = ModelAlias.objects.create(alias="gpt-4o", public_id="kimi-k2")
    for name, row in ((PROVIDERS, model.provider), (MODELS, model), (ALIASES, alias)):
        read_page(looker, f"{name}_changelist")
        assert 'name="_save"' not in read_page(looker, f"{name}_change", row.pk)


def test_strangers_are_sent_to_the_login(client: Client, model: ChatModel) -> None:
    client.force_login(User.objects.create_user("alice"))
    for name in (PROVIDERS, MODELS, ALIASES):
        answer = client.get(reverse(f"admin:{name}_changelist"))
        assert answer.status_code == 302
        assert "/admin/login/" in answer.headers["location"]


def test_revisions_are_not_for_hands() -> None:
    assert Revision not in admin.site._registry


def test_markup_in_names_is_shown_as_text(admin_client: Client, provider: Provider) -> None:
    model = ChatModel.objects.create(public_id=MARKUP, provider=provider, upstream_name=MARKUP)
    alias = ModelAlias.objects.create(alias=f"{MARKUP}2", public_id=MARKUP)
    for name, row in ((PROVIDERS, provider), (MODELS, model), (ALIASES, alias)):
        for view in ("change", "history", "delete"):
            assert MARKUP not in read_page(admin_client, f"{name}_{view}", row.pk)
        assert MARKUP not in read_page(admin_client, f"{name}_changelist")
        assert MARKUP not in read_page(admin_client, f"{name}_changelist", q=MARKUP)
    assert "&lt;script&gt;" in read_page(admin_client, f"{MODELS}_changelist")


def test_posts_without_the_csrf_token_are_refused(provider: Provider, admin_user: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(admin_user)
    for address in (
        reverse(f"admin:{PROVIDERS}_add"),
        reverse(f"admin:{PROVIDERS}_change", args=[provider.pk]),
        reverse(f"admin:{PROVIDERS}_delete", args=[provider.pk]),
        reverse(f"admin:{PROVIDERS}_changelist"),
    ):
        assert strict.post(address, {"post": "yes"}).status_code == 403
    assert Provider.objects.count() == 1


def test_the_value_of_a_header_is_for_those_who_may_change_it(
    client: Client, model: ChatModel
) -> None:
    Provider.objects.filter(pk=model.provider_id).update(headers={"Api-Key": "only-for-us"})
    staff = User.objects.create_user("viewer", is_staff=True)
    staff.user_permissions.add(Permission.objects.get(codename="view_provider"))
    client.force_login(staff)
    html = read_page(client, f"{PROVIDERS}_change", model.provider_id)
    assert "Api-Key" in html
    assert "only-for-us" not in html
    staff.user_permissions.add(Permission.objects.get(codename="change_provider"))
    assert "only-for-us" in read_page(client, f"{PROVIDERS}_change", model.provider_id)
