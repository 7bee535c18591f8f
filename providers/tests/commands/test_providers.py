"""The commands about providers and models: add_provider, seed_providers, add_model, list_models."""

import json

import pytest

from providers.models import ChatModel, ModelAlias, Provider, VirtualModel
from providers.presets import PRESETS
from providers.tests.command_runner import refused, run

pytestmark = pytest.mark.django_db

OPENAI = ("--kind", "openai_compatible", "--base-url", "https://api.example.com/v1")


# --- add_provider ---------------------------------------------------------------------------------
def test_add_provider_makes_the_row_and_its_models() -> None:
    said = run(
        "add_provider", "acme", *OPENAI, "--model", "big=acme/big", "--model", "small", "--no-tools"
    )
    assert said == "Provider acme added; models: big=acme/big, small.\n"
    row = Provider.objects.get()
    assert (row.base_url, row.native_tools, row.needs_token, row.allow_private) == (
        OPENAI[3],
        False,
        True,
        False,
    )
    names = dict(row.models.values_list("public_id", "upstream_name"))
    assert names == {"big": "acme/big", "small": "small"}


def test_add_provider_gives_its_models_a_priority() -> None:
    run("add_provider", "acme", *OPENAI, "--model", "big", "--model", "small", "--priority", "2")
    assert set(ChatModel.objects.values_list("public_id", "priority")) == {("big", 2), ("small", 2)}
    run("add_provider", "acme", *OPENAI, "--model", "big")
    assert ChatModel.objects.get(public_id="big").priority == 2


def test_add_provider_again_changes_the_row() -> None:
    run("add_provider", "acme", *OPENAI, "--model", "big=one")
    options = (
        "--kind",
        "openai_compatible",
        "--base-url",
        "http://127.0.0.1:9/v1",
        "--allow-private",
        "--no-token",
    )
    assert run("add_provider", "acme", *options, "--model", "big=two").startswith(
        "Provider acme changed"
    )
    row = Provider.objects.get()
    assert (row.base_url, row.allow_private, row.needs_token) == (
        "http://127.0.0.1:9/v1",
        True,
        False,
    )
    assert ChatModel.objects.get().upstream_name == "two"


def test_add_provider_only_checks_when_told_so() -> None:
    said = run("add_provider", "acme", *OPENAI, "--model", "big", "--dry-run")
    assert said.startswith("Provider acme would be added")
    assert not Provider.objects.exists()
    assert not ChatModel.objects.exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("acme", "--kind", "telepathy"), "No adapter named 'telepathy'; there are: "),
        (("acme", "--kind", "openai_compatible"), "base_url: "),
        (("acme", "--kind", "openai_compatible", "--base-url", "http://10.1.2.3/v1"), "base_url: "),
        (("acme", *OPENAI, "--model", "with space"), "public_id: "),
        (("Not A Name", *OPENAI), "name: Lower-case letters"),
    ],
)
def test_add_provider_says_what_is_wrong_and_changes_nothing(
    words: tuple[str, ...], text: str
) -> None:
    assert text in refused("add_provider", *words)
    assert not Provider.objects.exists()


# --- seed_providers -------------------------------------------------------------------------------
def test_every_preset_is_a_valid_row() -> None:
    said = run("seed_providers")
    official = {name for name, preset in PRESETS.items() if preset.is_usual}
    assert not {"vllm", "llama.cpp", "ollama", "kimi-web"} & official
    assert set(Provider.objects.values_list("name", flat=True)) == official
    assert len([line for line in said.splitlines() if " added " in line]) == len(official)
    run("seed_providers", *PRESETS)
    assert Provider.objects.count() == len(PRESETS)
    for row in [*Provider.objects.all(), *ChatModel.objects.all(), *ModelAlias.objects.all()]:
        row.full_clean()
    local = set(
        Provider.objects.filter(allow_private=True, needs_token=False).values_list(
            "name", flat=True
        )
    )
    assert local == {"ollama", "vllm", "sglang", "llama.cpp", "lmstudio"}
    assert {
        "openai",
        "moonshot",
        "moonshot-cn",
        "k2think",
        "deepseek",
        "openrouter",
        "groq",
        "together",
    } <= set(PRESETS)
    assert ChatModel.objects.filter(public_id="MBZUAI-IFM/K2-Think-v2").count() == 2


def test_seeding_keeps_rows_that_are_there() -> None:
    Provider.objects.create(
        name="groq", kind="openai_compatible", base_url="https://proxy.example/v1", enabled=False
    )
    done = json.loads(run("seed_providers", "groq", "openai", "--format", "json"))
    assert [(entry["name"], entry["added"]) for entry in done] == [
        ("groq", False),
        ("openai", True),
    ]
    row = Provider.objects.get(name="groq")
    assert (row.base_url, row.enabled) == ("https://proxy.example/v1", False)
    assert "there already" in run("seed_providers", "groq", "openai")


def test_seeding_some_dry_adds_none() -> None:
    assert "would be added" in run("seed_providers", "k2think", "--dry-run")
    assert not Provider.objects.exists()
    assert not ChatModel.objects.exists()


