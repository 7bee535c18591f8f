"""Which dialect a model of an upstream is called in."""

from pathlib import Path

import pytest
from django.conf import settings

from providers.dialects import PROFILES, find_dialect
from providers.dialects.profiles import find_profile
from providers.presets import PRESETS
from providers.protocol.dialect import Dialect


@pytest.mark.parametrize(
    ("base_url", "label"),
    [
        ("https://api.openai.com/v1", "OpenAI"),
        ("https://my-name.openai.azure.com/openai/v1", "OpenAI"),
        ("https://api.mistral.ai/v1", "Mistral"),
        ("https://api.deepseek.com", "DeepSeek"),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "Qwen, Alibaba's DashScope"),
        ("https://openrouter.ai/api/v1", "OpenRouter"),
        ("http://127.0.0.1:9000/v1", "not known"),
        ("https://notmistral.ai/v1", "not known"),
        ("", "not known"),
    ],
)
def test_the_host_of_the_address_decides(base_url: str, label: str) -> None:
    assert find_profile("", base_url).label == label


def test_the_name_in_the_row_goes_before_the_host() -> None:
    assert find_profile("ollama", "https://api.openai.com/v1").label == "Ollama"


@pytest.mark.parametrize(
    ("model", "limit_field"),
    [
        ("gpt-5", "max_completion_tokens"),
        ("gpt-5.5-codex", "max_completion_tokens"),
        ("o4-mini", "max_completion_tokens"),
        ("o1", "max_completion_tokens"),
        ("gpt-4o", ""),
        ("gpt-4.1-mini", ""),
    ],
)
def test_openais_reasoning_models_name_the_limit_differently(model: str, limit_field: str) -> None:
    assert find_dialect("openai", "", model).limit_field == limit_field


@pytest.mark.parametrize(
    ("profile", "model", "needs_thinking"),
    [
        ("deepseek", "deepseek-v4-pro", True),
        ("deepseek", "deepseek-chat", True),
        ("deepseek", "deepseek-reasoner", False),
        ("moonshot", "kimi-k2-thinking", True),
        ("moonshot", "kimi-k2.5", True),
        ("moonshot", "moonshot-v1-8k", False),
        ("siliconflow", "deepseek-ai/DeepSeek-V4", True),
        ("siliconflow", "deepseek-ai/DeepSeek-R1", False),
        ("openrouter", "deepseek/deepseek-v4-flash", True),
        ("openai", "gpt-5", False),
    ],
)
def test_models_that_need_their_thinking_back(
    profile: str, model: str, needs_thinking: bool
) -> None:
    assert find_dialect(profile, "", model).needs_thinking is needs_thinking


@pytest.mark.parametrize(
    ("profile", "model", "is_read"),
    [
        ("openai", "gpt-5", False),
        ("openai", "gpt-4o", False),
        ("openai", "DeepSeek-V4", True),
        ("openai", "gpt-oss-120b", True),
        ("anthropic", "claude-opus-5", False),
        ("gemini", "gemini-3-pro", False),
        ("xai", "grok-5", False),
        ("moonshot", "kimi-k2.5", True),
        ("vllm", "any", True),
        ("", "any", True),
    ],
)
def test_texts_are_looked_through_for_calls_only_where_they_slip_in(
    profile: str, model: str, is_read: bool
) -> None:
    assert bool(find_dialect(profile, "", model).leaked_forms) is is_read


def test_only_upstreams_that_refuse_what_they_do_not_know_lose_what_others_added() -> None:
    strict = [name for name in PROFILES if not find_dialect(name, "", "m").takes_call_extras]
    assert strict == ["openai", "mistral", "groq"]


@pytest.mark.parametrize(
    ("model", "form"),
    [("openai.gpt-oss-120b-1:0", ("tagged", "reasoning")), ("deepseek.v3-v1:0", ("", ""))],
)
def test_bedrock_puts_the_thinking_of_some_models_into_their_text(
    model: str, form: tuple[str, str]
) -> None:
    url = "https://bedrock-runtime.eu-central-1.amazonaws.com/openai/v1"
    dialect = find_dialect("", url, model)
    assert (dialect.thinking_format, dialect.thinking_tags) == form
    assert "store" in dialect.refused_fields


def test_changes_of_the_row_go_on_top() -> None:
    changes = {
        "limit_field": "max_tokens",
        "refused_fields": ["seed"],
        "leaked_forms": ["kimi"],
    }
    dialect = find_dialect("openai", "", "gpt-5", changes)
    assert dialect.limit_field == "max_tokens"
    assert (dialect.refused_fields, dialect.leaked_forms) == ({"seed"}, {"kimi"})
    assert dialect.knows_developer


def test_an_unknown_service_has_the_default_dialect() -> None:
    assert find_dialect("", "http://10.0.0.1/v1", "any") == Dialect()


def test_every_official_preset_has_a_profile() -> None:
    without = [
        name
        for name, preset in PRESETS.items()
        if preset.kind == "openai_compatible"
        and find_profile(preset.fields.get("dialect", ""), preset.base_url).label == "not known"
    ]
    assert without == []


def test_every_profile_is_reached_by_a_host_or_a_name_of_a_preset_or_an_adapter() -> None:
    named = {preset.fields.get("dialect") for preset in PRESETS.values()}
    reached = {name for name, profile in PROFILES.items() if profile.hosts or name in named}
    # their adapters name them
    assert set(PROFILES) - reached == {"anthropic-messages", "gemini-native", "kimi-web"}


def test_the_page_about_dialects_has_every_profile_with_its_hosts_and_every_field() -> None:
    page = (Path(settings.BASE_DIR) / "docs" / "dialects.md").read_text()
    rows = {
        cells[1].strip(" `"): cells
        for line in page.splitlines()
        if line.startswith("| `") and (cells := line.split("|"))
    }
    for name, profile in PROFILES.items():
        for host in profile.hosts:
            assert host in rows[name][3]
    assert set(rows) == {*PROFILES, *Dialect.__struct_fields__}
