"""The option --long-prompts of the commands that add models."""

import pytest

from providers.models import ChatModel
from providers.tests.command_runner import run

pytestmark = pytest.mark.django_db

OPENAI = ("--kind", "openai_compatible", "--base-url", "https://api.example.com/v1")


def read_policy() -> str:
    return ChatModel.objects.get(public_id="big").long_prompts


def test_both_commands_set_what_happens_to_long_prompts_and_keep_it_otherwise() -> None:
    run("add_provider", "acme", *OPENAI, "--model", "big")
    assert read_policy() == ""
    run("add_provider", "acme", *OPENAI, "--model", "big", "--long-prompts", "refuse")
    assert read_policy() == "refuse"
    run("add_model", "big", "acme", "--context-window", "4096")
    assert read_policy() == "refuse"
    run("add_model", "big", "acme", "--long-prompts", "fit")
    assert read_policy() == "fit"
