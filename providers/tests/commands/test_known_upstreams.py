"""add_provider and add_model know what presets know: fields, models, aliases, capabilities."""

from typing import Any

import pytest

from providers.catalogue import Candidate, make_upstream
from providers.catalogue.candidate import make_candidate
from providers.catalogue.catalogue_rows import MODEL_COLUMNS
from providers.models import ChatModel, ModelAlias, Provider
from providers.presets import PRESETS
from providers.registry import get_adapter_class
from providers.seed_presets import create_preset_rows
from providers.tests.command_runner import refused, run

pytestmark = pytest.mark.django_db

K2THINK = "MBZUAI-IFM/K2-Think-v2"
WEB_KINDS = [
    ("k2think-web", "k2think_web", K2THINK),
    ("kimi-web", "kimi_web", "k2"),
    ("kimi-rest", "kimi_rest", "k2"),
]


def load_candidate(model: ChatModel) -> Candidate:
    """Return the model as a request would find it."""
    no_clients: Any = None  # nothing is sent
    adapter_class = get_adapter_class(model.provider.kind)
    adapter = adapter_class(make_upstream(model.provider), no_clients)
    (row,) = ChatModel.objects.filter(pk=model.pk).values(*MODEL_COLUMNS)
    return make_candidate(adapter, row)


def list_aliases(public_id: str) -> dict[str, tuple[str, str]]:
    rows = ModelAlias.objects.filter(public_id=public_id)
    return {row.alias: (row.thinking, row.search) for row in rows}


# --- by kind --------------------------------------------------------------------------------------
@pytest.mark.parametrize(("preset", "kind", "model"), WEB_KINDS)
def test_a_row_made_by_its_kind_is_as_good_as_the_presets(
    preset: str, kind: str, model: str
) -> None:
    url = PRESETS[preset].base_url
    run("add_provider", "mine", "--kind", kind, "--base-url", url, "--model", model)
    aliases = list_aliases(model)
    ModelAlias.objects.all().delete()
    seeded, _ = create_preset_rows(preset)
    made_model, seeded_model = (
        load_candidate(ChatModel.objects.get(public_id=model, provider=provider))
        for provider in (Provider.objects.get(name="mine"), seeded)
    )
    assert made_model.model == seeded_model.model
    assert made_model.capabilities == seeded_model.capabilities
    expected = {
        name: settings
        for name, settings in list_aliases(model).items()
        if name.startswith(f"{model}-")
    }
    assert expected
    assert aliases == expected


@pytest.mark.parametrize(
    ("kind", "endings"),
    [
        ("k2think_web", {"-nothink": ("hidden", "")}),
        ("kimi_web", {"-search": ("", "on"), "-nosearch": ("", "off")}),
        ("kimi_rest", {"-search": ("", "on"), "-nosearch": ("", "off")}),
    ],
)
def test_a_model_that_no_preset_knows_has_what_its_kind_can(
    kind: str, endings: dict[str, tuple[str, str]]
) -> None:
    run("add_provider", "site", "--kind", kind, "--base-url", "https://a.example", "--model", "new")
    row = ChatModel.objects.get()
    candidate = load_candidate(row)
    assert (row.upstream_name, candidate.model.tools) == ("new", "prompt")
    assert {"chat", "reasoning"} <= candidate.capabilities
    assert row.known_capabilities == list(get_adapter_class(kind).capabilities)
    assert list_aliases("new") == {f"new{name}": settings for name, settings in endings.items()}


def test_a_row_that_names_its_capabilities_is_believed() -> None:
    run("add_provider", "site", "--kind", "kimi_web", "--base-url", "https://a.example")
    run("add_model", "new", "site", "--capability", "chat")
    row = ChatModel.objects.get()
    assert row.known_capabilities == ["chat"]
    assert load_candidate(row).capabilities == {"chat"}


@pytest.mark.parametrize(("preset", "kind", "model"), WEB_KINDS)
def test_a_preset_and_its_kind_agree_on_capabilities(preset: str, kind: str, model: str) -> None:
    for fields in PRESETS[preset].models:
        assert fields["capabilities"] == list(get_adapter_class(kind).capabilities)


def test_an_alias_that_is_there_keeps_its_meaning() -> None:
    ModelAlias.objects.create(alias="k2-search", public_id="other")
    ChatModel.objects.create(
        public_id="k2-nosearch",
        provider=Provider.objects.create(name="off", kind="echo"),
        upstream_name="echo",
    )
    run("add_provider", "k", "--kind", "kimi_web", "--base-url", "https://a.example", "--model=k2")
    assert list(ModelAlias.objects.values_list("alias", "public_id")) == [("k2-search", "other")]


def test_a_model_with_the_name_of_an_alias_has_no_further_ones() -> None:
    words = ("--kind", "kimi_web", "--base-url", "https://a.example", "--model", "k2-search")
    run("add_provider", "k", *words)
    assert not ModelAlias.objects.exists()


