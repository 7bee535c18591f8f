"""The admin of providers, models and aliases, and what the admins of all apps share."""

import re
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from providers.admin.big_tables import AheadPaginator
from providers.admin.provider_admin import INLINE_MODELS
from providers.models import ChatModel, ModelAlias, Provider, Revision

pytestmark = pytest.mark.django_db

MARKUP = "<script>alert(1)</script>"
PROVIDERS, MODELS, ALIASES = "providers_provider", "providers_chatmodel", "providers_modelalias"


def page(client: Client, name: str, *args: Any, **query: Any) -> str:
    """The HTML of an admin page; it is there, and works under a policy that forbids inline scripts
    and styles.
    """
    response = client.get(reverse(f"admin:{name}", args=args), query)
    assert response.status_code == 200, (response.status_code, name)
    html = response.content.decode()
    assert not re.search(
        r"<style|<script(?![^>]* (src|type)=)[^>]*>|\son\w+=\"|\sstyle=\"", html
    ), name
    return html


@pytest.fixture
def provider() -> Provider:
    return Provider.objects.create(
        name="moonshot", kind="openai_compatible", base_url="https://api.moonshot.ai/v1"
    )


@pytest.fixture
def model(provider: Provider) -> ChatModel:
    return ChatModel.objects.create(
        public_id="kimi-k2", provider=provider, upstream_name="kimi-k2.6"
    )


@pytest.fixture
def looker(client: Client) -> Client:
    """A member of staff who may look at everything and change nothing."""
    user = User.objects.create_user("looker", is_staff=True)
    user.user_permissions.add(*Permission.objects.filter(codename__startswith="view_"))
    client.force_login(user)
    return client


def form(**values: Any) -> dict[str, Any]:
    """What the provider's page posts."""
    inline = {
        f"models-{name}": 0
        for name in ("TOTAL_FORMS", "INITIAL_FORMS", "MIN_NUM_FORMS", "MAX_NUM_FORMS")
    }
    fields = {
        "name": "groq",
        "kind": "openai_compatible",
        "base_url": "https://api.groq.com/openai/v1",
        "enabled": "on",
        "rotation": "round_robin",
        "mode": "user",
        "headers": "{}",
    }
    return inline | fields | values


# --- pages ----------------------------------------------------------------------------------------
def test_every_page_opens(admin_client: Client, model: ChatModel) -> None:
    alias = ModelAlias.objects.create(alias="gpt-4o", public_id="kimi-k2")
    for name, row in ((PROVIDERS, model.provider), (MODELS, model), (ALIASES, alias)):
        assert str(row) in page(admin_client, f"{name}_changelist")
        page(admin_client, f"{name}_changelist", q="kimi")
        page(admin_client, f"{name}_add")
        for view in ("change", "history", "delete"):
            assert str(row) in page(admin_client, f"{name}_{view}", row.pk)


def test_the_site_bears_its_name(admin_client: Client) -> None:
    assert "proxysite</a>" in page(admin_client, "index")
    assert "Django" not in page(admin_client, "index")


def test_who_may_only_look_sees_every_page_and_no_button(looker: Client, model: ChatModel) -> None:
    alias = ModelAlias.objects.create(alias="gpt-4o", public_id="kimi-k2")
    for name, row in ((PROVIDERS, model.provider), (MODELS, model), (ALIASES, alias)):
        page(looker, f"{name}_changelist")
        assert 'name="_save"' not in page(looker, f"{name}_change", row.pk)


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
            assert MARKUP not in page(admin_client, f"{name}_{view}", row.pk)
        assert MARKUP not in page(admin_client, f"{name}_changelist")
        assert MARKUP not in page(admin_client, f"{name}_changelist", q=MARKUP)
    assert "&lt;script&gt;" in page(admin_client, f"{MODELS}_changelist")


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


# --- saving ---------------------------------------------------------------------------------------
def test_a_provider_is_added(admin_client: Client) -> None:
    answer = admin_client.post(reverse(f"admin:{PROVIDERS}_add"), form())
    assert answer.status_code == 302, answer.content.decode()
    row = Provider.objects.get()
    assert (row.name, row.kind, row.needs_token) == ("groq", "openai_compatible", False)
    assert LogEntry.objects.get().object_repr == "groq"


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"base_url": "http://127.0.0.1:11434/v1"}, "This address is private"),
        ({"base_url": "https://10.0.0.1/v1"}, "allow private"),
        ({"kind": "telepathy"}, "Select a valid choice"),
        ({"headers": '{"Authorization": "Bearer x"}'}, "not a header that may be set"),
        ({"name": "No Spaces"}, "Lower-case letters"),
    ],
)
def test_a_provider_that_cannot_be_is_refused_with_a_reason(
    admin_client: Client, wrong: Any, text: str
) -> None:
    answer = admin_client.post(reverse(f"admin:{PROVIDERS}_add"), form(**wrong))
    assert answer.status_code == 200
    assert text in answer.content.decode()
    assert not Provider.objects.exists()


def test_the_mode_is_one_that_the_adapter_has(admin_client: Client, provider: Provider) -> None:
    address = reverse(f"admin:{PROVIDERS}_change", args=[provider.pk])
    answer = admin_client.post(address, form(mode="guest"))
    assert "has no entrance for guests" in answer.content.decode()
    posted = form(kind="k2think_web", base_url="https://www.k2think.ai/api", mode="guest")
    assert admin_client.post(address, posted).status_code == 302
    assert Provider.objects.get().mode == "guest"


