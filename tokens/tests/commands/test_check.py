"""The command check_tokens and the task check_disabled, with an upstream over real sockets."""

import json
from typing import Any

import pytest

from providers.models import Provider
from providers.tests.command_runner import refused, run
from proxysite.celery import app
from proxysite.testing.rows import move_providers
from tokens import tasks
from tokens.maintenance import token_check
from tokens.models import UpstreamToken
from tokens.querysets import UNREADABLE_REASON
from tokens.secret_check import require_secrets
from tokens.tasks import check_disabled
from tokens.tests.listing import BAD, GOOD, Upstream, problem, token

pytestmark = pytest.mark.django_db


# --- check_tokens ---------------------------------------------------------------------------------
def test_a_check_strikes_the_rejected_and_enables_what_works_again(
    upstream: Upstream, provider: Provider, settings: Any
) -> None:
    upstream.accepted |= {"sk-back-0123456789abcdef", "sk-held-0123456789abcdef"}
    token(provider)
    token(provider, BAD)
    token(provider, "sk-back-0123456789abcdef", state="disabled", strikes=3, reason="auth: expired")
    token(provider, "sk-held-0123456789abcdef", state="disabled", reason="by admin")
    said = run("check_tokens")
    assert set(said.splitlines()) == {
        "acme sk-bad…cdef: rejected: Incorrect API key provided: ***. (strike 1 of 3)",
        "acme sk-bac…cdef: works (enabled again)",
        "acme sk-hel…cdef: works (a person switched it off, so it stays off)",
        "3 work, 1 rejected",
    }
    assert BAD not in said
    rows = {row.masked: (row.state, row.strikes) for row in UpstreamToken.objects.all()}
    assert rows == {
        "sk-goo…cdef": ("active", 0),
        "sk-bad…cdef": ("active", 1),
        "sk-bac…cdef": ("active", 0),
        "sk-hel…cdef": ("disabled", 0),
    }
    for _ in range(settings.MAX_TOKEN_FAILURES - 1):
        run("check_tokens", "acme")
    struck = UpstreamToken.objects.get(masked="sk-bad…cdef")
    assert (struck.state, struck.reason) == ("disabled", "auth: Incorrect API key provided: ***.")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ((429, problem("rate_limit_exceeded", "Slow down.")), "rate limited"),
        ((503, "down"), "provider failed"),
        ((302, ""), "provider failed"),
        ((200, "no list"), "provider failed"),
    ],
)
def test_other_troubles_change_nothing(
    upstream: Upstream, provider: Provider, answer: tuple[int, str], outcome: str
) -> None:
    row = token(provider, strikes=1)
    disabled = token(provider, BAD, state="disabled", strikes=3, reason="auth: no")
    upstream.answers = {GOOD: answer, BAD: answer}
    report = json.loads(run("check_tokens", "acme", "--format", "json"))
    assert report["counts"] == {outcome: 2}
    before = [
        UpstreamToken.objects.filter(pk=one.pk).values("state", "strikes", "reason").get()
        for one in (row, disabled)
    ]
    assert before == [
        {"state": "active", "strikes": 1, "reason": ""},
        {"state": "disabled", "strikes": 3, "reason": "auth: no"},
    ]


def test_a_token_whose_quota_is_used_up_is_exhausted(
    upstream: Upstream, provider: Provider
) -> None:
    token(provider)
    disabled = token(provider, BAD, state="disabled", strikes=3, reason="auth: no")
    spent = (402, problem("insufficient_quota", "Pay."))
    upstream.answers = {GOOD: spent, BAD: spent}
    said = run("check_tokens")
    assert "acme sk-goo…cdef: out of quota: Pay. (exhausted for a time)" in said
    found = UpstreamToken.objects.get(masked="sk-goo…cdef")
    assert (found.state, found.reason, found.has_cooldown) == ("exhausted", "quota: Pay.", True)
    disabled.refresh_from_db()
    assert disabled.state == "disabled"


@pytest.mark.parametrize(
    "answer", [(503, "down"), (429, problem("rate_limit_exceeded", "Slow down."))]
)
def test_a_provider_that_fails_all_tokens_is_left_alone(
    upstream: Upstream, provider: Provider, answer: tuple[int, str]
) -> None:
    secrets = [
        f"sk-many-0123456789-{number:03}" for number in range(token_check.CHECKS_AT_ONCE * 2)
    ]
    UpstreamToken.objects.bulk_create(
        [UpstreamToken.from_secret(provider, secret) for secret in secrets]
    )
    upstream.answers = dict.fromkeys(secrets, answer)
    report = json.loads(run("check_tokens", "--format", "json"))
    assert sum(report["counts"].values()) == len(secrets)
    assert len([asked for asked in upstream.asked if asked]) == token_check.CHECKS_AT_ONCE
    assert report["tokens"][-1]["reason"].startswith("not asked: ")
    assert set(UpstreamToken.objects.values_list("state", "strikes", "reason")) == {
        ("active", 0, "")
    }


def test_a_provider_that_fails_some_tokens_is_asked_about_all(
    upstream: Upstream, provider: Provider
) -> None:
    secrets = [
        f"sk-many-0123456789-{number:03}" for number in range(token_check.CHECKS_AT_ONCE * 2)
    ]
    UpstreamToken.objects.bulk_create(
        [UpstreamToken.from_secret(provider, secret) for secret in secrets]
    )
    upstream.accepted = set(secrets[::5])
    upstream.answers = {
        secret: (500, "down") for secret in secrets if secret not in upstream.accepted
    }
    assert run("check_tokens").splitlines()[-1] == "40 provider failed, 10 work"