def test_add_model_knows_the_presets_model_and_its_aliases() -> None:
    run("add_provider", "k", "--kind", "kimi_web", "--base-url", "https://www.kimi.com")
    run("add_model", "k2-thinking", "k")
    row = ChatModel.objects.get()
    assert row.upstream_name == "SCENARIO_K2D5"
    assert row.options == {"options": {"thinking": True}}
    assert set(list_aliases("k2-thinking")) == {"k2-thinking-search", "k2-thinking-nosearch"}


def test_a_model_under_another_name_has_the_fields_of_its_upstream_name() -> None:
    words = ("--kind", "k2think_web", "--base-url", "https://www.k2think.ai/api")
    run("add_provider", "k", *words, "--model", f"thinker={K2THINK}")
    row = ChatModel.objects.get()
    assert (row.public_id, row.options) == ("thinker", {"root": "ifm-k2-think-v2"})
    assert set(list_aliases("thinker")) == {"thinker-nothink"}


def test_a_model_of_the_same_name_at_another_service_is_another_model() -> None:
    words = ("--kind", "openai_compatible", "--base-url", "https://api.example.com/v1")
    run("add_provider", "acme", *words, "--model", K2THINK)
    row = ChatModel.objects.get()
    assert (row.capabilities, row.thinking_format) == ([], "separate")
    assert not ModelAlias.objects.exists()


def test_a_provider_that_is_added_again_keeps_the_upstream_names_of_its_models() -> None:
    words = ("add_provider", "k", "--kind", "kimi_web", "--base-url", "https://a.example")
    run(*words, "--model", "k2=SCENARIO_NEW")
    run(*words, "--model", "k2", "--model", "k2")
    assert ChatModel.objects.get().upstream_name == "SCENARIO_NEW"


# --- by preset ------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_makes_the_same_rows_under_any_name(name: str) -> None:
    seeded, _ = create_preset_rows(name)
    seeded_aliases = set(ModelAlias.objects.values_list("alias", "public_id"))
    ModelAlias.objects.all().delete()
    run("add_provider", "mine", "--preset", name)
    mine = Provider.objects.get(name="mine")
    columns = ("kind", "base_url", "dialect", "native_tools", "needs_token", "reports_usage")
    for column in (*columns, "allow_private", "mode"):
        assert getattr(mine, column) == getattr(seeded, column)
    hidden = ("id", "provider_id", "created_at")
    seeded_models, my_models = (
        [
            {name: value for name, value in row.items() if name not in hidden}
            for row in provider.models.order_by("public_id").values()
        ]
        for provider in (seeded, mine)
    )
    assert my_models == seeded_models
    assert set(ModelAlias.objects.values_list("alias", "public_id")) >= seeded_aliases


def test_options_go_on_top_of_a_preset() -> None:
    words = (
        "--base-url",
        "http://127.0.0.1:9/v1",
        "--dialect",
        "vllm",
        "--model",
        "m",
        "--no-tools",
    )
    said = run("add_provider", "mine", "--preset", "ollama", *words)
    assert said == "Provider mine added; models: m.\n"
    row = Provider.objects.get()
    assert (row.base_url, row.dialect, row.native_tools, row.needs_token, row.allow_private) == (
        "http://127.0.0.1:9/v1",
        "vllm",
        False,
        False,
        True,
    )


def test_what_a_preset_adds_is_named() -> None:
    said = run("add_provider", "kimi", "--preset", "kimi-rest", "--dry-run")
    assert said == (
        "Provider kimi would be added; models: k2, k1.5; "
        "aliases: k2-search, k2-nosearch, k1.5-search, k1.5-nosearch.\n"
    )
    assert not ModelAlias.objects.exists()


def test_a_preset_or_a_kind_is_needed_and_they_must_agree() -> None:
    assert "Give --kind or --preset." in refused("add_provider", "mine")
    assert refused("add_provider", "mine", "--preset", "kimi-wob").startswith(
        "No such preset: kimi-wob; there are: openai, "
    )
    assert (
        refused("add_provider", "mine", "--preset", "kimi-web", "--kind", "moonshot")
        == "The preset kimi-web is of the kind kimi_web, not moonshot."
    )
    run("add_provider", "mine", "--preset", "kimi-web", "--kind", "kimi_web")


# --- guests ---------------------------------------------------------------------------------------
def test_the_mode_of_a_provider_can_be_set_and_stays_otherwise() -> None:
    words = ("add_provider", "mine", "--preset", "k2think-web")
    run(*words, "--mode", "guest")
    run(*words)
    assert Provider.objects.get().mode == "guest"
    run(*words, "--mode", "user")
    assert Provider.objects.get().mode == "user"


def test_a_kind_without_an_entrance_for_guests_refuses_the_mode() -> None:
    said = refused("add_provider", "mine", "--preset", "openai", "--mode", "guest")
    assert said == "mode: OpenAI-compatible has no entrance for guests."


def test_the_preset_of_anthropic_has_its_models() -> None:
    provider, added = create_preset_rows("anthropic")
    assert (provider.kind, added) == ("anthropic", True)
    model = provider.models.get(public_id="claude-opus-5-5")
    model.full_clean()
    assert (model.context_window, "vision" in model.capabilities) == (1_000_000, True)