def test_an_unknown_preset_is_named_together_with_those_there_are() -> None:
    assert (
        refused("seed_providers", "openai", "opanai")
        == f"No such preset: opanai; there are: {', '.join(PRESETS)}."
    )
    assert not Provider.objects.exists()


# --- add_model ------------------------------------------------------------------------------------
@pytest.fixture
def acme() -> Provider:
    return Provider.objects.create(
        name="acme", kind="openai_compatible", base_url="https://api.example.com/v1"
    )


def test_add_model_makes_the_row_and_its_aliases(acme: Provider) -> None:
    options = (
        "--upstream",
        "acme/big",
        "--context-window",
        "131072",
        "--capability",
        "chat",
        "--capability",
        "tools",
    )
    said = run(
        "add_model",
        "big",
        "acme",
        *options,
        "--priority",
        "-1",
        "--weight",
        "3",
        "--alias",
        "a",
        "--alias",
        "b",
    )
    assert said == "Model big of acme added.\n"
    row = ChatModel.objects.get()
    assert (row.provider, row.upstream_name, row.context_window, row.capabilities) == (
        acme,
        "acme/big",
        131072,
        ["chat", "tools"],
    )
    assert (row.priority, row.weight, row.enabled) == (-1, 3, True)
    assert dict(ModelAlias.objects.values_list("alias", "public_id")) == {"a": "big", "b": "big"}


def test_add_model_again_changes_only_what_is_given(acme: Provider) -> None:
    run(
        "add_model", "big", "acme", "--upstream", "acme/big", "--capability", "chat", "--alias", "a"
    )
    ChatModel.objects.update(enabled=False)
    assert (
        run("add_model", "big", "acme", "--weight", "2", "--alias", "a")
        == "Model big of acme changed.\n"
    )
    row = ChatModel.objects.get()
    assert (row.upstream_name, row.capabilities, row.weight, row.enabled) == (
        "acme/big",
        ["chat"],
        2,
        False,
    )
    assert ModelAlias.objects.count() == 1


def test_add_model_dry_adds_nothing(acme: Provider) -> None:
    assert "would be added" in run("add_model", "big", "acme", "--alias", "a", "--dry-run")
    assert not ChatModel.objects.exists()
    assert not ModelAlias.objects.exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("big", "nobody"), "There is no provider 'nobody'; there are: acme."),
        (("with space", "acme"), "public_id: A model id has no spaces"),
        (("big", "acme", "--weight", "0"), "weight"),
        (("big", "acme", "--context-window", "-5"), "context_window: "),
        (("big", "acme", "--alias", "big"), "itself"),
        (("big", "acme", "--alias", "taken"), "alias: "),
    ],
)
def test_add_model_says_what_is_wrong_and_changes_nothing(
    acme: Provider, words: tuple[str, ...], text: str
) -> None:
    ModelAlias.objects.create(alias="taken", public_id="other")
    assert text in refused("add_model", *words)
    assert not ChatModel.objects.exists()
    assert ModelAlias.objects.get().public_id == "other"


def test_add_model_knows_the_capabilities(acme: Provider) -> None:
    assert "invalid choice: 'flying'" in refused(
        "add_model", "big", "acme", "--capability", "flying"
    )


# --- list_models ----------------------------------------------------------------------------------
def test_list_models_tells_where_each_comes_from(acme: Provider) -> None:
    run(
        "add_model",
        "big",
        "acme",
        "--upstream",
        "acme/big",
        "--context-window",
        "8192",
        "--max-output",
        "1024",
        "--capability",
        "chat",
        "--alias",
        "a",
    )
    off = Provider.objects.create(name="off", kind="echo", enabled=False)
    ChatModel.objects.create(public_id="big", provider=off, upstream_name="echo", priority=1)
    first, second = json.loads(run("list_models", "--format", "json"))
    assert first == {
        "id": "big",
        "provider": "acme",
        "upstream": "acme/big",
        "enabled": True,
        "capabilities": ["chat"],
        "context_window": 8192,
        "max_output_tokens": 1024,
        "priority": 0,
        "weight": 1,
        "aliases": ["a"],
    }
    assert (second["provider"], second["enabled"], second["context_window"]) == ("off", False, None)
    head, *lines = run("list_models").splitlines()
    assert head.split() == [
        "MODEL",
        "PROVIDER",
        "UPSTREAM",
        "ENABLED",
        "CAPABILITIES",
        "CONTEXT",
        "ALIASES",
    ]
    assert [line.split() for line in lines] == [
        ["big", "acme", "acme/big", "yes", "chat", "8192", "a"],
        ["big", "off", "echo", "no", "-", "-", "a"],
    ]


def test_list_models_of_nothing_says_how_to_get_some() -> None:
    assert json.loads(run("list_models", "--format", "json")) == []
    assert "No models yet" in run("list_models")


def test_list_models_has_virtual_ones_with_their_strategy(acme: Provider) -> None:
    ChatModel.objects.create(public_id="big", provider=acme, upstream_name="acme/big")
    VirtualModel.objects.create(public_id="o1-big", base="big", strategy="stepwise")
    lines = [line.split()[:4] for line in run("list_models").splitlines()]
    assert ["o1-big", "(stepwise)", "big", "yes"] in lines
