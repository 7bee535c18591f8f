"""The option --thinking-format of add_model."""

import pytest

from providers.models import ChatModel
from providers.tests.command_runner import run

pytestmark = pytest.mark.django_db


def test_the_command_says_where_a_model_thinks_and_keeps_it_otherwise() -> None:
    run("add_provider", "acme", "--kind", "openai_compatible", "--base-url", "https://a.example/v1")
    run("add_model", "deep", "acme", "--thinking-format", "tagged")
    run("add_model", "deep", "acme", "--priority", "3")
    assert ChatModel.objects.get(public_id="deep").thinking_format == "tagged"
