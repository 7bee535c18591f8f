"""Kimi's two web interfaces without I/O: histories, headers, presets."""

from typing import Any

import pytest

from providers import registry
from providers.models import ChatModel, ModelAlias, Provider
from providers.presets import PRESETS
from providers.tests.command_runner import run
from providers.tests.kimi_asking import QUESTION, TURNS
from providers.tests.kimi_site import (
    jwt,
)
from providers.upstream.web_chat import select_new_messages
from providers.wire import kimi_common


# --- a history as one text ------------------------------------------------------------------------
def test_a_single_question_goes_up_as_it_is_and_a_history_as_lines() -> None:
    assert kimi_common.render_chat_text([QUESTION]) == "How high is it?"
    assert kimi_common.render_chat_text(TURNS) == (
        "system: Be brief.\nuser: Hi.\nI am June.\nassistant: Hello June.\nuser: Who am I?"
    )
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "height", "arguments": '{"of":"it"}'},
    }
    tools = [QUESTION, {"role": "assistant", "content": None, "tool_calls": [call]}]
    tools.append({"role": "tool", "tool_call_id": "c1", "content": "8849"})
    assert kimi_common.render_chat_text(tools) == (
        'user: How high is it?\nassistant: (calls height with {"of":"it"})\ntool c1: 8849'
    )


def test_a_refusal_is_told_again() -> None:
    refusals = [
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "Never."}]},
    ]
    assert kimi_common.render_chat_text(refusals) == "assistant: No.\nassistant: Never."


def test_the_new_turn_is_what_follows_the_models_last_answer() -> None:
    assert select_new_messages(TURNS) == TURNS[3:]
    assert select_new_messages(TURNS, with_system=True) == [TURNS[0], TURNS[3]]
    assert select_new_messages(TURNS[:2]) == TURNS[:2]
    assert select_new_messages(TURNS[:3]) == TURNS[2:3]


# --- headers --------------------------------------------------------------------------------------
def test_device_and_session_are_those_of_the_token() -> None:
    lines = kimi_common.build_header_lines(
        jwt(device_id="7123456789012345678", ssid="1123"), "https://www.example.com/x"
    )
    assert b"X-Msh-Device-Id: 7123456789012345678\r\n" in lines
    assert b"X-Msh-Session-Id: 1123\r\n" in lines
    assert b"X-Traffic-Id: user-june\r\n" in lines
    assert b"Origin: https://www.example.com\r\n" in lines


@pytest.mark.parametrize("evil", ["1\r\nX-Evil: 1", "", 7, None, "a b", "é", "x" * 300], ids=ascii)
def test_a_claim_that_no_header_can_carry_is_left_out(evil: Any) -> None:
    secret = jwt(device_id=evil, ssid=evil, sub=evil)
    lines = kimi_common.build_header_lines(secret, "https://www.example.com")
    assert b"Evil" not in lines
    assert b"X-Traffic-Id" not in lines
    assert all(line.count(b": ") == 1 for line in lines.split(b"\r\n")[:-1])
    assert lines == kimi_common.build_header_lines(secret, "https://www.example.com")


@pytest.mark.parametrize("name", ["kimi-web", "kimi-rest"])
def test_the_presets_are_unofficial_like_their_adapters(name: str) -> None:
    preset = PRESETS[name]
    adapter = registry.get_adapter_class(preset.kind)
    assert (preset.is_official, adapter.is_official) == (False, False)
    assert adapter.has_single_stream
    assert adapter.can_refresh
    assert "unofficial" in adapter.label
    assert {"k2", "k1.5"} <= {model["public_id"] for model in preset.models}


@pytest.mark.django_db
def test_unofficial_upstreams_are_seeded_only_when_they_are_named() -> None:
    run("seed_providers")
    assert not Provider.objects.filter(kind__startswith="kimi_").exclude(kind="kimi_code").exists()
    run("seed_providers", "kimi-web", "kimi-rest")
    for kind in ("kimi_web", "kimi_rest"):
        Provider.objects.get(kind=kind).full_clean()
    for row in [
        *ChatModel.objects.filter(provider__kind__startswith="kimi_"),
        *ModelAlias.objects.all(),
    ]:
        row.full_clean()
    found = dict(ModelAlias.objects.filter(alias__startswith="k").values_list("alias", "search"))
    assert found == {
        "k2-search": "on",
        "k2-nosearch": "off",
        "k1.5-search": "on",
        "k1.5-nosearch": "off",
        "k2-thinking-nosearch": "off",
    }