@pytest.mark.settings(CHECKS_PER_MINUTE=2)
def test_the_sweep_of_the_disabled_is_bounded_too(upstream: Upstream, provider: Provider) -> None:
    secrets = [f"sk-many-0123456789-{number:03}" for number in range(9)]
    rows = [
        UpstreamToken.from_secret(provider, secret, state="disabled", reason="auth: no")
        for secret in secrets
    ]
    UpstreamToken.objects.bulk_create(rows)
    upstream.accepted = set(secrets)
    assert check_disabled() == 2


def test_an_upstream_that_is_away_costs_no_token_anything(
    provider: Provider, upstream: Upstream
) -> None:
    token(provider)
    move_providers(provider, base_url="http://127.0.0.1:9/v1")
    assert "provider failed: The upstream cannot be reached." in run("check_tokens")
    assert UpstreamToken.objects.get().strikes == 0


def test_an_open_list_proves_nothing_about_a_token(upstream: Upstream, provider: Provider) -> None:
    """OpenRouter lists its models to everybody."""
    upstream.accepted |= {None}
    token(provider, state="disabled", strikes=3, reason="auth: no")
    assert run("check_tokens").splitlines() == [
        "acme sk-goo…cdef: could not be proved: the upstream's model list needs no token",
        "1 could not be proved",
    ]
    assert UpstreamToken.objects.get().state == "disabled"


def test_a_check_tells_in_json_what_it_found_and_nothing_secret(provider: Provider) -> None:
    row = token(provider)
    said = run("check_tokens", "--format", "json")
    found = {
        "id": str(row.pk),
        "provider": "acme",
        "token": row.masked,
        "outcome": "works",
        "reason": "",
        "change": "",
    }
    assert json.loads(said) == {"counts": {"works": 1}, "tokens": [found]}
    assert GOOD not in said


def test_checking_dry_asks_and_changes_nothing(upstream: Upstream, provider: Provider) -> None:
    token(provider, BAD)
    token(provider, state="disabled", strikes=3, reason="auth: no")
    assert run("check_tokens", "--dry-run").endswith("1 rejected, 1 works\n")
    assert {BAD, GOOD} <= set(upstream.asked)
    assert sorted(UpstreamToken.objects.values_list("state", "strikes")) == [
        ("active", 0),
        ("disabled", 3),
    ]


def test_a_secret_that_does_not_open_is_reported(provider: Provider, upstream: Upstream) -> None:
    token(provider)
    # the database is known: one damaged token does not mean that the secrets are wrong
    require_secrets()
    UpstreamToken.objects.update(sealed="v1.lost.AAAA")
    assert "unreadable: sealed with key 'lost'" in run("check_tokens")
    row = UpstreamToken.objects.get()
    assert (row.state, row.reason, row.strikes) == ("disabled", UNREADABLE_REASON, 0)
    assert upstream.asked == [None]


def test_only_the_named_provider_is_asked(upstream: Upstream, provider: Provider) -> None:
    token(provider)
    other = Provider.objects.create(
        name="other", kind="openai_compatible", base_url="http://127.0.0.1:9/v1", allow_private=True
    )
    token(other, BAD)
    assert run("check_tokens", "acme") == "1 works\n"
    assert (
        refused("check_tokens", "nobody")
        == "There is no provider 'nobody'; there are: acme, other."
    )
    UpstreamToken.objects.all().delete()
    assert run("check_tokens") == "No tokens.\n"


def test_more_tokens_than_are_asked_at_once_are_all_checked(
    upstream: Upstream, provider: Provider
) -> None:
    secrets = [
        f"sk-many-0123456789-{number:03}" for number in range(token_check.CHECKS_AT_ONCE * 2 + 1)
    ]
    upstream.accepted = set(secrets)
    UpstreamToken.objects.bulk_create(
        [UpstreamToken.from_secret(provider, secret) for secret in secrets]
    )
    assert run("check_tokens") == f"{len(secrets)} work\n"
    assert set(upstream.asked) == {None, *secrets}


def test_a_token_replaced_during_its_check_is_not_judged_by_the_old_one(
    upstream: Upstream, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = token(provider, BAD)
    replaced = UpstreamToken.objects.get()
    replaced.seal_secret(GOOD)
    token_check.write_outcome(row, token_check.REJECTED, None)
    assert UpstreamToken.objects.get().strikes == 1
    replaced.save(update_fields=["sealed", "fingerprint", "masked"])
    token_check.write_outcome(row, token_check.REJECTED, None)
    assert UpstreamToken.objects.get().strikes == 1


# --- check_disabled -------------------------------------------------------------------------------
def test_the_sweep_enables_what_works_again_and_touches_nothing_else(
    upstream: Upstream, provider: Provider
) -> None:
    upstream.accepted |= {"sk-held-0123456789abcdef"}
    back = token(provider, state="disabled", strikes=3, reason="auth: expired")
    token(provider, BAD, state="disabled", strikes=3, reason="auth: wrong")
    token(provider, "sk-held-0123456789abcdef", state="disabled", reason="by admin")
    assert check_disabled() == 1
    assert list(UpstreamToken.objects.filter(state="active")) == [back]
    assert set(upstream.asked) == {None, GOOD, BAD}
    upstream.asked.clear()
    assert check_disabled() == 0
    assert set(upstream.asked) == {None, BAD}


def test_the_sweep_leaves_disabled_providers_alone(upstream: Upstream, provider: Provider) -> None:
    token(provider, state="disabled", reason="auth: no")
    Provider.objects.update(enabled=False)
    assert check_disabled() == 0
    assert upstream.asked == []


def test_the_schedule_names_tasks_that_a_worker_has() -> None:
    app.loader.import_default_modules()
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert {tasks.check_due.name, check_disabled.name, tasks.renew_soon.name} <= scheduled
    assert scheduled <= set(app.tasks)
