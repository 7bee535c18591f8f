"""The command sync_models, with an upstream over real sockets."""

import json

import pytest

from providers.models import ChatModel, Provider
from providers.tests.command_runner import refused, run
from tokens.models import UpstreamToken
from tokens.tests.listing import BAD, GOOD, Upstream, token

pytestmark = pytest.mark.django_db


def public_ids() -> list[str]:
    return [model.public_id for model in ChatModel.objects.all()]


def test_what_the_upstream_lists_becomes_rows_once(provider: Provider) -> None:
    token(provider)
    assert (
        run("sync_models", "acme") == "+ kimi-k2\n+ kimi-k2-thinking\n2 added, 0 there already.\n"
    )
    assert dict(ChatModel.objects.values_list("public_id", "upstream_name")) == {
        "kimi-k2": "kimi-k2",
        "kimi-k2-thinking": "kimi-k2-thinking",
    }
    assert run("sync_models", "acme") == "0 added, 2 there already.\n"


def test_rows_that_are_there_stay_as_they_are(upstream: Upstream, provider: Provider) -> None:
    token(provider)
    upstream.models = ["one", "two", "three"]
    ChatModel.objects.create(public_id="uno", provider=provider, upstream_name="one", enabled=False)
    ChatModel.objects.create(public_id="two", provider=provider, upstream_name="zwei")
    ChatModel.objects.create(public_id="old", provider=provider, upstream_name="old")
    report = json.loads(run("sync_models", "acme", "--format", "json"))
    assert report == {
        "added": ["three"],
        "known": ["uno", "two"],
        "unusable": [],
        "gone": ["old", "two"],
    }
    assert public_ids() == ["old", "three", "two", "uno"]
    assert "? old is not listed any more" in run("sync_models", "acme")


def test_a_prefix_begins_the_public_ids(provider: Provider) -> None:
    token(provider)
    run("sync_models", "acme", "--prefix", "acme/")
    assert public_ids() == ["acme/kimi-k2", "acme/kimi-k2-thinking"]
    assert ChatModel.objects.values_list("upstream_name", flat=True)[0] == "kimi-k2"


def test_syncing_dry_writes_nothing(provider: Provider) -> None:
    token(provider)
    assert run("sync_models", "acme", "--dry-run").endswith("2 would be added, 0 there already.\n")
    assert public_ids() == []


def test_names_that_no_model_may_have_are_left_out(upstream: Upstream, provider: Provider) -> None:
    token(provider)
    upstream.models = ["fine", "with space", "\x1b[31mred", "", "x" * 300, "fine"]
    said = run("sync_models", "acme")
    assert public_ids() == ["fine"]
    assert "\x1b" not in said
    assert "! 'with space' is no usable model id" in said


def test_the_next_token_is_asked_when_one_is_rejected(
    upstream: Upstream, provider: Provider
) -> None:
    token(provider, BAD)
    token(provider, "sk-disabled-0123456789", state="disabled")
    token(provider)
    run("sync_models", "acme")
    assert upstream.asked == [BAD, GOOD]
    assert len(public_ids()) == 2
    assert UpstreamToken.objects.filter(strikes=0).count() == 3


def test_a_provider_that_needs_no_token_is_asked_without(
    upstream: Upstream, provider: Provider
) -> None:
    Provider.objects.update(needs_token=False)
    upstream.accepted = {None}
    assert "2 added" in run("sync_models", "acme")
    Provider.objects.create(name="echo", kind="echo", needs_token=False)
    assert run("sync_models", "echo") == "+ echo\n1 added, 0 there already.\n"


def test_sync_says_why_it_could_not(upstream: Upstream, provider: Provider) -> None:
    assert refused("sync_models", "nobody") == "There is no provider 'nobody'; there are: acme."
    begins = "acme does not say which models it has: "
    assert refused("sync_models", "acme") == f"{begins}It has no usable token."
    token(provider, BAD)
    said = refused("sync_models", "acme")
    assert said.startswith(f"{begins}Incorrect API key provided")
    assert BAD not in said
    token(provider)
    for answer, text in {
        (500, "oops"): "status 500",
        (200, "<html>"): "not JSON",
        (200, '{"data": [{"name": "no id"}]}'): "not readable",
    }.items():
        upstream.answers[BAD] = upstream.answers[GOOD] = answer
        assert text in refused("sync_models", "acme")
    Provider.objects.update(kind="telepathy")
    said = refused("sync_models", "acme")
    assert said == "acme cannot be asked: no adapter is named 'telepathy'."
    assert public_ids() == []


def test_a_bare_list_of_models_is_read_too(upstream: Upstream, provider: Provider) -> None:
    """Together answers so."""
    token(provider)
    upstream.answers[GOOD] = 200, json.dumps([{"id": "a/b"}, {"id": "c/d"}])
    run("sync_models", "acme")
    assert public_ids() == ["a/b", "c/d"]


def test_a_model_that_waits_too_long_is_not_waited_for(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, upstream: Upstream
) -> None:
    token(provider)
    monkeypatch.setattr("tokens.maintenance.model_diff.CHECK_TIMEOUT_SECONDS", 0.0)
    assert refused("sync_models", "acme").endswith("The upstream took too long.")
