"""The snippets: complete, for a model of the user, and safe with any name."""

import json
import shlex
import tomllib

import pytest
from django.contrib.auth.models import User
from django.test import Client

from api.models import LimitSet
from api.portal.guides import client_guides
from api.portal.guides.client_guides import Connection, list_snippets
from api.tests.portal.conftest import read_main

STRANGE = """it's "a/b\\c" $(id) model"""
VALUES = Connection("https://gateway.example", "sk-ps-x", STRANGE)


def find_text(slug: str) -> str:
    (text,) = [snippet.text for snippet in list_snippets(VALUES) if snippet.slug == slug]
    return text


def test_curl_is_one_command_whose_body_is_json_whatever_the_model_is_called() -> None:
    words = shlex.split(find_text("curl").replace("\\\n", " "))
    assert words[:2] == ["curl", "https://gateway.example/v1/chat/completions"]
    assert "Authorization: Bearer sk-ps-x" in words
    assert json.loads(words[-1])["model"] == STRANGE


def test_the_python_snippet_compiles_and_names_the_model() -> None:
    text = find_text("python")
    compile(text, "snippet", "exec")
    assert json.dumps(STRANGE) in text


def test_the_codex_snippet_is_toml_with_the_responses_api() -> None:
    table = tomllib.loads(find_text("codex"))
    provider = table["model_providers"][table["model_provider"]]
    assert table["model"] == STRANGE
    assert provider["wire_api"] == "responses"
    assert provider["base_url"] == "https://gateway.example/v1"


def test_claude_code_is_offered_only_with_the_endpoint_that_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client_guides, "has_messages_endpoint", lambda: False)
    assert "claude-code" not in {snippet.slug for snippet in list_snippets(VALUES)}
    monkeypatch.setattr(client_guides, "has_messages_endpoint", lambda: True)
    assert "export ANTHROPIC_BASE_URL=https://gateway.example\n" in find_text("claude-code")


def test_the_page_fills_in_the_chosen_model_only_if_the_user_may_use_it(
    browser: Client, alice: User
) -> None:
    LimitSet.objects.create(user=alice, allowed_models=["parrot"])
    html = read_main(browser.get("/portal/clients/", {"model": "echo"}))
    assert "parrot" in html
    assert "echo" not in html
    assert "http://testserver/v1" in html
    assert "YOUR_API_KEY" in html
