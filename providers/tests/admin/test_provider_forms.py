"""Forms of the admin of providers, models and aliases: what is saved, what is refused."""

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from providers.admin.provider_admin import INLINE_MODELS
from providers.models import ChatModel, ModelAlias, Provider
from providers.tests.admin.provider_pages import ALIASES, MODELS, PROVIDERS, read_page

pytestmark = pytest.mark.django_db


def make_form(**values: Any) -> dict[str, Any]:
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


def test_a_provider_is_added(admin_client: Client) -> None:
    answer = admin_client.post(reverse(f"admin:{PROVIDERS}_add"), make_form())
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
        ({"dialect": "klingon"}, "Select a valid choice"),
        ({"dialect_changes": '{"limit": "max_tokens"}'}, "is unknown; there are: limit_field"),
        ({"dialect_changes": '{"knows_developer": "yes"}'}, "Expected `bool`, got `str`"),
        ({"dialect_changes": '["seed"]'}, "Give an object"),
    ],
)
def test_a_provider_that_cannot_be_is_refused_with_a_reason(
    admin_client: Client, wrong: Any, text: str
) -> None:
    answer = admin_client.post(reverse(f"admin:{PROVIDERS}_add"), make_form(**wrong))
    assert answer.status_code == 200
    assert text in answer.content.decode()
    assert not Provider.objects.exists()


def test_a_dialect_is_chosen_and_changed(admin_client: Client) -> None:
    values = {"dialect": "mistral", "dialect_changes": '{"refused_fields": ["seed"]}'}
    answer = admin_client.post(reverse(f"admin:{PROVIDERS}_add"), make_form(**values))
    assert answer.status_code == 302, answer.content.decode()
    row = Provider.objects.get()
    assert (row.dialect, row.dialect_changes) == ("mistral", {"refused_fields": ["seed"]})


def test_the_mode_is_one_that_the_adapter_has(admin_client: Client, provider: Provider) -> None:
    address = reverse(f"admin:{PROVIDERS}_change", args=[provider.pk])
    answer = admin_client.post(address, make_form(mode="guest"))
    assert "has no entrance for guests" in answer.content.decode()
    posted = make_form(kind="k2think_web", base_url="https://www.k2think.ai/api", mode="guest")
    assert admin_client.post(address, posted).status_code == 302
    assert Provider.objects.get().mode == "guest"


def test_superusers_edit_models_on_the_providers_page_while_they_are_few(
    admin_client: Client, looker: Client, model: ChatModel
) -> None:
    assert 'name="models-0-public_id"' in read_page(
        admin_client, f"{PROVIDERS}_change", model.provider.pk
    )
    assert "models-0-" not in read_page(looker, f"{PROVIDERS}_change", model.provider.pk)
    many = [
        ChatModel(provider=model.provider, public_id=f"m{n}", upstream_name="m")
        for n in range(INLINE_MODELS)
    ]
    ChatModel.objects.bulk_create(many)
    assert "models-0-" not in read_page(admin_client, f"{PROVIDERS}_change", model.provider.pk)
    answer = admin_client.post(
        reverse(f"admin:{PROVIDERS}_change", args=[model.provider.pk]), make_form(name="renamed")
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
    html = read_page(admin_client, f"{MODELS}_change", model.pk)
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
    assert "icon-yes" in read_page(admin_client, f"{ALIASES}_changelist")
    model.delete()
    assert "icon-no" in read_page(admin_client, f"{ALIASES}_changelist")
    posted = {"alias": "gpt-4", "public_id": "kimi-k2"}
    assert (
        admin_client.post(reverse(f"admin:{ALIASES}_change", args=[alias.pk]), posted).status_code
        == 302
    )
