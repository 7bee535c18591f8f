"""The commands list_tokens and move_tokens choose tokens as the list in the admin does."""

import json

import pytest

from providers.models import Provider
from providers.tests.command_runner import refused, run
from tokens.models import UpstreamToken
from tokens.tests.listing import BAD, GOOD, token

pytestmark = pytest.mark.django_db


@pytest.fixture
def target() -> Provider:
    return Provider.objects.create(
        name="right", kind="openai_compatible", base_url="https://api.right.example/v1"
    )


def test_tokens_are_listed_masked_with_their_state(provider: Provider) -> None:
    token(provider, GOOD, label="of June", requests=7, failures=2)
    token(provider, BAD, state="disabled", reason="auth: void", strikes=3)
    text = run("list_tokens")
    assert GOOD not in text
    assert BAD not in text
    assert "disabled" in text
    assert text.endswith("2 tokens.\n")
    report = json.loads(run("list_tokens", "acme", "--reason", "auth", "--format", "json"))
    assert report["total"] == 1
    assert report["tokens"][0]["state"] == "disabled"
    assert report["tokens"][0]["last_check"] is None


def test_a_long_list_says_what_it_leaves_out(provider: Provider) -> None:
    for number in range(3):
        token(provider, f"sk-number-{number}-0123456789abcdef")
    assert "3 tokens, 1 of them not shown" in run("list_tokens", "--limit", "2")
    assert run("list_tokens", "--state", "expired") == "0 tokens.\n"


def test_chosen_tokens_move_and_the_others_stay(provider: Provider, target: Provider) -> None:
    good = token(provider, GOOD)
    bad = token(provider, BAD, state="disabled", reason="auth: void")
    words = ("move_tokens", "acme", "right", "--state", "disabled")
    assert run(*words, "--dry-run") == "1 token would be moved.\n"
    assert not target.tokens.exists()
    assert run(*words) == "1 token moved.\n"
    assert list(target.tokens.all()) == [bad]
    assert list(provider.tokens.all()) == [good]


def test_a_move_says_which_tokens_stay(provider: Provider, target: Provider) -> None:
    token(provider, GOOD)
    token(target, GOOD)
    report = json.loads(run("move_tokens", "acme", "right", "--format", "json"))
    assert report == {"counts": {"known there": 1}, "dry_run": False}
    assert run("move_tokens", "acme", "right") == "0 tokens moved, 1 stay (known there).\n"


def test_mistakes_are_told_in_one_line(provider: Provider, target: Provider) -> None:
    token(provider, GOOD)
    assert "There is no provider 'nobody'" in refused("move_tokens", "acme", "nobody")
    assert "there already" in refused("move_tokens", "acme", "acme")
    assert "invalid choice" in refused("list_tokens", "--state", "nonsense")
    Provider.objects.filter(pk=target.pk).update(base_url="https://evil.example/v1")
    assert "set aside" in refused("move_tokens", "acme", "right")
    assert UpstreamToken.objects.get().provider == provider