def test_superusers_edit_models_on_the_providers_page_while_they_are_few(
    admin_client: Client, looker: Client, model: ChatModel
) -> None:
    assert 'name="models-0-public_id"' in page(
        admin_client, f"{PROVIDERS}_change", model.provider.pk
    )
    assert "models-0-" not in page(looker, f"{PROVIDERS}_change", model.provider.pk)
    many = [
        ChatModel(provider=model.provider, public_id=f"m{n}", upstream_name="m")
        for n in range(INLINE_MODELS)
    ]
    ChatModel.objects.bulk_create(many)
    assert "models-0-" not in page(admin_client, f"{PROVIDERS}_change", model.provider.pk)
    answer = admin_client.post(
        reverse(f"admin:{PROVIDERS}_change", args=[model.provider.pk]), form(name="renamed")
    )
    assert answer.status_code == 302
    assert Provider.objects.get().models.count() == INLINE_MODELS + 1


def test_capabilities_are_ticked_and_kept_as_a_list(admin_client: Client, model: ChatModel) -> None:
    address = reverse(f"admin:{MODELS}_change", args=[model.pk])
    posted = {
        "public_id": "kimi-k2",
        "provider": model.provider.pk,
        "upstream_name": "kimi-k2.6",
        "enabled": "on",
        "priority": 0,
        "weight": 1,
        "capabilities": ["chat", "tools"],
        "thinking_format": "tagged",
        "thinking": "hidden",
        "search": "on",
        "options": '{"scenario": "SCENARIO_K2D5"}',
    }
    assert admin_client.post(address, posted).status_code == 302
    model.refresh_from_db()
    assert model.capabilities == ["chat", "tools"]
    assert (model.thinking_format, model.thinking, model.search) == ("tagged", "hidden", "on")
    assert model.options == {"scenario": "SCENARIO_K2D5"}
    html = page(admin_client, f"{MODELS}_change", model.pk)
    assert re.search(r'value="tools"[^>]*checked', html)
    assert not re.search(r'value="vision"[^>]*checked', html)


def test_an_alias_names_a_model_that_is_there_and_hides_none(
    admin_client: Client, model: ChatModel
) -> None:
    address = reverse(f"admin:{ALIASES}_add")
    assert (
        admin_client.post(address, {"alias": "gpt-4o", "public_id": "kimi-k2"}).status_code == 302
    )
    answer = admin_client.post(address, {"alias": "gpt-5", "public_id": "nothing"})
    assert "Select a valid choice" in answer.content.decode()
    answer = admin_client.post(address, {"alias": "kimi-k2", "public_id": "kimi-k2"})
    assert "There is a model of this name" in answer.content.decode()
    assert ModelAlias.objects.count() == 1
    posted = {
        "alias": "kimi-k2-nothink",
        "public_id": "kimi-k2",
        "thinking": "hidden",
        "search": "off",
    }
    assert admin_client.post(address, posted).status_code == 302
    assert ModelAlias.objects.filter(
        alias="kimi-k2-nothink", thinking="hidden", search="off"
    ).exists()


def test_an_alias_whose_model_went_is_seen_and_can_still_be_saved(
    admin_client: Client, model: ChatModel
) -> None:
    alias = ModelAlias.objects.create(alias="gpt-4o", public_id="kimi-k2")
    assert "icon-yes" in page(admin_client, f"{ALIASES}_changelist")
    model.delete()
    assert "icon-no" in page(admin_client, f"{ALIASES}_changelist")
    posted = {"alias": "gpt-4", "public_id": "kimi-k2"}
    assert (
        admin_client.post(reverse(f"admin:{ALIASES}_change", args=[alias.pk]), posted).status_code
        == 302
    )


# --- big tables -----------------------------------------------------------------------------------
def test_a_deletion_counts_what_goes_along_instead_of_naming_it(
    admin_client: Client, model: ChatModel
) -> None:
    many = [
        ChatModel(provider=model.provider, public_id=f"m{n}", upstream_name="m") for n in range(200)
    ]
    ChatModel.objects.bulk_create(many)
    html = page(admin_client, f"{PROVIDERS}_delete", model.provider.pk)
    assert "201 chat models" in html
    assert "m150" not in html
    admin_client.post(
        reverse(f"admin:{PROVIDERS}_delete", args=[model.provider.pk]), {"post": "yes"}
    )
    assert not Provider.objects.exists()
    assert not ChatModel.objects.exists()


def test_who_may_not_delete_what_goes_along_may_not_delete(
    client: Client, model: ChatModel
) -> None:
    user = User.objects.create_user("operator", is_staff=True)
    names = ("view_provider", "delete_provider", "view_chatmodel")
    user.user_permissions.add(*Permission.objects.filter(codename__in=names))
    client.force_login(user)
    assert "doesn't have permission" in page(
        client, f"{PROVIDERS}_delete", model.provider.pk
    ).replace("&#x27;", "'")
    client.post(reverse(f"admin:{PROVIDERS}_delete", args=[model.provider.pk]), {"post": "yes"})
    assert Provider.objects.exists()


@pytest.mark.parametrize(
    ("number", "count", "more"),
    [(1, 10, True), (2, 12, True), (5, 18, True), (7, 22, True), (8, 23, False), (99, 10, True)],
)
def test_the_paginator_looks_a_few_pages_ahead_and_counts_nothing(
    provider: Provider, number: int, count: int, more: bool
) -> None:
    rows = [
        ChatModel(provider=provider, public_id=f"m{n:02}", upstream_name="m") for n in range(23)
    ]
    ChatModel.objects.bulk_create(rows)
    paginator = AheadPaginator(ChatModel.objects.all(), 2)
    paginator.number = number
    with CaptureQueriesContext(connection) as queries:
        assert (paginator.count, paginator.has_more) == (count, more)
    assert not any("COUNT(" in query["sql"] for query in queries)
